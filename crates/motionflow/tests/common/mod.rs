//! What several tests need.

pub(crate) mod clip_vocabulary;
