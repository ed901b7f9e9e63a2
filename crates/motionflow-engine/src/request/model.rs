//! Which checkpoint is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which checkpoint is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Model"))]
pub struct ModelChoice {
    /// Name of a shipped checkpoint, a folder in the diffusers text-to-video layout, or OWNER/NAME on the Hugging Face
    /// hub; `motionflow models` lists some
    #[schemars(extend("x-setting" = {
        "value": "NAME|DIR|OWNER/NAME", "flag": "model", "short": "m", "default": "demo", "common": true
    }))]
    pub name: Option<String>,
    /// Branch, tag or commit of a checkpoint from the hub
    #[schemars(extend("x-setting" = { "value": "REV", "default": "main" }))]
    pub revision: Option<String>,
}
