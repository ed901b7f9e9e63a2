//! What a VAE makes of a video, and whether that took a wider precision than the model's own.

use std::fmt;

use tch::Kind;

use crate::compute::Precision;

/// What the VAE encoded or decoded.
#[derive(Debug)]
pub struct Coded<T> {
    /// Latents or frames; every value is finite.
    pub value: T,
    /// Where the model's own precision gave values that are not finite: in which one it was done again.
    pub wider: Option<Wider>,
}

/// The VAE's values left the range of the model's precision, and it computed once more in a wider one. Its text is a
/// warning for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wider {
    /// `encoding` or `decoding`.
    pub stage: &'static str,
    /// The model's own precision.
    pub from: Precision,
    /// The precision that gave finite values.
    pub to: Precision,
}

impl fmt::Display for Wider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, from, to } = self;
        write!(f, "{stage} in {from} gave values that are not finite, so it was done again in {to}")
    }
}

/// The kinds with a wider range or more digits than `kind`, the one of its size first.
pub(crate) fn wider_than(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Half => &[Kind::BFloat16, Kind::Float],
        Kind::BFloat16 => &[Kind::Float],
        _ => &[],
    }
}
