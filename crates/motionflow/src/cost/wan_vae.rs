//! The VAE of Wan, level by level as in [`crate::nets::wan_vae`].

use super::tape::{Shape, Tape};
use super::{Layers, NetCost, Operation};
use crate::nets::wan_vae::WanVaeConfig;

/// Frames of a convolution over time.
const TIME_KERNEL: i64 = 3;

/// What the encoder costs for a clip of so many frames, of height and width in pixels. The config must be valid and a clip
/// can be that long. The peaks are those of one part of the clip with what the convolutions keep of the part before it;
/// frames and latents are not in them.
pub fn wan_vae_encode(
    config: &WanVaeConfig,
    frames: i64,
    height: i64,
    width: i64,
    layers: Layers,
) -> NetCost {
    let scale = config.temporal_downscale();
    let pixels = |frames| Shape { videos: 1, frames, channels: config.in_channels, size: [height, width] };
    let later = (frames - 1) / scale;
    in_parts(layers, later, |walk| walk.encode(pixels(if walk.is_first { 1 } else { scale }), config))
}

/// What the decoder costs for a clip of so many frames, of height and width in pixels; else as [`wan_vae_encode`].
pub fn wan_vae_decode(
    config: &WanVaeConfig,
    frames: i64,
    height: i64,
    width: i64,
    layers: Layers,
) -> NetCost {
    let size = [height, width].map(|side| side / config.downscale());
    let latents = Shape { videos: 1, frames: 1, channels: config.z_dim, size };
    in_parts(layers, (frames - 1) / config.temporal_downscale(), |walk| walk.decode(latents, config))
}

/// The cost of the first part of a clip and of so many later ones.
fn in_parts(layers: Layers, later: i64, part: impl Fn(&mut Walk)) -> NetCost {
    let walked = |is_first| {
        let mut walk = Walk { tape: Tape::new(layers), kept: 0, is_first };
        part(&mut walk);
        let Walk { tape: Tape { mut cost, .. }, kept, .. } = walk;
        cost.forward_peak += kept as u64;
        cost.backward_peak += kept as u64;
        cost
    };
    let mut cost = walked(true);
    if later > 0 {
        let other = walked(false);
        cost.forward_peak = cost.forward_peak.max(other.forward_peak);
        cost.backward_peak = cost.backward_peak.max(other.backward_peak);
        for _ in 0..later {
            cost.operations.extend_from_slice(&other.operations);
        }
    }
    cost
}

/// One part of a clip on its way through a net.
struct Walk {
    tape: Tape,
    /// Elements that the convolutions keep for the next part.
    kept: i64,
    /// Whether the part is the first frame, which no convolution over time alone sees.
    is_first: bool,
}

impl Walk {
    fn encode(&mut self, frames: Shape, config: &WanVaeConfig) {
        let mut x = self.causal(frames, config.base_dim);
        for (level, &output) in config.channels().iter().enumerate() {
            for _ in 0..config.num_res_blocks {
                x = self.resnet(x, output);
            }
            if let Some(&halves_time) = config.temperal_downsample.get(level) {
                x = self.downsample(x, halves_time);
            }
        }
        self.middle(x);
        self.norm(x, true);
        let moments = self.causal(x, 2 * config.z_dim);
        self.tape.convolution(moments, moments.channels, 1, 1, moments.size);
    }

    fn decode(&mut self, latents: Shape, config: &WanVaeConfig) {
        self.tape.convolution(latents, latents.channels, 1, 1, latents.size);
        let channels = config.channels();
        let mut x = self.causal(latents, channels[channels.len() - 1]);
        self.middle(x);
        for (level, &output) in channels.iter().enumerate().rev() {
            for _ in 0..=config.num_res_blocks {
                x = self.resnet(x, output);
            }
            if level > 0 {
                x = self.upsample(x, config.temperal_downsample[level - 1]);
            }
        }
        self.norm(x, true);
        let frames = self.causal(x, config.out_channels);
        self.tape.pass(frames.elements(), 1);
    }

