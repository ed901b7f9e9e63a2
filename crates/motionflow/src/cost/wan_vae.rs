//! The VAE of Wan, level by level as in [`crate::nets::wan_vae`].

use std::ops::Range;

use super::tape::{Shape, Tape};
use super::{Layers, NetCost, Operation};
use crate::nets::wan_vae::{FINE_LEVELS, WanVaeConfig, strip_rows};

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

/// As [`wan_vae_encode`], with the finest levels in strips of rows, as where memory is low: what is computed twice where they
/// meet is left out.
pub fn wan_vae_encode_in_strips(
    config: &WanVaeConfig,
    frames: i64,
    height: i64,
    width: i64,
    layers: Layers,
) -> NetCost {
    let scale = config.temporal_downscale();
    let [rows, later] = [strip(config, height, width), (frames - 1) / scale];
    let pixels = |frames| Shape { videos: 1, frames, channels: config.in_channels, size: [rows, width] };
    let (fine, x) = one_part(layers, later == 0, |walk| walk.encode_fine(pixels(scale), config));
    let x = Shape { size: [x.size[0] * height / rows, x.size[1]], ..x };
    let (coarse, _) = one_part(layers, later == 0, |walk| walk.encode_coarse(x, config));
    let between = (later + 1) * x.elements();
    let cost = wan_vae_encode(config, frames, height, width, layers);
    NetCost { forward_peak: between as u64 + fine.max(coarse), ..cost }
}

/// As [`wan_vae_decode`]; else as [`wan_vae_encode_in_strips`].
pub fn wan_vae_decode_in_strips(
    config: &WanVaeConfig,
    frames: i64,
    height: i64,
    width: i64,
    layers: Layers,
) -> NetCost {
    let [rows, later] = [strip(config, height, width), (frames - 1) / config.temporal_downscale()];
    let size = [height, width].map(|side| side / config.downscale());
    let latents = Shape { videos: 1, frames: 1, channels: config.z_dim, size };
    let (coarse, x) = one_part(layers, later == 0, |walk| walk.decode_coarse(latents, config));
    let between = (later + 1) * x.elements();
    let x = Shape { size: [(x.size[0] * rows + height - 1) / height, x.size[1]], ..x };
    let (fine, _) = one_part(layers, later == 0, |walk| walk.decode_fine(x, config));
    let cost = wan_vae_decode(config, frames, height, width, layers);
    NetCost { forward_peak: between as u64 + fine.max(coarse), ..cost }
}

/// Rows of a strip with those around it that count, some 24 on either side.
fn strip(config: &WanVaeConfig, height: i64, width: i64) -> i64 {
    let of_row = config.temporal_downscale() * config.base_dim * width;
    (strip_rows(of_row, config.downscale()) + 48).min(height)
}

/// The most that a part of a clip has at once in a part of a net, with what is kept for the next part; and what that gives.
fn one_part(layers: Layers, is_first: bool, part: impl FnOnce(&mut Walk) -> Shape) -> (u64, Shape) {
    let mut walk = Walk { tape: Tape::new(layers), kept: 0, is_first };
    let x = part(&mut walk);
    (walk.tape.cost.forward_peak + walk.kept as u64, x)
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

/// Levels that run in strips.
fn fine_levels(config: &WanVaeConfig) -> usize {
    FINE_LEVELS.min(config.dim_mult.len() - 1)
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
        let x = self.encode_fine(frames, config);
        self.encode_coarse(x, config);
    }

    fn encode_fine(&mut self, frames: Shape, config: &WanVaeConfig) -> Shape {
        let x = self.causal(frames, config.base_dim);
        self.down(x, config, 0..fine_levels(config))
    }

    fn encode_coarse(&mut self, x: Shape, config: &WanVaeConfig) -> Shape {
        let x = self.down(x, config, fine_levels(config)..config.dim_mult.len());
        self.middle(x);
        self.norm(x, true);
        let moments = self.causal(x, 2 * config.z_dim);
        self.tape.convolution(moments, moments.channels, 1, 1, moments.size)
    }

    fn down(&mut self, x: Shape, config: &WanVaeConfig, levels: Range<usize>) -> Shape {
        levels.fold(x, |mut x, level| {
            for _ in 0..config.num_res_blocks {
                x = self.resnet(x, config.channels()[level]);
            }
            match config.temperal_downsample.get(level) {
                Some(&halves_time) => self.downsample(x, halves_time),
                None => x,
            }
        })
    }

    fn decode(&mut self, latents: Shape, config: &WanVaeConfig) {
        let x = self.decode_coarse(latents, config);
        self.decode_fine(x, config);
    }

    fn decode_coarse(&mut self, latents: Shape, config: &WanVaeConfig) -> Shape {
        self.tape.convolution(latents, latents.channels, 1, 1, latents.size);
        let channels = config.channels();
        let mut x = self.causal(latents, channels[channels.len() - 1]);
        self.middle(x);
        for level in (fine_levels(config)..channels.len()).rev() {
            x = self.up(x, config, level);
            if level > fine_levels(config) {
                x = self.upsample(x, config.temperal_downsample[level - 1]);
            }
        }
        x
    }

    fn decode_fine(&mut self, x: Shape, config: &WanVaeConfig) -> Shape {
        let mut x = x;
        for level in (0..fine_levels(config)).rev() {
            x = self.upsample(x, config.temperal_downsample[level]);
            x = self.up(x, config, level);
        }
        self.norm(x, true);
        let frames = self.causal(x, config.out_channels);
        self.tape.pass(frames.elements(), 1);
        frames
    }

    fn up(&mut self, x: Shape, config: &WanVaeConfig, level: usize) -> Shape {
        (0..=config.num_res_blocks).fold(x, |x, _| self.resnet(x, config.channels()[level]))
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
