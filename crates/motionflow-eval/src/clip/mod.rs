//! CLIP, which says how near a picture is to a text.

pub mod model;
pub mod parity;
pub mod pictures;
