//! Video and pictures for `motionflow`: reading clips, writing videos, and drawing what a run did.
//!
//! Frames are [`image::RgbImage`]s everywhere: 8 bits a channel, sRGB, row by row. This crate knows no tensors.
//!
//! - [`source`] reads a [`Clip`] from anything ffmpeg reads, or from a folder of images.
//! - [`video`] and [`gif`] write frames as `.mp4` and `.gif`; [`metadata`] reads back what they note in the files.
//! - [`overlay`] lays masks and heat maps over frames, [`compare`] sets videos side by side, [`contact_sheet`] shows
//!   several as rows, [`grid`] lays pictures out in rows and columns, [`plot`] draws losses, [`chart`] compares means.
//! - [`picture`] enlarges pictures and writes them as PNG; [`text`] writes words on them.
//! - [`atomic`] makes every file appear whole or not at all.
//! - [`ffmpeg`] finds and runs the program; [`system`] says what the system lacks.

pub mod atomic;
mod axis;
pub mod chart;
mod children;
pub mod compare;
pub mod contact_sheet;
mod error;
pub mod ffmpeg;
pub mod fit;
mod formats;
pub mod gif;
pub mod grid;
pub mod metadata;
#[cfg(target_os = "linux")]
mod orphan;
pub mod overlay;
mod parts;
pub mod picture;
pub mod plot;
pub mod source;
pub mod system;
pub mod text;
pub mod video;

pub use children::end_children;
pub use error::{Error, Result};
pub use ffmpeg::Ffmpeg;
pub use fit::Fit;
/// The crate that the frames come from, so that callers need not match its version.
pub use image;
pub use overlay::Mask;
pub use source::{Clip, ReadOptions, SourceInfo};
