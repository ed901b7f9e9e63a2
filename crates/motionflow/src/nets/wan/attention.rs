//! Wan's attentions: to all tokens of the video, and to the text.

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use super::rope::Rotation;
use super::text::Text;
use crate::checkpoint::Loader;
use crate::kernels;
use crate::nets::attention::{AttentionObserver, attention_probabilities, scaled_dot_product_attention};
use crate::nets::layers::Linear;
use crate::nets::of_texts::OfTexts;

/// Queries, keys and values with a bias, queries and keys normed over all heads together.
#[derive(Debug)]
pub(super) struct Attention {
    name: String,
    heads: i64,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    /// Keys and values of texts, [1, heads, keys, d], where it attends to one.
    texts: OfTexts<2>,
}

impl Attention {
    pub(super) fn new(weights: &Loader, channels: i64, heads: i64, epsilon: f64) -> Self {
        let linear = |name: &str| Linear::new(&weights.sub(name), channels, channels);
        let norm = |name: &str| RmsNorm::new(&weights.sub(name), channels, epsilon);
        Self {
            name: weights.path(),
            heads,
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out.0"),
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            texts: OfTexts::default(),
        }
    }

    /// The checkpoint's name of this layer, e.g. `blocks.10.attn2`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Every token to every token; x [1, tokens, channels], same shape out. What is shown of it is renormalised to the pairs of
    /// one frame, as NAME`.same_frame` [frames, places, places], and of one place, as NAME`.same_place` [places, frames, frames].
    pub(super) fn to_video(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        frames: i64,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let turn = Some(rotation.turn());
        let q = self.split(&self.norm_q.forward(&self.to_q.forward(x), turn));
        let k = self.split(&self.norm_k.forward(&self.to_k.forward(x), turn));
        let v = self.split(&self.to_v.forward(x));
        // [heads, frames, places, d]
        let by_frame = |x: &Tensor| x.squeeze_dim(0).unflatten(1, [frames, -1]);
        let names = [same_frame(&self.name), same_place(&self.name)];
        for (index, name) in names.iter().enumerate() {
            if !observer.wants(name) {
                continue;
            }
            let grouped = |x: &Tensor| if index == 0 { by_frame(x) } else { by_frame(x).transpose(1, 2) };
            let probabilities = attention_probabilities(&grouped(&q), &grouped(&k));
            observer.observe(name, probabilities.mean_dim(0, false, None))?;
        }
        ControlFlow::Continue(self.joined(&scaled_dot_product_attention(&q, &k, &v)))
    }

    /// Every token to the text; x [1, tokens, channels], same shape out. Shown as [frames, places, keys of the text].
    pub(super) fn to_text(
        &self,
        x: &Tensor,
        text: &Text,
        frames: i64,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let q = self.split(&self.norm_q.forward(&self.to_q.forward(x), None));
        let [k, v] = self.texts.of(&text.features, || {
            let k = self.norm_k.forward(&self.to_k.forward(&text.features), None);
            [k, self.to_v.forward(&text.features)].map(|x| self.split(&x))
        });
        let v = match observer.token_weights() {
            Some(weights) => v * text.of_keys(weights).unsqueeze(1),
            None => v,
        };
        let attended = if observer.wants(&self.name) {
            let scale = (q.size()[3] as f64).powf(-0.5);
            let (q, k) = (q.to_kind(Kind::Float), k.to_kind(Kind::Float));
            let scores = q.matmul(&k.transpose(-1, -2)) * scale + &text.score;
            let probabilities = scores.softmax(-1, None);
            let seen = probabilities.mean_dim(1, false, None).squeeze_dim(0).unflatten(0, [frames, -1]);
            observer.observe(&self.name, seen)?;
            probabilities.to_kind(v.kind()).matmul(&v)
        } else {
            let score = text.score.to_kind(q.kind());
            Tensor::scaled_dot_product_attention(&q, &k, &v, Some(score), 0.0, false, None, false)
        };
        ControlFlow::Continue(self.joined(&attended))
    }

    /// [1, tokens, channels] -> [1, heads, tokens, d], the memory as it is
    fn split(&self, x: &Tensor) -> Tensor {
        x.unflatten(2, [self.heads, -1]).transpose(1, 2)
    }

    /// [1, heads, tokens, d] -> [1, tokens, channels], projected
    fn joined(&self, attended: &Tensor) -> Tensor {
        self.to_out.forward(&attended.transpose(1, 2).flatten(2, 3))
    }
}

/// The name under which a self-attention's pairs of one frame are shown.
pub(super) fn same_frame(name: &str) -> String {
    format!("{name}.same_frame")
}

/// The name under which its pairs of one place are shown.
pub(super) fn same_place(name: &str) -> String {
    format!("{name}.same_place")
}

/// x / √(mean x² + ε) · weight over the last dimension.
#[derive(Debug)]
struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    fn new(weights: &Loader, channels: i64, epsilon: f64) -> Self {
        Self { weight: weights.tensor("weight", &[channels]), epsilon }
    }

    /// [1, tokens, channels], same shape and kind out, turned where its heads are.
    fn forward(&self, x: &Tensor, turn: Option<[&Tensor; 2]>) -> Tensor {
        kernels::rms_norm(x, &self.weight, turn, self.epsilon)
    }
}
