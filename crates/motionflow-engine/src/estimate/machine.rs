//! How fast layers run here: those of the nets' own sizes, or cut to a part of them, are timed for a moment.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use motionflow::compute::Compute;
use motionflow::cost::Operation;
use motionflow::nets::attention::{attention_probabilities, scaled_dot_product_attention};
use tch::{Cuda, Device, Tensor};

use super::task::NetRun;

/// How layers are timed on a kind of device.
#[derive(Debug, Clone, Copy)]
struct Bench {
    /// Whether it is a GPU: its layers have their channels last, and it need not wait for one before the next is called.
    is_gpu: bool,
    /// How long in all.
    budget: Duration,
    /// A layer that is timed is cut to about so many FLOP, by images, then rows.
    flops: f64,
    /// It is cut to so many channels, too.
    channels: i64,
    /// Elements of what is passed over once, and of the probabilities that an attention shows.
    elements: i64,
    /// In a net a layer takes so many times as long as by itself.
    in_a_net: f64,
}

/// In a net a layer finds other data in the caches (`in_a_net` measured: 1.3 to 1.5 on a busy machine).
const CPU: Bench = Bench {
    is_gpu: false,
    budget: Duration::from_millis(600),
    flops: 1.5e8,
    channels: 512,
    elements: 1 << 20,
    in_a_net: 1.25,
};
/// A part of a layer would leave the device idle, so most are timed whole (`in_a_net`: on an H200 1.05
/// was measured at ZeroScope's size).
const CUDA: Bench = Bench {
    is_gpu: true,
    budget: Duration::from_secs(2),
    flops: 4e11,
    channels: i64::MAX,
    elements: 1 << 27,
    in_a_net: 1.0,
};

/// Where a CUDA device has less than this free, layers are cut to the same share of it.
const CUDA_ROOM: f64 = (4u64 << 30) as f64;
/// How often a layer runs on a CUDA device before it is timed, and how long it is timed then, all calls in a row.
const WARM_UPS: usize = 2;
const CUDA_SAMPLE: Duration = Duration::from_millis(8);
const CUDA_CALLS: f64 = 40.0;

impl Bench {
    fn cuda(free: Option<u64>) -> Self {
        let share = free.map_or(1.0, |free| (free as f64 / CUDA_ROOM).min(1.0));
        Self { flops: share * CUDA.flops, elements: (share * CUDA.elements as f64) as i64, ..CUDA }
    }
}

/// How fast layers run here.
#[derive(Debug)]
pub(super) struct Machine {
    compute: Compute,
    bench: Bench,
    /// Seconds of each layer that was timed, as it was cut.
    timed: HashMap<Operation, f64>,
    /// Mean seconds for one unit of [`work`], by the kind of layer.
    pace: HashMap<Discriminant<Operation>, f64>,
    /// Seconds of the shortest call.
    call: f64,
}

