//! Which models measure results.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which models measure results.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Measured with"))]
pub struct Judges {
    /// CLIP model for text similarity and temporal consistency: name of a shipped one, folder, or OWNER/NAME on the hub;
    /// none to do without
    #[schemars(extend("x-setting" = {
        "value": "NAME|DIR|OWNER/NAME|none", "default": "openai/clip-vit-base-patch32", "common": true
    }))]
    pub clip: Option<String>,
    /// Detector for the subjects of results whose source's truth is known: name of a shipped one (demo-detector), or folder
    #[schemars(extend("x-setting" = { "value": "NAME|DIR", "default": "", "common": true }))]
    pub detector: Option<String>,
}
