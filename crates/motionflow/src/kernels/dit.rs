//! The layers of a diffusion transformer between its products, on tokens [.., tokens, channels]. Norms, gates and turns are
//! computed in float32; the result is of the input's kind.

use tch::Tensor;

use super::cuda::Numbers;
use super::{alike, cuda, plain, recorded};
use crate::native;

/// What a layer norm's result is multiplied by and what is added, each with `channels` elements in float32.
#[derive(Debug, Clone, Copy)]
pub enum Scaling<'a> {
    /// Weight and bias of the norm.
    Affine([&'a Tensor; 2]),
    /// 1 + scale and shift, of the timestep.
    Modulated([&'a Tensor; 2]),
}

impl<'a> Scaling<'a> {
    fn factors(self) -> [&'a Tensor; 2] {
        match self {
            Self::Affine(factors) | Self::Modulated(factors) => factors,
        }
    }
}

/// A layer norm in float32: [.., channels], same shape and kind out
pub fn scaled_norm(x: &Tensor, scaling: Scaling, epsilon: f64) -> Tensor {
    let Some(numbers) = numbers_of(x) else { return plain::scaled_norm(x, scaling, epsilon) };
    let [factor, shift] = scaling.factors();
    let dense = native::no_grad(|| x.contiguous());
    let (_, y) = cuda::dit::modulated_norm(numbers, &dense, None, None, [factor, shift], epsilon);
    let saved = [dense, factor.shallow_clone()];
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let tensors = [&saved[0], &saved[1], &gradients[0].contiguous()];
        let [dx, _] = cuda::dit::modulated_norm_backward(numbers, tensors, None, None, epsilon);
        [Some(dx), None]
    };
    recorded(x, None, vec![y], &saved, Box::new(gradient)).swap_remove(0)
}

/// x·gate + residual, without a gate x + residual, and the layer norm of that: twice [.., channels]. The gate has `channels`
/// elements in float32.
pub fn gated_add_scaled_norm(
    x: &Tensor,
    gate: Option<&Tensor>,
    residual: &Tensor,
    scaling: Scaling,
    epsilon: f64,
) -> (Tensor, Tensor) {
    let Some(numbers) = numbers_of(x).filter(|_| alike(x, residual)) else {
        let sum = match gate {
            Some(gate) => plain::gated_add(x, gate, residual),
            None => residual + x,
        };
        let normed = plain::scaled_norm(&sum, scaling, epsilon);
        return (sum, normed);
    };
    let [factor, shift] = scaling.factors();
    let (dense, rest) = native::no_grad(|| (x.contiguous(), residual.contiguous()));
    let (sum, y) = cuda::dit::modulated_norm(numbers, &dense, Some(&rest), gate, [factor, shift], epsilon);
    let mut saved = vec![sum.shallow_clone(), factor.shallow_clone()];
    saved.extend(gate.map(Tensor::shallow_clone));
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let (dsum, dy) = (gradients[0].contiguous(), gradients[1].contiguous());
        let tensors = [&saved[0], &saved[1], &dy];
        let gate = saved.get(2);
        let [dresidual, dx] =
            cuda::dit::modulated_norm_backward(numbers, tensors, gate, Some(&dsum), epsilon);
        [Some(dx), Some(dresidual)]
    };
    let mut both = recorded(x, Some(residual), vec![sum, y], &saved, Box::new(gradient));
    let y = both.swap_remove(1);
    (both.swap_remove(0), y)
}

/// x·gate: [.., channels], same shape and kind out, without a graph. The gate has `channels` elements in float32.
pub(crate) fn gated(x: &Tensor, gate: &Tensor) -> Tensor {
    native::no_grad(|| match numbers_of(x) {
        Some(numbers) => cuda::dit::gated_add(numbers, &x.contiguous(), gate, None),
        None => (x * gate).to_kind(x.kind()),
    })
}

/// x·gate + residual: [.., channels], same shape out. The gate has `channels` elements in float32.
pub fn gated_add(x: &Tensor, gate: &Tensor, residual: &Tensor) -> Tensor {
    let Some(numbers) = numbers_of(x).filter(|_| alike(x, residual)) else {
        return plain::gated_add(x, gate, residual);
    };
    let (dense, rest) = native::no_grad(|| (x.contiguous(), residual.contiguous()));
    let y = cuda::dit::gated_add(numbers, &dense, gate, Some(&rest));
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let dx = cuda::dit::gated_add(numbers, &gradients[0].contiguous(), &saved[0], None);
        [Some(dx), Some(gradients[0].shallow_clone())]
    };
    recorded(x, Some(residual), vec![y], &[gate.shallow_clone()], Box::new(gradient)).swap_remove(0)
}

/// x / √(mean x² + ε)·weight over all channels [batch, tokens, channels], weight \[channels\] of x's kind; same shape out. With
/// `turn`, cosines and sines [tokens, 1, d / 2] in float32, pairs of neighbouring features of each head are turned, of one video
/// alone (<https://arxiv.org/abs/2104.09864>).
pub fn rms_norm(x: &Tensor, weight: &Tensor, turn: Option<[&Tensor; 2]>, epsilon: f64) -> Tensor {
    let turns_alike = turn.is_none_or(|[cosines, _]| x.size()[..2] == [1, cosines.size()[0]]);
    let Some(numbers) = numbers_of(x).filter(|_| turns_alike) else {
        return plain::rms_norm(x, weight, turn, epsilon);
    };
    let dense = native::no_grad(|| x.contiguous());
    let y = cuda::dit::rms_norm(numbers, [&dense, weight], turn, epsilon);
    let mut saved = vec![dense, weight.shallow_clone()];
    saved.extend(turn.into_iter().flatten().map(Tensor::shallow_clone));
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let tensors = [&saved[0], &saved[1], &gradients[0].contiguous()];
        let turn = saved.get(2).zip(saved.get(3)).map(|(cosines, sines)| [cosines, sines]);
        [Some(cuda::dit::rms_norm_backward(numbers, tensors, turn, epsilon)), None]
    };
    recorded(x, None, vec![y], &saved, Box::new(gradient)).swap_remove(0)
}

/// GELU in its tanh form of a linear layer: [.., input] -> [.., output]
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let traced = native::grad_enabled() && x.requires_grad();
    if Numbers::of(x).is_some_and(Numbers::is_half) && !traced {
        // Behind the product, before it is written; on CUDA that is the tanh form.
        let rows = x.flatten(0, -2);
        if let Ok(y) = bias.f_internal_addmm_activation(&rows, &weight.transpose(0, 1), true) {
            let mut size = x.size();
            if let Some(last) = size.last_mut() {
                *last = weight.size()[0];
            }
            return y.view(size.as_slice());
        }
    }
    x.linear(weight, Some(bias)).gelu("tanh")
}

fn numbers_of(x: &Tensor) -> Option<Numbers> {
    let channels = x.size().last().copied().unwrap_or_default();
    Numbers::of(x).filter(|numbers| numbers.can_transform(channels))
}
