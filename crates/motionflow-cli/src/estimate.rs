//! How long a transfer will take and how much memory it will need: counted from the configs, and timed by running
//! layers of the nets' own sizes for a moment.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use anyhow::Result;
use motionflow::cost::{
    FRAMES_AT_ONCE, NetCost, Operation, UNetInput, UNetPart, text_encoder_parameters, unet, vae_decode,
    vae_encode,
};
use motionflow::nets::clip_text::ClipTextConfig;
use motionflow::nets::unet::UNetConfig;
use motionflow::nets::vae::VaeConfig;
use motionflow::settings::Settings;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::progress::{brief, peak_memory};
use crate::recommended::Video;

/// How long layers are timed.
const BUDGET: Duration = Duration::from_millis(600);
/// A layer that is timed is cut to about so many FLOP, by images, then rows.
const FLOP_TIMED: f64 = 1.5e8;
/// In a net a layer takes so many times as long as by itself, where its data is still in the caches (measured: 1.3 to 1.5
/// on a busy machine).
const IN_A_NET: f64 = 1.25;
/// A layer that is timed is cut to so many channels, too.
const CHANNELS_TIMED: i64 = 512;
/// Code of libtorch that comes into memory as it is first used (measured).
const CODE_BYTES: u64 = 40 << 20;
/// Memory that the activations take, with the holes between them, as a share of what they fill (measured: 1.1 to 1.6).
const HOLES: f64 = 1.35;
/// An element of the weights and activations.
const ELEMENT_BYTES: u64 = 4;

/// The configs of a checkpoint's nets, how many tokens its texts have, and the size of its files.
#[derive(Debug)]
pub(crate) struct Configs {
    pub(crate) unet: UNetConfig,
    pub(crate) vae: VaeConfig,
    pub(crate) text_encoder: ClipTextConfig,
    pub(crate) tokens: usize,
    pub(crate) file_bytes: u64,
}

/// What a transfer will take.
#[derive(Debug, Serialize)]
pub(crate) struct Estimate {
    pub(crate) stages: Vec<(&'static str, f64)>,
    pub(crate) seconds: f64,
    pub(crate) peak_memory_bytes: u64,
    /// Whether it may be less: updates end at a loss that nobody knows before.
    at_most: bool,
    flops: f64,
    parameters: u64,
}

/// The runs of the nets that a transfer is made of.
struct Runs {
    encode: NetCost,
    inversion_step: NetCost,
    update: NetCost,
    sampling_step: NetCost,
    decode: NetCost,
    /// How often the VAE runs, each way.
    parts: f64,
}

impl Runs {
    fn count(configs: &Configs, settings: &Settings, video: &Video) -> Result<Self> {
        let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
        let downscale = configs.vae.downscale();
        let input = UNetInput {
            videos: 1,
            frames,
            height: height / downscale,
            width: width / downscale,
            tokens: configs.tokens as i64,
        };
        let at_once = frames.min(FRAMES_AT_ONCE);
        let blocks = configs.unet.named_blocks(&settings.guidance_layers)?;
        Ok(Self {
            encode: vae_encode(&configs.vae, at_once, height, width),
            inversion_step: unet(&configs.unet, input, UNetPart::Whole),
            update: unet(&configs.unet, input, UNetPart::Guidance(blocks)),
            sampling_step: unet(&configs.unet, UNetInput { videos: 2, ..input }, UNetPart::Whole),
            decode: vae_decode(&configs.vae, at_once, height, width),
            parts: frames as f64 / at_once as f64,
        })
    }
}

impl Estimate {
    /// Of a transfer with this process's threads. `inverts` is whether the source is still to be inverted.
    pub(crate) fn of(configs: &Configs, settings: &Settings, video: &Video, inverts: bool) -> Result<Self> {
        let runs = Runs::count(configs, settings, video)?;
        let inversions = if inverts { settings.steps as f64 } else { 0.0 };
        let updates = if settings.is_guided() {
            (settings.guided_steps * settings.updates_per_step) as f64
        } else {
            0.0
        };
        let samplings = settings.steps as f64;
        let encodings = if inverts { runs.parts } else { 0.0 };

        let baseline = peak_memory().unwrap_or(0);
        let machine = Machine::time(&[&runs.sampling_step, &runs.decode, &runs.encode, &runs.update]);
        let update = machine.seconds(&runs.update) + machine.backward_seconds(&runs.update);
        let mut stages = Vec::new();
        if inverts {
            stages.push(("encode", encodings * machine.seconds(&runs.encode)));
            stages.push(("invert", inversions * machine.seconds(&runs.inversion_step)));
        }
        stages.push(("generate", updates * update + samplings * machine.seconds(&runs.sampling_step)));
        stages.push(("decode", runs.parts * machine.seconds(&runs.decode)));

        let flops = encodings * runs.encode.flops()
            + inversions * runs.inversion_step.flops()
            + updates * (runs.update.flops() + runs.update.backward_flops())
            + samplings * runs.sampling_step.flops()
            + runs.parts * runs.decode.flops();
        let parameters = runs.inversion_step.parameters
            + runs.encode.parameters
            + runs.decode.parameters
            + text_encoder_parameters(&configs.text_encoder);
        let update_peak = if updates > 0.0 { runs.update.backward_peak } else { 0 };
        let activations =
            [runs.encode.forward_peak, runs.sampling_step.forward_peak, runs.decode.forward_peak]
                .into_iter()
                .fold(update_peak, u64::max);
        Ok(Self {
            seconds: stages.iter().map(|(_, seconds)| seconds).sum(),
            stages,
            // While the weights are loaded, the files are in memory, too.
            peak_memory_bytes: baseline
                + CODE_BYTES
                + ELEMENT_BYTES * parameters
                + configs.file_bytes.max((HOLES * (ELEMENT_BYTES * activations) as f64) as u64),
            at_most: updates > 0.0 && settings.loss_threshold > 0.0,
            flops,
            parameters,
        })
    }

