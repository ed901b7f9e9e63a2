//! Checkpoints: those that are known by name, finding one, and keeping it loaded.

pub mod found;
mod identity;
pub mod known;
pub mod lookup;
pub mod store;
pub(crate) mod suitability;
