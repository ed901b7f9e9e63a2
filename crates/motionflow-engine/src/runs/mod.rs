//! The runs: from an opened request to a run folder.

pub(crate) mod analysis;
pub(crate) mod compare;
pub(crate) mod encoding;
pub(crate) mod generate;
pub(crate) mod given_masks;
pub(crate) mod inspect;
pub(crate) mod inspection;
pub(crate) mod invert;
pub mod inverting;
pub(crate) mod job;
pub(crate) mod kept_steps;
pub(crate) mod layer_choice;
pub mod look;
pub(crate) mod noised_passes;
pub mod open;
pub(crate) mod pictures;
pub(crate) mod preview;
pub(crate) mod sampling;
pub mod transfer;