impl Machine {
    /// Times the layers of these nets, the costliest first, until the time for it is spent.
    pub(super) fn time<'a>(
        compute: Compute,
        free: Option<u64>,
        runs: impl IntoIterator<Item = &'a NetRun>,
    ) -> Self {
        let _no_gradients = tch::no_grad_guard();
        let bench = if compute.device.is_cuda() { Bench::cuda(free) } else { CPU };
        let mut machine = Self { compute, bench, timed: HashMap::new(), pace: HashMap::new(), call: 0.0 };
        machine.call = machine.seconds_alone(&Operation::Elementwise { elements: 1 });
        let mut shares: HashMap<Operation, f64> = HashMap::new();
        for operation in runs.into_iter().flat_map(|run| &run.cost.operations) {
            *shares.entry(machine.cut(*operation)).or_default() += work(operation);
        }
        let mut operations: Vec<(Operation, f64)> = shares.into_iter().collect();
        operations.sort_by(|a, b| b.1.total_cmp(&a.1));
        let started = Instant::now();
        let mut sums: HashMap<_, (f64, f64)> = HashMap::new();
        for (operation, _) in operations {
            let kind = discriminant(&operation);
            if started.elapsed() > bench.budget && sums.contains_key(&kind) {
                continue;
            }
            let seconds = bench.in_a_net * machine.seconds_alone(&operation);
            let sum = sums.entry(kind).or_default();
            *sum = (sum.0 + seconds, sum.1 + work(&operation));
            machine.timed.insert(operation, seconds);
        }
        machine.pace = sums.into_iter().map(|(kind, (seconds, work))| (kind, seconds / work)).collect();
        machine
    }

    /// Seconds of all its runs.
    pub(super) fn seconds(&self, run: &NetRun) -> f64 {
        let forward: f64 = self.sum(&run.cost.operations);
        let backward = if run.backward {
            self.sum(&run.cost.recomputed)
                + run.cost.operations.iter().map(|operation| self.backward_seconds(operation)).sum::<f64>()
        } else {
            0.0
        };
        run.times * (forward + backward)
    }

    fn sum(&self, operations: &[Operation]) -> f64 {
        operations.iter().map(|operation| self.seconds_of(operation)).sum()
    }

    /// Seconds of the gradient. What has no FLOP takes as long as forward.
    fn backward_seconds(&self, operation: &Operation) -> f64 {
        let flops = operation.flops();
        let share = if flops > 0.0 { operation.backward_flops() / flops } else { 1.0 };
        share * self.seconds_of(operation)
    }

    fn seconds_of(&self, operation: &Operation) -> f64 {
        let cut = self.cut(*operation);
        let seconds = if let Some(seconds) = self.timed.get(&cut) {
            seconds * work(operation) / work(&cut)
        } else {
            self.pace.get(&discriminant(operation)).copied().unwrap_or_default() * work(operation)
        };
        if self.bench.is_gpu { seconds.max(self.call) } else { seconds }
    }

    /// A layer of the same kind and speed that runs for a moment only.
    fn cut(&self, operation: Operation) -> Operation {
        let Bench { is_gpu, flops, channels: most, elements: most_elements, .. } = self.bench;
        let fits = |flops_of_one: f64, count: i64| ((flops / flops_of_one) as i64).clamp(1, count);
        match operation {
            Operation::Convolution { images, input, output, size: [height, width], kernel, stride } => {
                let (input, output) = (input.min(most), output.min(most));
                let row = 2.0 * (width * input * output * kernel * kernel) as f64;
                let height_timed = fits(row, height);
                let images = fits(row * height as f64, images);
                Operation::Convolution { images, input, output, size: [height_timed, width], kernel, stride }
            }
            Operation::TemporalConvolution { videos, frames, channels, size: [height, width] } => {
                let channels = channels.min(most);
                let row = 6.0 * (frames * width * channels * channels) as f64;
                let videos = fits(row * height as f64, videos);
                Operation::TemporalConvolution { videos, frames, channels, size: [fits(row, height), width] }
            }
            Operation::CausalConvolution {
                videos,
                frames,
                input,
                output,
                size: [height, width],
                kernel,
                stride,
            } => {
                let (input, output) = (input.min(most), output.min(most));
                let row = 6.0 * (width * input * output * kernel * kernel) as f64;
                let videos = fits(row * (frames * height) as f64, videos);
                let frames = fits(row, frames);
                let size = [fits(row * frames as f64, height), width];
                Operation::CausalConvolution { videos, frames, input, output, size, kernel, stride }
            }
            Operation::Linear { rows, input, output, .. } => {
                let most = most.saturating_mul(8);
                let (input, output) = (input.min(most), output.min(most));
                let rows = fits(2.0 * (input * output) as f64, rows);
                Operation::Linear { rows, input, output, on_latents: true }
            }
            Operation::Attention { batch, heads, queries, keys, head_dim, to_text, plain } => {
                let query = 4.0 * (heads * keys * head_dim) as f64;
                // A GPU has room for few probabilities beside the nets.
                let most = if plain && is_gpu { most_elements / (heads * keys) } else { i64::MAX };
                let batch = fits(query * queries as f64, batch).min(most / queries).max(1);
                let queries = fits(query, queries).min(most).max(1);
                Operation::Attention { batch, heads, queries, keys, head_dim, to_text, plain }
            }
            // A GPU is given what does not fit into its caches, so that its memory is what is timed.
            Operation::Elementwise { .. } if is_gpu => Operation::Elementwise { elements: most_elements },
            Operation::Elementwise { elements } => {
                Operation::Elementwise { elements: elements.min(most_elements) }
            }
        }
    }

    /// What the layer takes by itself.
    fn seconds_alone(&self, operation: &Operation) -> f64 {
        let run = self.runner(operation);
        let Device::Cuda(index) = self.compute.device else {
            // The fastest of a few.
            run();
            return (0..4).map(|_| seconds(&run)).fold(f64::INFINITY, f64::min);
        };
        (0..WARM_UPS).for_each(|_| run());
        let in_a_row = |calls: usize| {
            (0..calls).for_each(|_| run());
            Cuda::synchronize(index as i64);
        };
        in_a_row(0);
        let once = seconds(|| in_a_row(1));
        let calls = (CUDA_SAMPLE.as_secs_f64() / once).clamp(2.0, CUDA_CALLS) as usize;
        seconds(|| in_a_row(calls)) / calls as f64
    }

    fn runner(&self, operation: &Operation) -> Box<dyn Fn()> {
        let options = (self.compute.kind, self.compute.device);
        let is_gpu = self.bench.is_gpu;
        // Zeros and ones cost a GPU less power than data does, so it would run faster than it will.
        let data = |shape: &[i64]| {
            if is_gpu { Tensor::randn(shape, options) } else { Tensor::ones(shape, options) }
        };
        // [batch, channels, ..]; the channels come last in a GPU's memory.
        let images = |shape: &[i64]| {
            let [batch, channels, rest @ ..] = shape else { return data(shape) };
            if !is_gpu {
                return data(shape);
            }
            let last = rest.len() as i64 + 1;
            let order: Vec<i64> = [0, last].into_iter().chain(1..last).collect();
            data(&[&[*batch], rest, &[*channels]].concat()).permute(order)
        };
        match *operation {
            Operation::Convolution {
                images: count,
                input,
                output,
                size: [height, width],
                kernel,
                stride,
            } => {
                let x = images(&[count, input, height * stride, width * stride]);
                let (weight, bias) = (images(&[output, input, kernel, kernel]), data(&[output]));
                let padding = kernel / 2;
                Box::new(move || {
                    let _ = x.conv2d(&weight, Some(&bias), [stride; 2], [padding; 2], [1, 1], 1);
                })
            }
            Operation::TemporalConvolution { videos, frames, channels, size: [height, width] } => {
                let x = images(&[videos, channels, frames, height, width]);
                let (weight, bias) = (images(&[channels, channels, 3, 1, 1]), data(&[channels]));
                Box::new(move || {
                    let _ = x.conv3d(&weight, Some(&bias), [1, 1, 1], [1, 0, 0], [1, 1, 1], 1);
                })
            }
            Operation::CausalConvolution {
                videos,
                frames,
                input,
                output,
                size: [height, width],
                kernel,
                stride,
            } => {
                let x = images(&[videos, input, (frames - 1) * stride + 3, height, width]);
                let (weight, bias) = (images(&[output, input, 3, kernel, kernel]), data(&[output]));
                let (steps, padding) = ([stride, 1, 1], [0, kernel / 2, kernel / 2]);
                Box::new(move || {
                    let _ = x.conv3d(&weight, Some(&bias), steps, padding, [1, 1, 1], 1);
                })
            }
            Operation::Linear { rows, input, output, .. } => {
                let (x, weight, bias) = (data(&[1, rows, input]), data(&[output, input]), data(&[output]));
                Box::new(move || {
                    let _ = x.linear(&weight, Some(&bias));
                })
            }
            Operation::Attention { batch, heads, queries, keys, head_dim, plain, .. } => {
                let split = |tokens| data(&[batch, tokens, heads, head_dim]).transpose(1, 2);
                let (q, k, v) = (split(queries), split(keys), split(keys));
                Box::new(move || {
                    let _ = if plain {
                        attention_probabilities(&q, &k).to_kind(v.kind()).matmul(&v)
                    } else {
                        scaled_dot_product_attention(&q, &k, &v)
                    };
                })
            }
            Operation::Elementwise { elements } => {
                let x = data(&[elements]);
                Box::new(move || {
                    let _ = x.silu();
                })
            }
        }
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// What the time of a layer goes with: its FLOP, or the elements that it passes over.
fn work(operation: &Operation) -> f64 {
    match operation {
        Operation::Elementwise { elements } => 64.0 * *elements as f64,
        other => other.flops(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(device: Device) -> Machine {
        let compute = Compute { device, ..Compute::exact(device) };
        let bench = if device.is_cuda() { CUDA } else { CPU };
        Machine { compute, bench, timed: HashMap::new(), pace: HashMap::new(), call: 0.0 }
    }

    /// ZeroScope's largest at 576×320 and 24 frames.
    const OPERATIONS: [Operation; 3] = [
        Operation::Convolution {
            images: 48,
            input: 2560,
            output: 1280,
            size: [40, 72],
            kernel: 3,
            stride: 1,
        },
        Operation::TemporalConvolution { videos: 2, frames: 24, channels: 1280, size: [20, 36] },
        Operation::Linear { rows: 138_240, input: 320, output: 2560, on_latents: true },
    ];

    #[test]
    fn a_layer_that_is_timed_is_small_and_of_its_kind() {
        for machine in [machine(Device::Cpu), machine(Device::Cuda(0))] {
            // The last is of Wan's VAE at 832×480.
            for operation in OPERATIONS.into_iter().chain([causal_convolution([96, 96], [480, 832], 3, 1)]) {
                let timed = machine.cut(operation);
                assert_eq!(discriminant(&timed), discriminant(&operation));
                assert!(timed.flops() < 10.0 * machine.bench.flops, "{timed:?}");
            }
        }
    }

    #[test]
    fn a_part_of_a_long_attention_is_timed() {
        let places = 65_536;
        for plain in [false, true] {
            let attention = Operation::Attention {
                batch: 16,
                heads: 4,
                queries: places,
                keys: places,
                head_dim: 8,
                to_text: false,
                plain,
            };
            for machine in [machine(Device::Cpu), machine(Device::Cuda(0))] {
                let Operation::Attention { batch, heads, queries, keys, .. } = machine.cut(attention) else {
                    panic!("another kind")
                };
                assert_eq!((heads, keys), (4, places));
                assert!(!plain || batch * heads * queries * keys < 1 << 28, "{batch} {queries}");
            }
        }
    }

    #[test]
    fn a_gpu_is_timed_with_whole_layers() {
        let [_, convolution, linear] = OPERATIONS;
        let machine = machine(Device::Cuda(0));
        assert_eq!([machine.cut(convolution), machine.cut(linear)], [convolution, linear]);
    }

    #[test]
    fn every_layer_of_a_gpu_can_be_called() {
        // On the CPU, with the channels where a GPU has them.
        let gpu = Machine { bench: CUDA, ..machine(Device::Cpu) };
        let operations = [
            Operation::Convolution { images: 2, input: 4, output: 8, size: [3, 5], kernel: 3, stride: 2 },
            Operation::Convolution { images: 2, input: 4, output: 8, size: [3, 5], kernel: 1, stride: 1 },
            Operation::TemporalConvolution { videos: 2, frames: 3, channels: 4, size: [3, 5] },
            causal_convolution([4, 8], [3, 5], 3, 1),
            causal_convolution([4, 4], [3, 5], 1, 2),
            Operation::Linear { rows: 6, input: 4, output: 8, on_latents: true },
            attention(false),
            attention(true),
            Operation::Elementwise { elements: 8 },
        ];
        for operation in operations {
            assert!(gpu.seconds_alone(&operation) > 0.0, "{operation:?}");
        }
    }

    fn causal_convolution(channels: [i64; 2], size: [i64; 2], kernel: i64, stride: i64) -> Operation {
        let [input, output] = channels;
        Operation::CausalConvolution { videos: 1, frames: 4, input, output, size, kernel, stride }
    }

    fn attention(plain: bool) -> Operation {
        Operation::Attention { batch: 2, heads: 2, queries: 6, keys: 7, head_dim: 4, to_text: true, plain }
    }
}
