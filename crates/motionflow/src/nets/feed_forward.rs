//! The feed-forward net of a transformer block, whose middle is eight times as wide as its ends.

use tch::Tensor;

use super::layers::Linear;
use crate::checkpoint::Loader;
use crate::compute::MemoryUse;
use crate::{kernels, native};

/// Where memory is spared, the middle has at most so many elements at once: 128 MiB in half precision.
const MIDDLE: i64 = 1 << 26;

/// Two linear layers with a gated GELU between them (GEGLU, <https://arxiv.org/abs/2002.05202>).
#[derive(Debug)]
pub(super) struct FeedForward {
    project_in: Linear,
    project_out: Linear,
    width: i64,
    is_spared: bool,
}

impl FeedForward {
    pub(super) fn new(weights: &Loader, channels: i64) -> Self {
        let inner = 4 * channels;
        Self {
            project_in: Linear::new(&weights.sub("net.0.proj"), channels, 2 * inner),
            project_out: Linear::new(&weights.sub("net.2"), inner, channels),
            width: 2 * inner,
            is_spared: weights.memory() == MemoryUse::Low,
        }
    }

    /// [.., channels], same shape out
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let rows = x.numel() as i64 / x.size().last().copied().unwrap_or(1);
        let parts = parts(rows, self.width);
        if self.is_spared && parts > 1 { self.forward_in(parts, x) } else { self.whole(x) }
    }

    fn whole(&self, x: &Tensor) -> Tensor {
        self.project_out.forward(&kernels::geglu(&self.project_in.forward(x)))
    }

    /// Some rows after the others. Of what is between, nothing is kept for the gradient: it is computed once more.
    fn forward_in(&self, parts: i64, x: &Tensor) -> Tensor {
        let output = tch::no_grad(|| by_parts(parts, [x], |[x]| self.whole(&x)));
        if !(x.requires_grad() && native::grad_enabled()) {
            return output;
        }
        let mut saved = vec![x.shallow_clone()];
        saved.extend(self.project_in.weights());
        saved.extend(self.project_out.weights());
        let width = self.width;
        let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
            let [project_in, project_out] = [&saved[1..3], &saved[3..]].map(Linear::of);
            let net = Self { project_in, project_out, width, is_spared: false };
            let along = by_parts(parts, [&saved[0], &gradients[0]], |[x, along]| {
                let x = x.detach().set_requires_grad(true);
                let output = tch::with_grad(|| net.whole(&x));
                native::gradients(&[(output, along)], &[x]).swap_remove(0).unwrap_or_default()
            });
            [Some(along), None]
        };
        native::record(x, None, &[output], &saved, Box::new(gradient)).swap_remove(0)
    }
}

/// In how many parts so many rows go through a net whose middle is so wide, where memory is spared.
pub(crate) fn parts(rows: i64, width: i64) -> i64 {
    (rows * width + MIDDLE - 1) / MIDDLE
}

/// A function of the rows of tensors [.., channels], some rows after the others, as one tensor of the first one's shape.
fn by_parts<const N: usize>(parts: i64, of: [&Tensor; N], compute: impl Fn([Tensor; N]) -> Tensor) -> Tensor {
    let size = of[0].size();
    let flat = of.map(|tensor| tensor.reshape([-1, tensor.size().last().copied().unwrap_or(1)]));
    let rows = flat[0].size()[0];
    let whole = flat[0].empty_like();
    let at_once = (rows + parts - 1) / parts;
    let mut begin = 0;
    while begin < rows {
        let count = at_once.min(rows - begin);
        let part = flat.each_ref().map(|tensor| tensor.narrow(0, begin, count));
        whole.narrow(0, begin, count).copy_(&compute(part));
        begin += count;
    }
    whole.view(size.as_slice())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives_forward_and_back() {
        tch::manual_seed(3);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
        let linear = |input, output| Linear::of(&[random(&[output, input]), random(&[output])]);
        let net =
            FeedForward { project_in: linear(6, 48), project_out: linear(24, 6), width: 48, is_spared: true };
        let x = random(&[2, 7, 6]).set_requires_grad(true);
        let along = random(&[2, 7, 6]);
        let run = |output: Tensor| {
            let gradient =
                native::gradients(&[(output.shallow_clone(), along.shallow_clone())], &[x.shallow_clone()]);
            (output, gradient.into_iter().next().flatten().unwrap())
        };
        let (whole, gradient) = run(net.whole(&x));
        for parts in [2, 3, 5, 14] {
            let (output, gradient_of_parts) = run(net.forward_in(parts, &x));
            assert!((output - &whole).abs().max().double_value(&[]) < 1e-12);
            assert!((gradient_of_parts - &gradient).abs().max().double_value(&[]) < 1e-12);
        }
        assert!(!tch::no_grad(|| net.forward_in(2, &x)).requires_grad());
    }
}
