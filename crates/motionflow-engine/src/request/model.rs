//! Which checkpoint is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which checkpoint is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Model"))]
pub struct ModelChoice {
    /// Name of a shipped checkpoint, a folder in the diffusers layout, or OWNER/NAME on the Hugging Face hub; `motionflow
    /// models` lists some
    #[schemars(extend("x-setting" = {
        "value": "NAME|DIR|OWNER/NAME", "flag": "model", "short": "m", "default": "demo", "common": true
    }))]
    pub name: Option<String>,
    /// Branch, tag or commit of a checkpoint from the hub
    #[schemars(extend("x-setting" = { "value": "REV", "default": "main" }))]
    pub revision: Option<String>,
    /// Motion adapter that makes a Stable Diffusion 1.5 checkpoint one for videos: a folder, or OWNER/NAME on the Hugging
    /// Face hub
    #[schemars(extend("x-setting" = { "value": "DIR|OWNER/NAME", "default": "" }))]
    pub motion_adapter: Option<String>,
    /// Branch, tag or commit of a motion adapter from the hub
    #[schemars(extend("x-setting" = { "value": "REV", "default": "main" }))]
    pub motion_adapter_revision: Option<String>,
}

impl ModelChoice {
    /// What may be folders here.
    pub fn names(&mut self) -> [Option<&mut String>; 2] {
        [self.name.as_mut(), self.motion_adapter.as_mut()]
    }
}