    /// Kernel 3×3×3, size and length kept.
    fn causal(&mut self, x: Shape, output: i64) -> Shape {
        self.over_time(x, output, 3, 1, true)
    }

    /// A convolution over three frames and so many places in each direction; `runs` says whether this part goes through.
    fn over_time(&mut self, x: Shape, output: i64, kernel: i64, stride: i64, runs: bool) -> Shape {
        self.tape.parameters(TIME_KERNEL * kernel * kernel * x.channels * output + output);
        let before = TIME_KERNEL - stride;
        self.kept += Shape { frames: before, ..x }.elements();
        if !runs {
            return x;
        }
        let joined = Shape { frames: before + x.frames, ..x };
        let out = Shape { frames: x.frames / stride, channels: output, ..x };
        self.tape.pass(joined.elements(), 1);
        self.tape.takes(x.elements() + joined.elements());
        self.tape.run(Operation::CausalConvolution {
            videos: x.videos,
            frames: out.frames,
            input: x.channels,
            output,
            size: x.size,
            kernel,
            stride,
        });
        self.tape.takes(self.tape.either(2, 1) * (joined.elements() + out.elements()));
        out
    }

    /// A norm over the channels, of float32 inside; the kernels have none, so that half precision is copied.
    fn norm(&mut self, x: Shape, with_silu: bool) {
        self.tape.parameters(x.channels);
        let passes = self.tape.either(3, 4) + usize::from(with_silu);
        self.tape.pass(x.elements(), passes);
        self.tape.takes(self.tape.either(2, 4) * x.elements());
    }

    fn resnet(&mut self, x: Shape, output: i64) -> Shape {
        self.norm(x, true);
        self.tape.hold(x.elements());
        let out = self.causal(x, output);
        self.norm(out, true);
        self.causal(out, output);
        self.tape.hold(out.elements());
        if x.channels != output {
            self.tape.convolution(x, output, 1, 1, x.size);
        }
        self.tape.pass(out.elements(), 1);
        self.tape.release(x.elements() + out.elements());
        out
    }

    fn middle(&mut self, x: Shape) {
        self.resnet(x, x.channels);
        let (channels, rows) = (x.channels, x.images() * x.places());
        self.norm(x, false);
        self.tape.linear(rows, channels, 3 * channels, true, true);
        self.tape.run(Operation::Attention {
            batch: x.images(),
            heads: 1,
            queries: x.places(),
            keys: x.places(),
            head_dim: channels,
            to_text: false,
            plain: false,
        });
        self.tape.linear(rows, channels, channels, true, true);
        self.tape.pass(x.elements(), 3);
        self.tape.takes(6 * x.elements());
        self.resnet(x, x.channels);
    }

    fn downsample(&mut self, x: Shape, halves_time: bool) -> Shape {
        // Zeros to the right and below.
        self.tape.pass(x.elements(), 1);
        self.tape.hold(x.elements());
        let out = self.tape.convolution(x, x.channels, 3, 2, x.size.map(|side| side / 2));
        self.tape.release(x.elements());
        if !halves_time {
            return out;
        }
        self.over_time(out, out.channels, 1, 2, !self.is_first)
    }

    fn upsample(&mut self, x: Shape, doubles_time: bool) -> Shape {
        let mut x = x;
        if doubles_time {
            let out = self.over_time(x, 2 * x.channels, 1, 1, !self.is_first);
            if !self.is_first {
                x = Shape { frames: 2 * x.frames, ..x };
                self.tape.pass(x.elements(), 1);
                self.tape.takes(2 * out.elements());
            }
        }
        let large = Shape { size: x.size.map(|side| 2 * side), ..x };
        self.tape.pass(large.elements(), 1);
        self.tape.convolution(large, x.channels / 2, 3, 1, large.size)
    }
}
