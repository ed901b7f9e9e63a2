//! Residual blocks with up- and downsampling, shared by the UNet and the VAE.
//!
//! ResNet (<https://arxiv.org/abs/1512.03385>) with group norms, as in the DDPM family of nets.

use tch::Tensor;

use super::layers::{Activation, Conv2d, Convolved, GroupNorm, Linear, NormedConvolution};
use crate::checkpoint::Loader;
use crate::kernels;

/// What all residual blocks of one net have in common.
#[derive(Debug, Clone, Copy)]
pub struct ResnetOptions {
    /// Groups of the norms.
    pub groups: i64,
    /// Epsilon of the norms.
    pub epsilon: f64,
    /// Activation after each norm.
    pub activation: Activation,
    /// Channels of the timestep's embedding; none in the VAE.
    pub time_channels: Option<i64>,
    /// The block's output is divided by this.
    pub output_scale: f64,
}

/// Norm, activation, convolution, twice, the timestep's embedding added between, and the input added at the end.
#[derive(Debug)]
pub struct ResnetBlock2D {
    options: ResnetOptions,
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock2D {
    /// Loads a block that takes `input` channels to `output` channels.
    pub fn new(weights: &Loader, input: i64, output: i64, options: ResnetOptions) -> Self {
        let norm = |name: &str, channels| {
            GroupNorm::new(&weights.sub(name), options.groups, channels, options.epsilon)
        };
        Self {
            options,
            norm1: norm("norm1", input),
            conv1: Conv2d::same(&weights.sub("conv1"), input, output),
            time_emb_proj: options
                .time_channels
                .map(|channels| Linear::new(&weights.sub("time_emb_proj"), channels, output)),
            norm2: norm("norm2", output),
            conv2: Conv2d::same(&weights.sub("conv2"), output, output),
            conv_shortcut: (input != output)
                .then(|| Conv2d::pointwise(&weights.sub("conv_shortcut"), input, output)),
        }
    }

    /// x [images, input, height, width], time [1 or images, `time_channels`], activated, all rows
    /// the same -> [images, output, height, width]
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Tensor {
        let activation = self.options.activation;
        let Convolved { x: hidden, bias } = self.conv1.after_norm(x, None, &self.norm1, activation);
        let time = self.time_emb_proj.as_ref().zip(time);
        let time = time.map(|(projection, time)| projection.forward(time).select(0, 0));
        let shift = match (time, bias) {
            (Some(time), Some(bias)) => Some(time + bias),
            (time, bias) => time.or_else(|| bias.map(Tensor::shallow_clone)),
        };
        let Convolved { x: hidden, bias } =
            self.conv2.after_norm(&hidden, shift.as_ref(), &self.norm2, activation);
        let sum = match &self.conv_shortcut {
            Some(shortcut) => {
                let Convolved { x: residual, bias: other } = shortcut.forward_apart(x);
                let bias = bias.zip(other).map(|(bias, other)| bias + other);
                kernels::add(&hidden, bias.as_ref(), &residual)
            }
            None => kernels::add(&hidden, bias, x),
        };
        #[allow(clippy::float_cmp, reason = "exactly 1 is what spares the division")]
        if self.options.output_scale == 1.0 { sum } else { sum / self.options.output_scale }
    }
}

/// A convolution of stride 2 that halves height and width (rounded up with padding 1).
#[derive(Debug)]
pub struct Downsample2D {
    conv: Conv2d,
    padding: i64,
}

impl Downsample2D {
    /// Loads `conv`. With `padding` 0 one row and one column of zeros are added below and to the right.
    pub fn new(weights: &Loader, channels: i64, padding: i64) -> Self {
        Self { conv: Conv2d::new(&weights.sub("conv"), channels, channels, 3, 2, padding), padding }
    }

    /// [images, channels, height, width] -> [images, channels, height / 2, width / 2]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if self.padding == 0 {
            return self.conv.forward(&x.constant_pad_nd([0, 1, 0, 1]));
        }
        self.conv.forward(x)
    }
}

/// Nearest-neighbour enlargement and a convolution.
#[derive(Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    /// Loads `conv`.
    pub fn new(weights: &Loader, channels: i64) -> Self {
        Self { conv: Conv2d::same(&weights.sub("conv"), channels, channels) }
    }

    /// [images, channels, height, width] -> twice that height and width, or `size` (height, width)
    pub fn forward(&self, x: &Tensor, size: Option<[i64; 2]>) -> Tensor {
        let shape = x.size();
        let size = size.unwrap_or([shape[2] * 2, shape[3] * 2]);
        self.conv.forward(&kernels::enlarge(x, size))
    }
}
