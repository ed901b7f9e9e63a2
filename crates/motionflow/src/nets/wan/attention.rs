//! Wan's attentions: to all tokens of the video, and to the text.

use std::cell::RefCell;
use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use super::rope::Rotation;
use super::text::Text;
use crate::checkpoint::Loader;
use crate::native::Attended;
use crate::nets::attention::{AttentionObserver, attention_probabilities, scaled_dot_product_attention};
use crate::nets::feed_forward::{MIDDLE, parts};
use crate::nets::layers::Linear;
use crate::nets::of_texts::OfTexts;
use crate::{kernels, native};

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

    pub(super) fn weights_mut(&mut self) -> Vec<&mut Tensor> {
        let layers = [&mut self.to_q, &mut self.to_k, &mut self.to_v, &mut self.to_out];
        let norms = [&mut self.norm_q.weight, &mut self.norm_k.weight];
        layers.into_iter().flat_map(Linear::weights_mut).chain(norms).collect()
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
        kept: Option<&KeptProduct>,
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
            let [q, k] = [&q, &k].map(grouped);
            let seen = match observer.values(name) {
                Some(values) => fused_product(&q, &k, values),
                None => attention_probabilities(&q, &k).mean_dim(0, false, None),
            };
            observer.observe(name, seen)?;
        }
        ControlFlow::Continue(self.joined(&attended([&q, &k, &v], kept)))
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
            let [seen, attended] = shown(&q, [&k, &v, &text.score], MIDDLE);
            observer.observe(&self.name, seen.squeeze_dim(0).unflatten(0, [frames, -1]))?;
            attended
        } else {
            scored([&q, &k, &v], &text.score.to_kind(q.kind()), frames)
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

/// What a run without a graph keeps of an attention, for the same run with one.
pub(super) type KeptProduct = RefCell<Option<Attended>>;

/// softmax(Q·Kᵀ/√d)·V, all [1, heads, tokens, d].
fn attended([q, k, v]: [&Tensor; 3], kept: Option<&KeptProduct>) -> Tensor {
    if let Some(kept) = kept {
        if native::grad_enabled() {
            if let Some(known) = kept.take() {
                return known.recorded([q, k, v]);
            }
        } else if let Some(made) = Attended::of([q, k, v]) {
            let result = made.result();
            kept.replace(Some(made));
            return result;
        }
    }
    scaled_dot_product_attention(q, k, v)
}

/// The mean over the heads of softmax(Q·Kᵀ/√d)·V, whose probabilities are never in memory: [heads, batch, query, d] and
/// [heads, batch, key, d], values [batch, key, values] in float32 -> [batch, query, values] in float32
fn fused_product(q: &Tensor, k: &Tensor, values: &Tensor) -> Tensor {
    let (features, count) = (q.size()[3], values.size()[2]);
    // Fused attentions want values as long as keys.
    let of_part = |values: Tensor| {
        let padded = values.to_kind(q.kind()).constant_pad_nd([0, features - values.size()[2]]);
        let attended = scaled_dot_product_attention(q, k, &padded.unsqueeze(0).expand_as(k).contiguous());
        attended.narrow(3, 0, values.size()[2]).to_kind(Kind::Float).mean_dim(0, false, None)
    };
    if count <= features {
        return of_part(values.shallow_clone());
    }
    Tensor::cat(&values.split(features, 2).into_iter().map(of_part).collect::<Vec<_>>(), 2)
}

/// softmax(Q·Kᵀ/√d + score)·V, its probabilities never in memory: all [1, heads, tokens, d], score [1, 1, 1, key].
fn scored([q, k, v]: [&Tensor; 3], score: &Tensor, frames: i64) -> Tensor {
    let traced = native::grad_enabled() && q.requires_grad();
    // The gradient of a kernel goes through a sequence's queries in few blocks where there are few keys.
    let sequences = if traced { frames } else { 1 };
    if q.device().is_cuda() {
        // By name: of scores that are added, cuDNN's gradient is not a number for some lengths in libtorch 2.11
        // (<https://github.com/pytorch/pytorch/issues/196678>).
        let q = q.squeeze_dim(0).unflatten(1, [sequences, -1]).transpose(0, 1);
        let (size, keys) = (q.size(), k.size()[2]);
        let [k, v] = [k, v].map(|x| x.expand([sequences, -1, -1, -1], false));
        // Rows of it begin where the kernel can load them at once.
        let score = score.constant_pad_nd([0, (16 - keys % 16) % 16]).narrow(3, 0, keys);
        let score = score.expand([size[0], size[1], size[2], keys], false);
        let attended = Tensor::f_internal_scaled_dot_product_efficient_attention(
            &q,
            &k,
            &v,
            Some(score),
            traced,
            0.0,
            false,
            None,
        );
        // Not every device has it for every type of numbers.
        if let Ok((attended, ..)) = attended {
            return attended.transpose(0, 1).flatten(1, 2).unsqueeze(0);
        }
    }
    Tensor::scaled_dot_product_attention(q, k, v, Some(score), 0.0, false, None, false)
}

/// softmax(Q·Kᵀ/√d + score) in the plain way: its mean over the heads, [batch, query, key] in float32, and its product with V,
/// [batch, heads, query, d]. Of more than `at_once` probabilities some heads' come after the others', and none is kept for the
/// gradient, which flows to Q alone.
fn shown(q: &Tensor, [k, v, score]: [&Tensor; 3], at_once: i64) -> [Tensor; 2] {
    let (heads, keys) = (q.size()[1], k.size()[2]);
    let groups = parts(q.size()[0] * heads * q.size()[2] * keys, at_once).min(heads);
    if groups <= 1 {
        let [sum, attended] = summed(q, k, v, score, |probabilities| probabilities.mean_dim(1, false, None));
        return [sum, attended];
    }
    let of_group = parts(heads, groups);
    let split = move |x: &Tensor| x.split(of_group, 1);
    let sum = |probabilities: &Tensor| probabilities.sum_dim_intlist(1, false, None);
    let outputs = native::no_grad(|| {
        let mut made: Option<Tensor> = None;
        let mut attended = Vec::new();
        for ((q, k), v) in split(q).iter().zip(split(k)).zip(split(v)) {
            let [seen, of_group] = summed(q, &k, &v, score, sum);
            made = Some(made.map_or_else(|| seen.shallow_clone(), |made| made + &seen));
            attended.push(of_group);
        }
        [made.unwrap_or_default() / heads as f64, Tensor::cat(&attended, 1)]
    });
    if !(q.requires_grad() && native::grad_enabled()) {
        return outputs;
    }
    let saved = [q, k, v, score].map(Tensor::shallow_clone);
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let of_seen = &gradients[0] / heads as f64;
        let [q, k, v, of_attended] = [&saved[0], &saved[1], &saved[2], &gradients[1]].map(split);
        let groups = q.iter().zip(k).zip(v).zip(of_attended).map(|(((q, k), v), of_attended)| {
            let q = q.detach().set_requires_grad(true);
            let [seen, attended] = tch::with_grad(|| summed(&q, &k, &v, &saved[3], sum));
            let outputs = [(seen, of_seen.shallow_clone()), (attended, of_attended)];
            native::gradients(&outputs, &[q]).swap_remove(0).unwrap_or_default()
        });
        [Some(Tensor::cat(&groups.collect::<Vec<_>>(), 1)), None]
    };
    let mut recorded = native::record(q, None, &outputs, &saved, Box::new(gradient));
    let attended = recorded.swap_remove(1);
    [recorded.swap_remove(0), attended]
}

