//! Figures of one result against its source.

mod clip;
mod given;
pub(crate) mod identity;
pub mod judges;
pub(crate) mod judging;
mod origin;
pub mod pair;
mod video;
