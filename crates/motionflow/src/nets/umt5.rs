//! `UMT5EncoderModel`: the text encoder of Wan.
//!
//! "UniMax: Fairer and more Effective Language Sampling for Large-Scale Multilingual Pretraining"
//! (<https://arxiv.org/abs/2304.09151>): T5 (<https://arxiv.org/abs/1910.10683>) of version 1.1, in which every layer has a
//! relative position bias of its own.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::config::{ConfigError, count, epsilon};
use super::layers::Linear;
use crate::checkpoint::Loader;

const COMPONENT: &str = "text_encoder";

/// The embedding's names in published files: of the whole model, and of the encoder that shares it.
const EMBEDDING: [&str; 2] = ["shared.weight", "encoder.embed_tokens.weight"];

/// The settings of transformers' `UMT5EncoderModel` that change the arithmetic; the defaults are transformers' own.
///
/// `tie_word_embeddings` is of the decoder: the encoder has one embedding, whatever it says.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Umt5Config {
    /// `umt5`; T5 has one relative position bias for all layers.
    pub model_type: String,
    /// Size of the vocabulary.
    pub vocab_size: i64,
    /// Features of a token.
    pub d_model: i64,
    /// Features of a head; all heads together may have more or fewer than a token.
    pub d_kv: i64,
    /// Features between the two steps of the feed-forward nets.
    pub d_ff: i64,
    /// Number of layers.
    pub num_layers: i64,
    /// Heads of each attention.
    pub num_heads: i64,
    /// Distances between tokens that are told apart: half of them behind a token, half before it.
    pub relative_attention_num_buckets: i64,
    /// The distance, in tokens, from which on all are one.
    pub relative_attention_max_distance: i64,
    /// Epsilon of the norms.
    pub layer_norm_epsilon: f64,
    /// Kind of the feed-forward nets: `gated-gelu`.
    pub feed_forward_proj: String,
    /// What follows from it, as transformers writes it: `gelu_new`.
    pub dense_act_fn: Option<String>,
    /// What follows from it, as transformers writes it: true.
    pub is_gated_act: Option<bool>,
    /// Whether a token sees those before it alone: false.
    pub is_decoder: bool,
}

impl Default for Umt5Config {
    fn default() -> Self {
        Self {
            model_type: "umt5".to_owned(),
            vocab_size: 250_112,
            d_model: 512,
            d_kv: 64,
            d_ff: 1024,
            num_layers: 8,
            num_heads: 6,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "gated-gelu".to_owned(),
            dense_act_fn: None,
            is_gated_act: None,
            is_decoder: false,
        }
    }
}

impl Umt5Config {
    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let runs = |key: &str, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            Err(ConfigError::new(COMPONENT, key, found, format!("{expected:?}")))
        };
        runs("model_type", &self.model_type, "umt5")?;
        runs("feed_forward_proj", &self.feed_forward_proj, "gated-gelu")?;
        runs("dense_act_fn", self.dense_act_fn.as_deref().unwrap_or("gelu_new"), "gelu_new")?;
        if self.is_gated_act == Some(false) {
            return Err(ConfigError::new(COMPONENT, "is_gated_act", false, "true"));
        }
        if self.is_decoder {
            return Err(ConfigError::new(COMPONENT, "is_decoder", true, "false"));
        }
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("relative_attention_num_buckets", buckets),
            ("relative_attention_max_distance", distance),
        ] {
            count(COMPONENT, key, value)?;
        }
        if self.num_layers > 256 {
            return Err(ConfigError::new(COMPONENT, "num_layers", self.num_layers, "1 to 256"));
        }
        if buckets < 4 {
            return Err(ConfigError::new(
                COMPONENT,
                "relative_attention_num_buckets",
                buckets,
                "4 or more: two distances on either side",
            ));
        }
        if distance <= buckets / 4 {
            let expected = format!("more than a quarter of the {buckets} relative_attention_num_buckets");
            return Err(ConfigError::new(COMPONENT, "relative_attention_max_distance", distance, expected));
        }
        epsilon(COMPONENT, "layer_norm_epsilon", self.layer_norm_epsilon)
    }
}

/// The text encoder, ready to run.
///
/// In bfloat16 all of it is of that type, but for what norms add up. In float16, whose numbers end at 65504, what the
/// layers add to is float32, and so are the feed-forward nets' last steps: transformers keeps those weights
/// (`wo`, 18 % of them) in float32, too.
#[derive(Debug)]
pub struct Umt5Encoder {
    config: Umt5Config,
    /// [vocabulary, features]
    embedding: Tensor,
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
}

