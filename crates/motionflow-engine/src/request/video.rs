//! The source, and what the new video shows and measures.

use motionflow_media::Fit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which part of the source is used, and how it is resized.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Source"))]
pub struct CutOptions {
    /// Where to begin in the source, in seconds
    #[schemars(extend("x-setting" = { "value": "SECONDS", "range": "0 or more", "fixed": true }))]
    pub start: Option<f64>,
    /// Keep one frame of every N
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 100000", "fixed": true }))]
    pub every: Option<u32>,
    /// How the source is brought to the video's size
    #[serde(with = "super::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["crop", "pad", "stretch"], "x-setting" = {
        "value": "HOW", "fixed": true
    }))]
    pub fit: Option<Fit>,
}

/// What the new video shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "New video"))]
pub struct NewPrompts {
    /// What the new video shows; for a transfer with its subject in brackets: "a [panda] in the snow"
    #[schemars(extend("x-setting" = { "value": "TEXT", "short": "p", "common": true, "default": "" }))]
    pub prompt: Option<String>,
    /// What the new video must not show
    #[schemars(extend("x-setting" = {
        "value": "TEXT", "short": "n", "default": "the checkpoint's recommendation, else empty"
    }))]
    pub negative_prompt: Option<String>,
}

/// The video's size, in space and time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VideoOptions {
    /// Width, height and length.
    #[serde(flatten)]
    pub size: Size,
    /// Frame rate.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Width, height and length of the video.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Video size"))]
pub struct Size {
    /// Width in pixels
    #[schemars(extend("x-setting" = { "value": "PIXELS", "range": "1 to 8192", "short": "W", "common": true }))]
    pub width: Option<u32>,
    /// Height in pixels
    #[schemars(extend("x-setting" = { "value": "PIXELS", "range": "1 to 8192", "short": "H", "common": true }))]
    pub height: Option<u32>,
    /// Number of frames
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 10000", "common": true }))]
    pub frames: Option<u32>,
}

/// Frame rate of the video.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Video size"))]
pub struct Rate {
    /// Frames per second
    #[schemars(extend("x-setting" = {
        "value": "RATE", "range": "above 0, up to 1000",
        "default": "the source's, else the checkpoint's recommendation"
    }))]
    pub fps: Option<f64>,
}
