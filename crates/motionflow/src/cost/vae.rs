//! The VAE, level by level as in [`crate::nets::vae`].

use super::tape::{Shape, Tape};
use super::{Layers, NetCost, Operation};
use crate::nets::vae::VaeConfig;

pub use crate::nets::vae::FRAMES_AT_ONCE;

/// What the encoder costs for so many frames at once, of height and width in pixels. The config must be valid.
pub fn vae_encode(config: &VaeConfig, frames: i64, height: i64, width: i64, layers: Layers) -> NetCost {
    let channels = &config.block_out_channels;
    let mut tape = Tape::new(layers);
    let pixels = Shape { videos: 1, frames, channels: config.in_channels, size: [height, width] };
    let mut x = tape.same(pixels, channels[0]);
    for (level, &output) in channels.iter().enumerate() {
        for _ in 0..config.layers_per_block {
            x = resnet(&mut tape, x, output);
        }
        if level + 1 < channels.len() {
            x = tape.downsample(x, 0);
        }
    }
    middle(&mut tape, x, config);
    let moments = tape.norm_and_convolution(x, 2 * config.latent_channels);
    if config.use_quant_conv {
        tape.convolution(moments, moments.channels, 1, 1, moments.size);
    }
    tape.cost
}

/// What the decoder costs for so many frames at once, of height and width in pixels. The config must be valid.
pub fn vae_decode(config: &VaeConfig, frames: i64, height: i64, width: i64, layers: Layers) -> NetCost {
    let mut tape = Tape::new(layers);
    let size = [height, width].map(|side| side / config.downscale());
    let latents = Shape { videos: 1, frames, channels: config.latent_channels, size };
    if config.use_post_quant_conv {
        tape.convolution(latents, latents.channels, 1, 1, size);
    }
    let coarsest = config.block_out_channels[config.block_out_channels.len() - 1];
    let mut x = tape.same(latents, coarsest);
    middle(&mut tape, x, config);
    for (index, &output) in config.block_out_channels.iter().rev().enumerate() {
        for _ in 0..=config.layers_per_block {
            x = resnet(&mut tape, x, output);
        }
        if index + 1 < config.block_out_channels.len() {
            x = tape.upsample(x, x.size.map(|side| 2 * side));
        }
    }
    tape.norm_and_convolution(x, config.out_channels);
    tape.cost
}

fn resnet(tape: &mut Tape, x: Shape, output: i64) -> Shape {
    tape.hold(x.elements());
    let out = tape.resnet(x, output, None, false);
    tape.release(x.elements());
    out
}

fn middle(tape: &mut Tape, x: Shape, config: &VaeConfig) {
    resnet(tape, x, x.channels);
    if config.mid_block_add_attention {
        let (channels, rows) = (x.channels, x.images() * x.places());
        tape.parameters(2 * channels);
        tape.pass(x.elements(), 2);
        for _ in 0..4 {
            tape.linear(rows, channels, channels, true, true);
        }
        tape.run(Operation::Attention {
            batch: x.images(),
            heads: 1,
            queries: x.places(),
            keys: x.places(),
            head_dim: channels,
            to_text: false,
            plain: false,
        });
        tape.pass(x.elements(), 2);
        tape.takes(8 * x.elements());
    }
    resnet(tape, x, x.channels);
}