impl Umt5Encoder {
    /// Builds the net that `config` describes from the weights of a checkpoint's `text_encoder` folder.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: Umt5Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let shape = [config.vocab_size, config.d_model];
        Ok(Self {
            embedding: weights.tensor(embedding_name(weights), &shape),
            blocks: (0..config.num_layers).map(|index| Block::new(weights, &config, index)).collect(),
            final_layer_norm: final_norm(weights, &config),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// The last hidden states after the final norm: token ids of some texts -> [1, tokens, features] of each. The ids must lie
    /// inside the vocabulary; there may be any number of them but none. Padding is not told from text: leave it out.
    pub fn forward(&self, texts: &[&[i64]]) -> Vec<Tensor> {
        let index = |ids: &&[i64]| Tensor::from_slice(ids).to_device(self.embedding.device());
        let mut texts: Vec<Text> = texts
            .iter()
            .map(|ids| Text::new(&self.embedding.index_select(0, &index(ids)), &self.config))
            .collect();
        for block in &self.blocks {
            for text in &mut texts {
                text.pass(block);
            }
        }
        texts.iter().map(|text| self.final_layer_norm.forward(&text.x)).collect()
    }
}

/// What [`Umt5Encoder::forward`] gives, with one block in memory at a time and of the embedding the rows that are used.
///
/// # Errors
/// As [`Umt5Encoder::new`]. Where weights are wrong, which is the loader's to report, nothing is computed.
pub fn encode_by_blocks(
    weights: &Loader,
    config: &Umt5Config,
    texts: &[&[i64]],
) -> Result<Vec<Tensor>, ConfigError> {
    config.validate()?;
    let (name, shape) = (embedding_name(weights), [config.vocab_size, config.d_model]);
    let mut texts: Vec<Text> =
        texts.iter().map(|ids| Text::new(&weights.rows(name, &shape, ids), config)).collect();
    for index in 0..config.num_layers {
        let block = Block::new(weights, config, index);
        if weights.is_whole() {
            for text in &mut texts {
                text.pass(&block);
            }
        }
    }
    let norm = final_norm(weights, config);
    let features = |text: &Text| norm.forward(&text.x);
    Ok(if weights.is_whole() { texts.iter().map(features).collect() } else { Vec::new() })
}

/// The embedding's name in these weights. It and the encoder's are one tensor: a file may have it under either name, or
/// under both.
fn embedding_name(weights: &Loader) -> &'static str {
    for name in EMBEDDING {
        weights.skip(name);
    }
    let [whole, encoders] = EMBEDDING;
    if weights.has(encoders) && !weights.has(whole) { encoders } else { whole }
}

fn final_norm(weights: &Loader, config: &Umt5Config) -> RmsNorm {
    RmsNorm::new(&weights.sub("encoder").sub("final_layer_norm"), config)
}

/// A text on its way through the blocks.
struct Text {
    /// [1, tokens, features]
    x: Tensor,
    /// [query, key]
    buckets: Tensor,
}

impl Text {
    /// Of the rows of its tokens in the embedding, [tokens, features].
    fn new(rows: &Tensor, config: &Umt5Config) -> Self {
        let x = rows.unsqueeze(0);
        let x = if x.kind() == Kind::Half { x.to_kind(Kind::Float) } else { x };
        Self { buckets: buckets(x.size()[1], config).to_device(x.device()), x }
    }

    fn pass(&mut self, block: &Block) {
        self.x = block.forward(&self.x, &self.buckets);
    }
}

/// The bucket of the distance of every token from every other: [query, key]. T5's: half of the buckets are for keys behind
/// the query; of each half one half is for distances of their own, and the other for ever wider ranges up to the
/// largest distance.
fn buckets(tokens: i64, config: &Umt5Config) -> Tensor {
    let half = config.relative_attention_num_buckets / 2;
    let exact = half / 2;
    let positions = Tensor::arange(tokens, (Kind::Int64, Device::Cpu));
    let distance = positions.unsqueeze(0) - positions.unsqueeze(1);
    let behind = distance.gt(0).to_kind(Kind::Int64) * half;
    let distance = distance.abs();
    let range = config.relative_attention_max_distance as f64 / exact as f64;
    let wider = (distance.to_kind(Kind::Float) / exact as f64).log() / range.ln() * (half - exact) as f64;
    let wider = (wider.to_kind(Kind::Int64) + exact).clamp_max(half - 1);
    behind + distance.where_self(&distance.lt(exact), &wider)
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    attention: SelfAttention,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
}

impl Block {
    /// The block of that number of the net whose weights these are.
    fn new(weights: &Loader, config: &Umt5Config, index: i64) -> Self {
        let weights = weights.sub("encoder").sub("block").sub(index).sub("layer");
        let (first, second) = (weights.sub(0), weights.sub(1));
        Self {
            attention_norm: RmsNorm::new(&first.sub("layer_norm"), config),
            attention: SelfAttention::new(&first.sub("SelfAttention"), config),
            feed_forward_norm: RmsNorm::new(&second.sub("layer_norm"), config),
            feed_forward: FeedForward::new(&second.sub("DenseReluDense"), config),
        }
    }

