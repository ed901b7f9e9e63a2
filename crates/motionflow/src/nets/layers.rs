//! The smallest layers: weights from a checkpoint and one libtorch call each.

use serde::Deserialize;
use tch::Tensor;

use crate::checkpoint::Loader;

/// `y = x·Wᵀ + b` over the last dimension.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `weight` [output, input] and `bias` \[output\].
    pub fn new(weights: &Loader, input: i64, output: i64) -> Self {
        let bias = Some(weights.tensor("bias", &[output]));
        Self { bias, ..Self::without_bias(weights, input, output) }
    }

    /// Loads `weight` [output, input] alone.
    pub fn without_bias(weights: &Loader, input: i64, output: i64) -> Self {
        Self { weight: weights.tensor("weight", &[output, input]), bias: None }
    }

    /// [.., input] -> [.., output]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// A 2D convolution over [batch, channels, height, width].
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// Loads `weight` [output, input, kernel, kernel] and `bias` \[output\].
    pub fn new(weights: &Loader, input: i64, output: i64, kernel: i64, stride: i64, padding: i64) -> Self {
        let weight = weights.tensor("weight", &[output, input, kernel, kernel]);
        Self { weight, bias: weights.tensor("bias", &[output]), stride, padding }
    }

    /// Kernel 3, stride 1, size kept.
    pub fn same(weights: &Loader, input: i64, output: i64) -> Self {
        Self::new(weights, input, output, 3, 1, 1)
    }

    /// Kernel 1.
    pub fn pointwise(weights: &Loader, input: i64, output: i64) -> Self {
        Self::new(weights, input, output, 1, 1, 0)
    }

    /// [batch, input, height, width] -> [batch, output, height', width']
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.conv2d(&self.weight, Some(&self.bias), stride, padding, [1, 1], 1)
    }
}

/// A convolution over time alone: kernel (3, 1, 1), length kept.
#[derive(Debug)]
pub struct TemporalConv {
    weight: Tensor,
    bias: Tensor,
}

impl TemporalConv {
    /// Loads `weight` [channels, channels, 3, 1, 1] and `bias` \[channels\].
    pub fn new(weights: &Loader, channels: i64) -> Self {
        let weight = weights.tensor("weight", &[channels, channels, 3, 1, 1]);
        Self { weight, bias: weights.tensor("bias", &[channels]) }
    }

    /// [batch, channels, frames, height, width], same shape out
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.conv3d(&self.weight, Some(&self.bias), [1, 1, 1], [1, 0, 0], [1, 1, 1], 1)
    }
}

/// Group normalisation over the channels (dimension 1) and everything behind them.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    epsilon: f64,
}

impl GroupNorm {
    /// Loads `weight` and `bias` \[channels\].
    pub fn new(weights: &Loader, groups: i64, channels: i64, epsilon: f64) -> Self {
        let (weight, bias) = (weights.tensor("weight", &[channels]), weights.tensor("bias", &[channels]));
        Self { weight, bias, groups, epsilon }
    }

    /// [batch, channels, ..], same shape out
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }
}

/// Layer normalisation over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    size: i64,
    epsilon: f64,
}

impl LayerNorm {
    /// Loads `weight` and `bias` \[size\].
    pub fn new(weights: &Loader, size: i64, epsilon: f64) -> Self {
        Self {
            weight: weights.tensor("weight", &[size]),
            bias: weights.tensor("bias", &[size]),
            size,
            epsilon,
        }
    }

    /// [.., size], same shape out
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.size], Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }
}

/// An activation function under the names that the configs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·σ(x)
    #[serde(alias = "swish")]
    Silu,
    /// x·Φ(x), exact
    Gelu,
    /// x·σ(1.702 x), CLIP's own
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// x·tanh(softplus(x))
    Mish,
}

impl Activation {
    /// Element by element, same shape out.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu("none"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::Relu => x.relu(),
            Self::Mish => x.mish(),
        }
    }
}
