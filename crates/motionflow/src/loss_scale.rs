//! Loss scaling: float16 has nothing below 6e-8, and most of the gradient of an averaged loss lies there. So the loss is
//! multiplied before the backward pass, and its gradient divided after it ("Mixed Precision Training",
//! <https://arxiv.org/abs/1710.03740>, section 3.2). Powers of two change nothing else.

use tch::{Kind, Tensor};

use crate::latents::is_finite;

/// What the loss of a generation's first update is multiplied by, for nets that compute in `kind`.
pub(crate) fn first(kind: Kind) -> f64 {
    if kind == Kind::Half { 1024.0 } else { 1.0 }
}

/// A gradient without the scale that its loss had, and with what came along.
pub(crate) struct Unscaled<T> {
    /// float32
    pub(crate) gradient: Tensor,
    pub(crate) along: T,
    /// The scale at which the gradient was finite.
    pub(crate) scale: f64,
}

/// Takes the gradient of the loss times `scale`, and of half of that as long as the gradient is not finite, down to the
/// loss as it is. None as soon as `gradient` gives none.
pub(crate) fn unscaled<T>(
    mut scale: f64,
    mut gradient: impl FnMut(f64) -> Option<(Tensor, T)>,
) -> Option<Unscaled<T>> {
    loop {
        let (scaled, along) = gradient(scale)?;
        let scaled = scaled.to_kind(Kind::Float);
        if scale <= 1.0 {
            return Some(Unscaled { gradient: scaled, along, scale });
        }
        if is_finite(&scaled) {
            return Some(Unscaled { gradient: scaled / scale, along, scale });
        }
        scale /= 2.0;
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "powers of two are exact")]
mod tests {
    use tch::Device;

    use super::*;

    /// Of Σ x·`slope`, backwards through float16.
    fn slope(slope: f64, scale: f64) -> Tensor {
        let x = Tensor::ones([4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let loss = (x.to_kind(Kind::Half).to_kind(Kind::Float) * slope).sum(Kind::Float) * scale;
        Tensor::run_backward(&[&loss], &[&x], false, false).swap_remove(0)
    }

    #[test]
    fn a_gradient_that_float16_cannot_hold_comes_through() {
        let small = 2f64.powi(-30);
        assert_eq!(slope(small, 1.0).double_value(&[0]), 0.0);
        let found = unscaled(first(Kind::Half), |scale| Some((slope(small, scale), ()))).unwrap();
        assert_eq!((found.gradient.double_value(&[0]), found.scale), (small, 1024.0));
    }

    #[test]
    fn the_scale_is_halved_until_the_gradient_is_finite() {
        let found = unscaled(1024.0, |scale| Some((slope(1000.0, scale), scale))).unwrap();
        assert_eq!((found.gradient.double_value(&[0]), found.scale, found.along), (1000.0, 64.0, 64.0));
        let never = unscaled(1024.0, |scale| Some((slope(1e6, scale), ()))).unwrap();
        assert!(never.scale == 1.0 && never.gradient.double_value(&[0]).is_infinite());
        assert!(unscaled(1024.0, |_| None::<(Tensor, ())>).is_none());
    }
}
