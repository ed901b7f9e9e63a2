//! The smallest layers: weights from a checkpoint and one libtorch call each.

use serde::Deserialize;
use tch::Tensor;

use crate::checkpoint::Loader;
use crate::kernels::{self, Convolution, Norm};

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

    /// Loads a layer over channels that the weights may have as a 1×1 convolution, `weight` [output, input, 1, 1].
    pub fn projection(weights: &Loader, input: i64, output: i64, stored: Projection) -> Self {
        match stored {
            Projection::Linear => Self::new(weights, input, output),
            Projection::Convolution => Self {
                weight: weights.tensor("weight", &[output, input, 1, 1]).reshape([output, input]),
                bias: Some(weights.tensor("bias", &[output])),
            },
        }
    }

    /// Several layers without bias over the same input as one, their outputs one behind the other.
    pub fn joined(weights: &Loader, layers: &[Self]) -> Self {
        let parts: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let weight = if weights.is_whole() { Tensor::cat(&parts, 0) } else { parts[0].shallow_clone() };
        Self { weight, bias: None }
    }

    /// The layer of these [`Linear::weights`].
    pub(super) fn of(weights: &[Tensor]) -> Self {
        Self { weight: weights[0].shallow_clone(), bias: weights.get(1).map(Tensor::shallow_clone) }
    }

    /// [output, input]
    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `weight` and, where there is one, `bias`.
    pub(super) fn weights(&self) -> impl Iterator<Item = Tensor> + '_ {
        std::iter::once(&self.weight).chain(&self.bias).map(Tensor::shallow_clone)
    }

    /// The same, so that others can take their place.
    pub(super) fn weights_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }

    /// The size of what comes out.
    pub(super) fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }

    /// [.., input] -> [.., output]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }

    /// The same with GELU in its tanh form after it; the layer has a bias.
    pub fn forward_gelu(&self, x: &Tensor) -> Tensor {
        match &self.bias {
            Some(bias) => kernels::linear_gelu(x, &self.weight, bias),
            None => self.forward(x).gelu("tanh"),
        }
    }

    /// What each of `count` layers gives that were joined, [.., input] -> [.., output / count]. In one product on CUDA,
    /// where that is faster; one by one on the CPU, where it is as diffusers computes it, to the last bit.
    pub fn forward_joined(&self, x: &Tensor, count: i64) -> Vec<Tensor> {
        if kernels::are_used(x) {
            let joined = self.forward(x);
            let dimension = joined.dim() as i64 - 1;
            return joined.unflatten(dimension, [count, -1]).unbind(dimension);
        }
        self.weight.chunk(count, 0).iter().map(|weight| x.linear(weight, None::<&Tensor>)).collect()
    }
}

/// How the weights hold a linear layer over channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// As a linear layer.
    Linear,
    /// As a 1×1 convolution.
    Convolution,
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
        let weight = kernels::laid_out(&weights.tensor("weight", &[output, input, kernel, kernel]));
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
        kernels::convolution(x, &self.convolution(), Some(&self.bias))
    }

    /// The same with the bias left to the next layer where that is faster.
    pub fn forward_apart(&self, x: &Tensor) -> Convolved<'_> {
        if kernels::are_used(x) {
            let x = kernels::convolution(x, &self.convolution(), None);
            return Convolved { x, bias: Some(&self.bias) };
        }
        Convolved { x: self.forward(x), bias: None }
    }

    fn convolution(&self) -> Convolution<'_> {
        Convolution { weight: &self.weight, stride: self.stride, padding: self.padding }
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
        let weight = kernels::laid_out(&weights.tensor("weight", &[channels, channels, 3, 1, 1]));
        Self { weight, bias: weights.tensor("bias", &[channels]) }
    }

    fn convolution(&self) -> Convolution<'_> {
        Convolution { weight: &self.weight, stride: 1, padding: 1 }
    }
}

/// What comes out of a convolution, and its bias where that was left to the next layer.
#[derive(Debug)]
pub struct Convolved<'a> {
    /// [batch, channels, ..]
    pub x: Tensor,
    /// \[channels\], still to be added.
    pub bias: Option<&'a Tensor>,
}

/// A convolution that a norm and an activation go before.
pub trait NormedConvolution {
    /// Norm, activation, convolution. `shift` \[channels\] is added to x before.
    fn after_norm(
        &self,
        x: &Tensor,
        shift: Option<&Tensor>,
        norm: &GroupNorm,
        activation: Activation,
    ) -> Convolved<'_> {
        let (convolution, bias) = self.parts();
        if activation == Activation::Silu && kernels::are_used(x) {
            let x = kernels::norm_silu_convolution(x, shift, &norm.norm(), &convolution);
            return Convolved { x, bias: Some(bias) };
        }
        let normed = kernels::group_norm(x, shift, &norm.norm(), activation == Activation::Silu);
        let activated = if activation == Activation::Silu { normed } else { activation.forward(&normed) };
        Convolved { x: kernels::convolution(&activated, &convolution, Some(bias)), bias: None }
    }

    /// The convolution and its bias.
    fn parts(&self) -> (Convolution<'_>, &Tensor);
}

impl NormedConvolution for Conv2d {
    fn parts(&self) -> (Convolution<'_>, &Tensor) {
        (self.convolution(), &self.bias)
    }
}

impl NormedConvolution for TemporalConv {
    fn parts(&self) -> (Convolution<'_>, &Tensor) {
        (self.convolution(), &self.bias)
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
        kernels::group_norm(x, None, &self.norm(), false)
    }

    /// The same with SiLU after it.
    pub fn forward_silu(&self, x: &Tensor) -> Tensor {
        kernels::group_norm(x, None, &self.norm(), true)
    }

    /// A video's norm, its result ready for attention along time:
    /// [batch, channels, frames, height, width] -> [batch·height·width, frames, channels]
    pub fn forward_places_first(&self, x: &Tensor) -> Tensor {
        kernels::group_norm_places_first(x, &self.norm())
    }

    fn norm(&self) -> Norm<'_> {
        Norm { weight: &self.weight, bias: &self.bias, groups: self.groups, epsilon: self.epsilon }
    }
}

/// Layer normalisation over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Loads `weight` and `bias` \[size\].
    pub fn new(weights: &Loader, size: i64, epsilon: f64) -> Self {
        Self { weight: weights.tensor("weight", &[size]), bias: weights.tensor("bias", &[size]), epsilon }
    }

    /// [.., size], same shape out
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_positioned(x, None)
    }

    /// [.., tokens, size], same shape out; `positions` [1, tokens, size] are added to what comes out
    pub fn forward_positioned(&self, x: &Tensor, positions: Option<&Tensor>) -> Tensor {
        kernels::layer_norm(x, &self.weight, &self.bias, self.epsilon, positions)
    }

    /// x + residual, and the norm of that, with `positions` added: twice [.., tokens, size]
    pub fn forward_added(
        &self,
        x: &Tensor,
        residual: &Tensor,
        positions: Option<&Tensor>,
    ) -> (Tensor, Tensor) {
        kernels::add_layer_norm(x, residual, &self.weight, &self.bias, self.epsilon, positions)
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
