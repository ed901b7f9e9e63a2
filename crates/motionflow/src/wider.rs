//! What a VAE makes of a video, and whether that took a wider precision than the model's own.

use std::fmt;

use tch::{Kind, Tensor};

use crate::compute::{Compute, Precision};
use crate::error::Error;
use crate::latents::is_finite;

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

/// What a VAE makes, in the first precision that gives finite values: that of `compute`, in which it is loaded, or a wider
/// one, in which `load` loads it. `hint` is what to try where even float32 gives none.
///
/// # Errors
/// [`Error::CodingNotFinite`] where it gives none; those of `load`.
pub(crate) fn code<Vae>(
    (vae, compute): (&Vae, Compute),
    load: impl Fn(Compute) -> Result<Vae, Error>,
    (stage, hint): (&'static str, &str),
    work: impl Fn(&Vae, Kind) -> Tensor,
) -> Result<Coded<Tensor>, Error> {
    let _no_gradients = tch::no_grad_guard();
    let value = work(vae, compute.kind);
    if is_finite(&value) {
        return Ok(Coded { value, wider: None });
    }
    drop(value);
    for &kind in wider_than(compute.kind) {
        let wider = Compute { kind, ..compute };
        let value = work(&load(wider)?, kind);
        if is_finite(&value) {
            let wider = Wider { stage, from: compute.precision(), to: wider.precision() };
            return Ok(Coded { value, wider: Some(wider) });
        }
    }
    let in_vain = if compute.kind == Kind::Float { "" } else { "float32 gives none either; " };
    Err(Error::CodingNotFinite { stage, hint: format!("{in_vain}{hint}") })
}

/// The kinds with a wider range or more digits than `kind`, the one of its size first.
fn wider_than(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Half => &[Kind::BFloat16, Kind::Float],
        Kind::BFloat16 => &[Kind::Float],
        _ => &[],
    }
}
