//! The nets, as diffusers and transformers publish them: structs of layers that mirror the checkpoint's key names.

pub mod attention;
mod clip_encoder;
pub mod clip_text;
pub mod clip_vision;
pub mod config;
pub(crate) mod feed_forward;
pub mod layers;
mod of_texts;
mod parts;
pub mod resnet;
pub mod temporal;
pub mod trace;
pub mod transformer_2d;
pub mod umt5;
pub mod unet;
pub mod vae;
pub mod wan;
pub mod wan_vae;
