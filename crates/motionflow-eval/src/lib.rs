//! Figures about videos: does the motion arrive, does the picture show what the prompt says?

pub mod figure;