    /// The estimate in a few lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let stages: Vec<String> =
            self.stages.iter().map(|(name, seconds)| format!("{name} {}", brief(*seconds))).collect();
        let at_most = if self.at_most { "at most " } else { "" };
        vec![
            format!("time    {at_most}about {} ({})", brief(self.seconds), stages.join(", ")),
            format!("memory  about {}", bytes(self.peak_memory_bytes)),
            format!(
                "work    {at_most}{}FLOP; the model has {:.1} million parameters",
                scaled(self.flops),
                self.parameters as f64 / 1e6
            ),
        ]
    }
}

/// Bytes to read.
pub(crate) fn bytes(bytes: u64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let mebibytes = bytes as f64 / MIB;
    if mebibytes < 1000.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

/// A number with the unit's prefix: `3.7 P`.
fn scaled(number: f64) -> String {
    let prefixes = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, prefix) = prefixes.into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1.0, ""));
    format!("{:.1} {prefix}", number / unit)
}

/// How fast layers run here.
struct Machine {
    /// Seconds of each layer that was timed, as it was cut.
    timed: HashMap<Operation, f64>,
    /// Mean seconds for one unit of [`work`], by the kind of layer.
    pace: HashMap<Discriminant<Operation>, f64>,
}

impl Machine {
    /// Times the layers of these nets, the costliest first, until the time for it is spent.
    fn time(nets: &[&NetCost]) -> Self {
        let _no_gradients = tch::no_grad_guard();
        let mut shares: HashMap<Operation, f64> = HashMap::new();
        for operation in nets.iter().flat_map(|net| &net.operations) {
            *shares.entry(cut(*operation)).or_default() += work(operation);
        }
        let mut operations: Vec<(Operation, f64)> = shares.into_iter().collect();
        operations.sort_by(|a, b| b.1.total_cmp(&a.1));
        let started = Instant::now();
        let mut timed = HashMap::new();
        let mut sums: HashMap<_, (f64, f64)> = HashMap::new();
        for (operation, _) in operations {
            let kind = discriminant(&operation);
            if started.elapsed() > BUDGET && sums.contains_key(&kind) {
                continue;
            }
            let seconds = seconds_of(&operation);
            let sum = sums.entry(kind).or_default();
            *sum = (sum.0 + seconds, sum.1 + work(&operation));
            timed.insert(operation, seconds);
        }
        let pace = sums.into_iter().map(|(kind, (seconds, work))| (kind, seconds / work)).collect();
        Self { timed, pace }
    }

    fn seconds(&self, net: &NetCost) -> f64 {
        net.operations.iter().map(|operation| self.seconds_of(operation)).sum()
    }

    /// Seconds of the gradient. What has no FLOP takes as long as forward.
    fn backward_seconds(&self, net: &NetCost) -> f64 {
        let seconds = |operation: &Operation| {
            let share =
                if operation.flops() > 0.0 { operation.backward_flops() / operation.flops() } else { 1.0 };
            share * self.seconds_of(operation)
        };
        net.operations.iter().map(seconds).sum()
    }

    fn seconds_of(&self, operation: &Operation) -> f64 {
        let cut = cut(*operation);
        if let Some(seconds) = self.timed.get(&cut) {
            return seconds * work(operation) / work(&cut);
        }
        let pace = self.pace.get(&discriminant(operation)).copied().unwrap_or_default();
        pace * work(operation)
    }
}

/// What the time of a layer goes with: its FLOP, or the elements that it passes over.
fn work(operation: &Operation) -> f64 {
    match operation {
        Operation::Elementwise { elements } => 64.0 * *elements as f64,
        other => other.flops(),
    }
}