/// softmax(Q·Kᵀ/√d + score) in float32, what `sum` makes of it, and its product with V.
fn summed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    score: &Tensor,
    sum: impl Fn(&Tensor) -> Tensor,
) -> [Tensor; 2] {
    let scale = (q.size()[3] as f64).powf(-0.5);
    let (q, k) = (q.to_kind(Kind::Float), k.to_kind(Kind::Float));
    let probabilities = (q.matmul(&k.transpose(-1, -2)) * scale + score).softmax(-1, None);
    [sum(&probabilities), probabilities.to_kind(v.kind()).matmul(v)]
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

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn products_with_values_are_those_of_the_probabilities() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let [heads, batch, tokens, d] = [3, 4, 7, 6];
        let leaf =
            || random(&[tokens, heads, batch, d]).permute([1, 2, 0, 3]).detach().set_requires_grad(true);
        let (q, k) = (leaf(), leaf());
        for count in [1, 2, 13] {
            let (values, along) = (random(&[batch, tokens, count]), random(&[batch, tokens, count]));
            let gradients = |seen: &Tensor| {
                let pair = (seen.shallow_clone(), along.shallow_clone());
                native::gradients(&[pair], &[q.shallow_clone(), k.shallow_clone()])
            };
            let fused = fused_product(&q, &k, &values);
            let plain = attention_probabilities(&q, &k).mean_dim(0, false, None).matmul(&values);
            let near = |x: &Tensor, y: &Tensor| {
                (x - y).norm().double_value(&[]) <= 1e-5 * y.norm().double_value(&[])
            };
            assert!(near(&fused, &plain));
            for (found, expected) in gradients(&fused).iter().zip(gradients(&plain)) {
                assert!(near(found.as_ref().unwrap(), &expected.unwrap()), "{count}");
            }
        }
    }

    #[test]
    fn heads_in_groups_show_and_pass_on_what_all_at_once_do() {
        tch::manual_seed(2);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let [heads, queries, keys] = [5, 9, 4];
        let q = random(&[1, queries, heads, 6]).transpose(1, 2).detach().set_requires_grad(true);
        let [k, v] = [random(&[1, heads, keys, 6]), random(&[1, heads, keys, 6])];
        let score = random(&[1, 1, 1, keys]);
        let along = [random(&[1, queries, keys]), random(&[1, heads, queries, 6])];
        let run = |at_once| {
            let outputs = shown(&q, [&k, &v, &score], at_once);
            let pairs: Vec<_> = outputs
                .iter()
                .zip(&along)
                .map(|(x, along)| (x.shallow_clone(), along.shallow_clone()))
                .collect();
            let gradient = native::gradients(&pairs, &[q.shallow_clone()]).swap_remove(0).unwrap();
            let [seen, attended] = outputs.map(|x| x.detach());
            [seen, attended, gradient]
        };
        let whole = run(heads * queries * keys);
        for at_once in [heads * queries * keys - 1, 2 * queries * keys, 1] {
            for (found, expected) in run(at_once).iter().zip(&whole) {
                assert_eq!(found.size(), expected.size());
                let off = (found - expected).abs().max().double_value(&[]);
                assert!(off < 1e-6, "{at_once}: {off}");
            }
            assert!(!native::no_grad(|| shown(&q, [&k, &v, &score], at_once))[0].requires_grad());
        }
    }
}
