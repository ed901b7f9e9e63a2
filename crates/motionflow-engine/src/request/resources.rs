//! What a run computes with.

use motionflow::compute::{MemoryUse, Precision};
use motionflow::device::DeviceChoice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run computes with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Behaviour"))]
pub struct Resources {
    /// Number of CPU threads to compute with
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 1024", "default": "one per core" }))]
    pub threads: Option<u16>,
    /// Device to compute on: auto, cpu, cuda, or cuda:1 and so on; auto takes CUDA where it is available
    #[serde(with = "super::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = { "value": "DEVICE", "default": "auto", "common": true }))]
    pub device: Option<DeviceChoice>,
    /// Type that the nets compute in: auto, f32, f16 or bf16; on CUDA auto is what suits the
    /// checkpoint, bf16 for Wan and f16 for the others, and f32 on the CPU
    #[serde(with = "super::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = { "value": "TYPE", "default": "auto" }))]
    pub precision: Option<Precision>,
    /// How much memory the nets may use to be faster: low, balanced or fast
    #[serde(with = "super::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = { "value": "USE", "default": "balanced" }))]
    pub memory: Option<MemoryUse>,
}
