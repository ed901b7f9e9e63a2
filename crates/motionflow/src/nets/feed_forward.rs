//! The feed-forward net of a transformer block, whose middle is eight times as wide as its ends.

use tch::Tensor;

use super::layers::Linear;
use crate::checkpoint::Loader;
use crate::compute::MemoryUse;
use crate::{kernels, native};

/// Where memory is spared, the middle has at most so many elements at once: 128 MiB in half precision.
pub(crate) const MIDDLE: i64 = 1 << 26;

/// Two linear layers with a gated GELU between them (GEGLU, <https://arxiv.org/abs/2002.05202>).
#[derive(Debug)]
pub(super) struct FeedForward {
    project_in: Linear,
    project_out: Linear,
    /// Elements of the middle at once at most, where memory is spared.
    at_once: Option<i64>,
}

impl FeedForward {
    pub(super) fn new(weights: &Loader, channels: i64) -> Self {
        let inner = 4 * channels;
        Self {
            project_in: Linear::new(&weights.sub("net.0.proj"), channels, 2 * inner),
            project_out: Linear::new(&weights.sub("net.2"), inner, channels),
            at_once: (weights.memory() == MemoryUse::Low).then_some(MIDDLE),
        }
    }

    /// [.., channels], same shape out
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let rows = x.numel() as i64 / x.size().last().copied().unwrap_or(1);
        match self.at_once.map(|at_once| parts(rows * self.project_in.outputs(), at_once)) {
            Some(parts) if parts > 1 => self.forward_in(parts, x),
            _ => self.whole(x),
        }
    }

    fn whole(&self, x: &Tensor) -> Tensor {
        self.project_out.forward(&kernels::geglu(&self.project_in.forward(x)))
    }

    /// Some rows after the others. Of what is between, nothing is kept for the gradient: it is computed once more.
    fn forward_in(&self, parts: i64, x: &Tensor) -> Tensor {
        let output = native::no_grad(|| by_parts(parts, [x], |[x]| self.whole(&x)));
        if !(x.requires_grad() && native::grad_enabled()) {
            return output;
        }
        let mut saved = vec![x.shallow_clone()];
        saved.extend(self.project_in.weights());
        saved.extend(self.project_out.weights());
        let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
            let [project_in, project_out] = [&saved[1..3], &saved[3..]].map(Linear::of);
            let net = Self { project_in, project_out, at_once: None };
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

/// In how many parts so many elements are, of which there are at most such a number at once.
pub(crate) fn parts(elements: i64, at_once: i64) -> i64 {
    (elements + at_once - 1) / at_once
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
    use std::path::Path;

    use tch::Kind;

    use super::*;

    use crate::device::DeviceChoice;

    #[test]
    fn parts_give_what_the_whole_gives_forward_and_back() {
        tch::manual_seed(3);
        let device = DeviceChoice::Auto.open().unwrap();
        // The kernels' numbers where there are kernels.
        let (kind, near) = if device.is_cuda() { (Kind::Float, 1e-4) } else { (Kind::Double, 1e-12) };
        let random = |shape: &[i64]| Tensor::randn(shape, (kind, device));
        let linear = |input, output| Linear::of(&[random(&[output, input]), random(&[output])]);
        let (project_in, project_out) = (linear(8, 64), linear(32, 8));
        let mut net = FeedForward { project_in, project_out, at_once: None };
        let along = random(&[2, 7, 8]);
        let places = random(&[2, 8, 7]).set_requires_grad(true);
        for x in [random(&[2, 7, 8]).set_requires_grad(true), places.transpose(1, 2)] {
            let run = |net: &FeedForward| {
                let output = net.forward(&x);
                let outputs = [(output.shallow_clone(), along.shallow_clone())];
                let gradient = native::gradients(&outputs, &[x.shallow_clone()]);
                (output.detach(), gradient.into_iter().next().flatten().unwrap())
            };
            net.at_once = None;
            let (whole, gradient) = run(&net);
            let is_near = |x: Tensor, y: &Tensor| (x - y).abs().max().double_value(&[]) < near;
            for at_once in [64, 130, 450, 895] {
                net.at_once = Some(at_once);
                let (output, gradient_of_parts) = run(&net);
                assert!(is_near(output, &whole) && is_near(gradient_of_parts, &gradient), "{at_once}");
                assert!(!native::no_grad(|| net.forward(&x)).requires_grad());
            }
        }
    }

    #[test]
    fn it_runs_in_parts_where_memory_is_low() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
        let weights = crate::registry::open(&case).unwrap().weights("unet").unwrap();
        let at_once = |memory| {
            let loader = Loader::new(&weights, "unet", tch::Device::Cpu, Kind::Float).with_memory(memory);
            let place = "mid_block.attentions.0.transformer_blocks.0.ff";
            FeedForward::new(&loader.sub(place), 16).at_once
        };
        assert_eq!([MemoryUse::Low, MemoryUse::Balanced].map(at_once), [Some(MIDDLE), None]);
    }
}
