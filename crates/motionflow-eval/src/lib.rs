//! Figures about videos: does the motion arrive, does the picture show what the prompt says?

pub mod accuracy;
pub mod clip;
pub mod detections;
pub mod detector;
pub mod figure;
pub mod file_error;
#[doc(hidden)]
pub mod fuzzing;
pub mod lucas_kanade;
pub mod motion_fidelity;
pub mod npz;
pub mod track_file;
pub mod tracks;
pub mod trajectory;
pub mod truth;