    /// [1, tokens, features], same shape out. Buckets [query, key].
    fn forward(&self, x: &Tensor, buckets: &Tensor) -> Tensor {
        let x = x + self.attention.forward(&self.attention_norm.forward(x), buckets);
        &x + self.feed_forward.forward(&self.feed_forward_norm.forward(&x))
    }
}

/// Attention whose scores are not divided by the root of the head's size, but have a bias by distance.
#[derive(Debug)]
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// [buckets, heads]
    relative_attention_bias: Tensor,
    heads: i64,
}

impl SelfAttention {
    fn new(weights: &Loader, config: &Umt5Config) -> Self {
        let (features, heads) = (config.d_model, config.num_heads);
        let inner = heads * config.d_kv;
        let linear = |name: &str, input, output| Linear::without_bias(&weights.sub(name), input, output);
        let buckets = config.relative_attention_num_buckets;
        Self {
            q: linear("q", features, inner),
            k: linear("k", features, inner),
            v: linear("v", features, inner),
            o: linear("o", inner, features),
            relative_attention_bias: weights.tensor("relative_attention_bias.weight", &[buckets, heads]),
            heads,
        }
    }

    /// [1, tokens, features], same shape out. Buckets [query, key].
    fn forward(&self, x: &Tensor, buckets: &Tensor) -> Tensor {
        let split = |layer: &Linear| layer.forward(x).unflatten(2, [self.heads, -1]).transpose(1, 2);
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let bias = self.relative_attention_bias.index_select(0, &buckets.flatten(0, 1));
        // [1, heads, query, key]
        let bias = bias.t_copy().reshape([1, self.heads, buckets.size()[0], buckets.size()[1]]);
        let attended = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&bias), 0.0, false, 1.0, false);
        self.o.forward(&attended.transpose(1, 2).flatten(2, 3))
    }
}

/// `wo(gelu(wi_0·x) · wi_1·x)`, GELU by its approximation with tanh.
#[derive(Debug)]
struct FeedForward {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
    /// The type of `wo`.
    last: Kind,
}

impl FeedForward {
    fn new(weights: &Loader, config: &Umt5Config) -> Self {
        let (features, inner) = (config.d_model, config.d_ff);
        let last = if weights.kind() == Kind::Half { Kind::Float } else { weights.kind() };
        Self {
            wi_0: Linear::without_bias(&weights.sub("wi_0"), features, inner),
            wi_1: Linear::without_bias(&weights.sub("wi_1"), features, inner),
            wo: Linear::without_bias(&weights.sub("wo").in_kind(last), inner, features),
            last,
        }
    }

    /// [1, tokens, features], same shape out
    fn forward(&self, x: &Tensor) -> Tensor {
        let gate = self.wi_0.forward(x).gelu("tanh").to_kind(self.last);
        self.wo.forward(&(gate * self.wi_1.forward(x).to_kind(self.last)))
    }
}

/// `x / √(mean x² + ε) · weight` over the features, in float32 up to the product with the weight.
#[derive(Debug)]
struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    fn new(weights: &Loader, config: &Umt5Config) -> Self {
        Self { weight: weights.tensor("weight", &[config.d_model]), epsilon: config.layer_norm_epsilon }
    }

    /// [.., features], same shape out, of the weight's type
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = if self.weight.kind() == Kind::Double { x.shallow_clone() } else { x.to_kind(Kind::Float) };
        let mean_square = x.square().mean_dim(-1, true, None::<Kind>);
        let normed = x * (mean_square + self.epsilon).rsqrt();
        normed.to_kind(self.weight.kind()) * &self.weight
    }
}