/// A layer of the same kind and speed that runs for a moment only.
fn cut(operation: Operation) -> Operation {
    let fits = |flops_of_one: f64, count: i64| ((FLOP_TIMED / flops_of_one) as i64).clamp(1, count);
    match operation {
        Operation::Convolution { images, input, output, size: [height, width], kernel, stride } => {
            let (input, output) = (input.min(CHANNELS_TIMED), output.min(CHANNELS_TIMED));
            let row = 2.0 * (width * input * output * kernel * kernel) as f64;
            let height_timed = fits(row, height);
            let images = fits(row * height as f64, images);
            Operation::Convolution { images, input, output, size: [height_timed, width], kernel, stride }
        }
        Operation::TemporalConvolution { videos: _, frames, channels, size: [height, width] } => {
            let channels = channels.min(CHANNELS_TIMED);
            let row = 6.0 * (frames * width * channels * channels) as f64;
            Operation::TemporalConvolution { videos: 1, frames, channels, size: [fits(row, height), width] }
        }
        Operation::Linear { rows, input, output, .. } => {
            let (input, output) = (input.min(8 * CHANNELS_TIMED), output.min(8 * CHANNELS_TIMED));
            let rows = fits(2.0 * (input * output) as f64, rows);
            Operation::Linear { rows, input, output, on_latents: true }
        }
        Operation::Attention { batch, heads, queries, keys, head_dim, to_text, plain } => {
            let sequence = 4.0 * (heads * queries * keys * head_dim) as f64;
            Operation::Attention {
                batch: fits(sequence, batch),
                heads,
                queries,
                keys,
                head_dim,
                to_text,
                plain,
            }
        }
        Operation::Elementwise { elements } => Operation::Elementwise { elements: elements.min(1 << 20) },
    }
}

/// What the layer takes in a net, by the fastest of a few runs.
fn seconds_of(operation: &Operation) -> f64 {
    let run = runner(operation);
    let once = || {
        let started = Instant::now();
        let _ = run();
        started.elapsed().as_secs_f64()
    };
    once();
    IN_A_NET * (0..4).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn runner(operation: &Operation) -> Box<dyn Fn() -> Tensor> {
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    match *operation {
        Operation::Convolution { images, input, output, size: [height, width], kernel, stride } => {
            let x = ones(&[images, input, height * stride, width * stride]);
            let (weight, bias) = (ones(&[output, input, kernel, kernel]), ones(&[output]));
            let padding = kernel / 2;
            Box::new(move || x.conv2d(&weight, Some(&bias), [stride; 2], [padding; 2], [1, 1], 1))
        }
        Operation::TemporalConvolution { videos, frames, channels, size: [height, width] } => {
            let x = ones(&[videos, channels, frames, height, width]);
            let (weight, bias) = (ones(&[channels, channels, 3, 1, 1]), ones(&[channels]));
            Box::new(move || x.conv3d(&weight, Some(&bias), [1, 1, 1], [1, 0, 0], [1, 1, 1], 1))
        }
        Operation::Linear { rows, input, output, .. } => {
            let (x, weight, bias) = (ones(&[1, rows, input]), ones(&[output, input]), ones(&[output]));
            Box::new(move || x.linear(&weight, Some(&bias)))
        }
        Operation::Attention { batch, heads, queries, keys, head_dim, plain, .. } => {
            let split = |tokens| ones(&[batch, tokens, heads, head_dim]).transpose(1, 2);
            let (q, k, v) = (split(queries), split(keys), split(keys));
            Box::new(move || {
                if plain {
                    motionflow::nets::attention::attention_probabilities(&q, &k).matmul(&v)
                } else {
                    motionflow::nets::attention::scaled_dot_product_attention(&q, &k, &v)
                }
            })
        }
        Operation::Elementwise { elements } => {
            let x = ones(&[elements]);
            Box::new(move || x.silu())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FoundModel;
    use crate::progress::{Progress, Voice};
    use crate::request;

    fn demo() -> Configs {
        let mut progress = Progress::new(Voice::Quiet);
        FoundModel::find(&request::Model::default(), &mut progress).unwrap().configs().unwrap()
    }

    #[test]
    fn every_stage_of_a_transfer_is_foretold() {
        let video = Video { width: 32, height: 32, frames: 2, fps: 8.0 };
        let settings = Settings { steps: 4, guided_steps: 2, ..Settings::default() };
        let estimate = Estimate::of(&demo(), &settings, &video, true).unwrap();
        let names: Vec<&str> = estimate.stages.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["encode", "invert", "generate", "decode"]);
        assert!(estimate.stages.iter().all(|(_, seconds)| *seconds > 0.0), "{estimate:?}");
        let reused = Estimate::of(&demo(), &settings, &video, false).unwrap();
        assert_eq!(reused.stages[0].0, "generate");
        assert!(reused.flops < estimate.flops);
        let plain = Settings { updates: false, ..settings };
        assert!(Estimate::of(&demo(), &plain, &video, true).unwrap().flops < estimate.flops);
    }

    #[test]
    fn a_layer_that_is_timed_is_small_and_of_its_kind() {
        let operations = [
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
        for operation in operations {
            let timed = cut(operation);
            assert_eq!(discriminant(&timed), discriminant(&operation));
            assert!(timed.flops() < 10.0 * FLOP_TIMED, "{timed:?}");
        }
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([scaled(3.7e15), scaled(12.0), scaled(4.26e9)], ["3.7 P", "12.0 ", "4.3 G"]);
        assert_eq!([bytes(716 << 20), bytes(31 << 30)], ["716 MiB", "31.0 GiB"]);
    }
}
