//! The request of a run: settings by group, whole requests, what a checkpoint recommends, and how they are resolved.

mod defaults;
pub mod domain;
mod method;
mod model;
pub mod motion;
mod named;
pub mod prompts;
pub mod recommended;
pub mod reference;
pub mod resolve;
mod resources;
pub mod setting;
pub mod tables;
mod video;

pub use method::{ContextWindows, Guidance, Masks, Preset, Sampling, Steps};
pub use model::ModelChoice;
pub use motion::MotionOptions;
pub use resources::Resources;
pub use tables::{Request, SettingOptions};
pub use video::{CutOptions, NewPrompts, Rate, Size, VideoOptions};
