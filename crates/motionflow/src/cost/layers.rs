//! The layers that the nets are made of, as [`crate::nets`] has them: what each computes, what it has in memory while it
//! does, and what autograd keeps of it when only the input wants a gradient: the inputs of norms, activations and
//! convolutions and the factors of products, but not the inputs of linear layers.

use super::Operation;
use super::tape::{Shape, Tape};

/// What a spatial or temporal transformer is told besides its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerOptions {
    pub(super) heads: i64,
    pub(super) head_dim: i64,
    /// Tokens and features of the text, for a spatial transformer; a temporal one has none.
    pub(super) text: Option<[i64; 2]>,
    /// Whether the attentions show their probabilities.
    pub(super) plain: bool,
    /// Whether the run ends with the second attention.
    pub(super) ends: bool,
}

impl Tape {
    /// Weight and bias of a norm.
    fn norm(&mut self, x: Shape) {
        self.parameters(2 * x.channels);
        self.pass(x.elements(), 2);
    }

    pub(super) fn linear(&mut self, rows: i64, input: i64, output: i64, bias: bool, on_latents: bool) {
        self.parameters(input * output + if bias { output } else { 0 });
        self.run(Operation::Linear { rows, input, output, on_latents });
    }

    /// A convolution; its working memory is a copy of input and output in the order that the processor likes.
    pub(super) fn convolution(
        &mut self,
        x: Shape,
        output: i64,
        kernel: i64,
        stride: i64,
        size: [i64; 2],
    ) -> Shape {
        self.parameters(x.channels * output * kernel * kernel + output);
        let (images, input) = (x.images(), x.channels);
        self.run(Operation::Convolution { images, input, output, size, kernel, stride });
        let out = Shape { channels: output, size, ..x };
        self.takes(2 * x.elements() + 2 * out.elements());
        out
    }

    /// Kernel 3, size kept.
    pub(super) fn same(&mut self, x: Shape, output: i64) -> Shape {
        self.convolution(x, output, 3, 1, x.size)
    }

    /// Norm, activation and a convolution that keeps the size.
    pub(super) fn norm_and_convolution(&mut self, x: Shape, output: i64) -> Shape {
        self.norm(x);
        self.pass(x.elements(), 1);
        self.save(3 * x.elements());
        self.hold(2 * x.elements());
        let out = self.same(x, output);
        self.release(2 * x.elements());
        out
    }

    /// `time_channels` is the size of the timestep's embedding, where there is one.
    pub(super) fn resnet(
        &mut self,
        x: Shape,
        output: i64,
        time_channels: Option<i64>,
        is_scaled: bool,
    ) -> Shape {
        let out = self.norm_and_convolution(x, output);
        if let Some(time) = time_channels {
            self.linear(x.images(), time, output, true, false);
            self.pass(out.elements(), 1);
        }
        self.hold(x.elements() + out.elements());
        self.norm_and_convolution(out, output);
        if x.channels != output {
            self.convolution(x, output, 1, 1, x.size);
        }
        self.release(x.elements() + out.elements());
        self.pass(out.elements(), 1 + usize::from(is_scaled));
        out
    }

    pub(super) fn downsample(&mut self, x: Shape, padding: i64) -> Shape {
        let half = |side: i64| if padding == 0 { side / 2 } else { (side + 1) / 2 };
        if padding == 0 {
            self.pass(x.elements(), 1);
        }
        self.save(x.elements());
        self.convolution(x, x.channels, 3, 2, x.size.map(half))
    }

    pub(super) fn upsample(&mut self, x: Shape, size: [i64; 2]) -> Shape {
        let large = Shape { size, ..x };
        self.pass(large.elements(), 1);
        self.save(large.elements());
        self.same(large, x.channels)
    }

    pub(super) fn temporal_convolutions(&mut self, x: Shape) {
        let (channels, elements) = (x.channels, x.elements());
        // Frames behind channels, and back.
        self.pass(elements, 2);
        for _ in 0..4 {
            self.norm(x);
            self.pass(elements, 1);
            self.save(3 * elements);
            self.parameters(3 * channels * channels + channels);
            let (videos, frames, size) = (x.videos, x.frames, x.size);
            self.run(Operation::TemporalConvolution { videos, frames, channels, size });
            self.takes(6 * elements);
        }
        self.pass(elements, 1);
    }

    pub(super) fn transformer(&mut self, x: Shape, options: TransformerOptions) {
        let TransformerOptions { heads, head_dim, text, plain, ends } = options;
        let (inner, rows) = (heads * head_dim, x.images() * x.places());
        let sequences = match text {
            Some(_) => [x.images(), x.places()],
            None => [x.videos * x.places(), x.frames],
        };
        let hidden = rows * inner;
        self.norm(x);
        self.pass(x.elements(), 2);
        self.save(x.elements());
        self.linear(rows, x.channels, inner, true, true);
        self.hold(x.elements() + hidden);
        self.attention(sequences, heads, head_dim, None, plain);
        self.hold(hidden);
        self.attention(
            sequences,
            heads,
            head_dim,
            text.map(|[tokens, features]| [x.images(), tokens, features]),
            plain,
        );
        if !ends {
            self.hold(hidden);
            self.feed_forward(rows, inner);
            self.release(hidden);
            self.linear(rows, inner, x.channels, true, true);
            self.pass(x.elements(), 2);
        }
        self.release(x.elements() + 2 * hidden);
    }

    /// An attention with its norm before and the sum after it. `text` is [batch, tokens, features].
    fn attention(
        &mut self,
        [batch, queries]: [i64; 2],
        heads: i64,
        head_dim: i64,
        text: Option<[i64; 3]>,
        plain: bool,
    ) {
        let (inner, rows) = (heads * head_dim, batch * queries);
        let hidden = rows * inner;
        let (keys, key_rows, features) = match text {
            Some([batch, tokens, features]) => (tokens, batch * tokens, features),
            None => (queries, rows, inner),
        };
        self.parameters(2 * inner);
        self.pass(hidden, 2);
        self.linear(rows, inner, inner, false, true);
        self.linear(key_rows, features, inner, false, text.is_none());
        self.linear(key_rows, features, inner, false, text.is_none());
        self.run(Operation::Attention {
            batch,
            heads,
            queries,
            keys,
            head_dim,
            to_text: text.is_some(),
            plain,
        });
        self.linear(rows, inner, inner, true, true);
        self.pass(hidden, 1);

        let probabilities = if plain { batch * heads * queries * keys } else { 0 };
        if plain {
            // The mean over the heads.
            self.pass(probabilities, 1);
        }
        // The norm's input, query, key, value; what the fused attention gives, or the probabilities.
        self.save(2 * hidden + 2 * key_rows * inner);
        self.save(if plain { probabilities } else { hidden });
        self.takes(4 * hidden + 2 * key_rows * inner + 3 * probabilities);
    }

    /// The gated feed-forward net with its norm before and the sum after it.
    fn feed_forward(&mut self, rows: i64, channels: i64) {
        let hidden = rows * channels;
        self.parameters(2 * channels);
        self.pass(hidden, 2);
        self.linear(rows, channels, 8 * channels, true, true);
        self.pass(4 * hidden, 2);
        self.linear(rows, 4 * channels, channels, true, true);
        self.pass(hidden, 1);
        // The norm's input, the projection, and its gate's half after the activation.
        self.save(13 * hidden);
        self.takes(18 * hidden);
    }
}
