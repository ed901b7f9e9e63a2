//! The layers that the nets are made of, as [`crate::nets`] has them: what each computes, what it has in memory while it
//! does, and what autograd keeps of it when only the input wants a gradient. libtorch's own layers keep the inputs of
//! norms, activations and convolutions and the factors of products, but not the inputs of linear layers; what the fused
//! ones keep is described at [`Layers::Fused`].

use super::tape::{Shape, Tape};
use super::{Layers, Operation};
use crate::nets::feed_forward;

/// What a spatial or temporal transformer gets besides its input.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TransformerOptions {
    pub(super) heads: i64,
    pub(super) head_dim: i64,
    /// Tokens and features of the text, for a spatial transformer; a temporal one has none.
    pub(super) text: Option<[i64; 2]>,
    /// Which of the two attentions show their probabilities.
    pub(super) plain: [bool; 2],
    /// Whether the run ends with the second attention.
    pub(super) ends: bool,
    /// Length of the positional embedding, where there is one.
    pub(super) positions: Option<i64>,
}

impl Tape {
    /// A group norm; with libtorch's layers an activation behind it is a pass of its own.
    fn norm(&mut self, x: Shape) {
        self.parameters(2 * x.channels);
        match self.layers {
            Layers::Plain => self.pass(x.elements(), 2),
            Layers::Fused => {
                // Read for the statistics, then read and written.
                self.pass(x.elements() / 2, 1);
                self.pass(x.elements(), 1);
            }
        }
    }

    /// A layer norm over vectors of so many channels.
    fn layer_norm(&mut self, elements: i64, channels: i64) {
        self.parameters(2 * channels);
        self.pass(elements, self.either(2, 1));
    }

    pub(super) fn linear(&mut self, rows: i64, input: i64, output: i64, bias: bool, on_latents: bool) {
        self.parameters(input * output + if bias { output } else { 0 });
        self.run(Operation::Linear { rows, input, output, on_latents });
    }

    /// A convolution; with libtorch's layers on the CPU its working memory is a copy of input and output in the order
    /// that the processor likes.
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
        self.takes(self.either(2, 1) * (x.elements() + out.elements()));
        out
    }

    /// Kernel 3, size kept.
    pub(super) fn same(&mut self, x: Shape, output: i64) -> Shape {
        self.convolution(x, output, 3, 1, x.size)
    }

    /// Norm, activation and a convolution that keeps the size.
    pub(super) fn norm_and_convolution(&mut self, x: Shape, output: i64) -> Shape {
        self.norm(x);
        let held = self.either(2 * x.elements(), 0);
        self.pass(x.elements(), self.either(1, 0));
        self.save(self.either(3, 1) * x.elements());
        self.hold(held);
        let out = self.same(x, output);
        self.release(held);
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
        let held = self.either(x.elements(), 0) + out.elements();
        self.hold(held);
        self.norm_and_convolution(out, output);
        if x.channels != output {
            self.convolution(x, output, 1, 1, x.size);
        }
        self.release(held);
        self.pass(out.elements(), 1 + usize::from(is_scaled));
        out
    }

    pub(super) fn downsample(&mut self, x: Shape, padding: i64) -> Shape {
        let half = |side: i64| if padding == 0 { side / 2 } else { (side + 1) / 2 };
        if padding == 0 {
            self.pass(x.elements(), 1);
        }
        self.save(self.either(x.elements(), 0));
        self.convolution(x, x.channels, 3, 2, x.size.map(half))
    }

    pub(super) fn upsample(&mut self, x: Shape, size: [i64; 2]) -> Shape {
        let large = Shape { size, ..x };
        self.pass(large.elements(), 1);
        self.save(self.either(large.elements(), 0));
        self.same(large, x.channels)
    }

    pub(super) fn temporal_convolutions(&mut self, x: Shape) {
        let (channels, elements) = (x.channels, x.elements());
        // Frames behind channels, and back.
        self.pass(elements, self.either(2, 0));
        for _ in 0..4 {
            self.norm(x);
            self.pass(elements, self.either(1, 0));
            self.save(self.either(3, 1) * elements);
            self.parameters(3 * channels * channels + channels);
            let (videos, frames, size) = (x.videos, x.frames, x.size);
            self.run(Operation::TemporalConvolution { videos, frames, channels, size });
            self.takes(self.either(6, 4) * elements);
        }
        self.pass(elements, 1);
    }

    pub(super) fn transformer(&mut self, x: Shape, options: TransformerOptions) {
        let TransformerOptions { heads, head_dim, text, plain, ends, positions } = options;
        let (inner, rows) = (heads * head_dim, x.images() * x.places());
        let sequences = match text {
            Some(_) => [x.images(), x.places()],
            None => [x.videos * x.places(), x.frames],
        };
        let hidden = rows * inner;
        self.norm(x);
        // Copies in the order of the tokens and back.
        self.pass(x.elements(), self.either(2, 0));
        self.save(x.elements());
        self.linear(rows, x.channels, inner, true, true);
        let held = self.either(x.elements(), 0) + hidden;
        self.hold(held);
        if let Some(positions) = positions {
            self.parameters(positions * inner);
            self.pass(hidden, 2);
        }
        self.attention(sequences, heads, head_dim, None, plain[0]);
        self.hold(hidden);
        // All frames of a video are one sequence to the fused layers, which its text then serves once.
        let sequences = match (text, self.layers) {
            (Some(_), Layers::Fused) => [x.videos, x.frames * x.places()],
            _ => sequences,
        };
        let text = text.map(|[tokens, features]| [x.images(), tokens, features]);
        self.attention(sequences, heads, head_dim, text, plain[1]);
        if !ends {
            self.hold(hidden);
            self.feed_forward(rows, inner);
            self.release(hidden);
            self.linear(rows, inner, x.channels, true, true);
            self.pass(x.elements(), self.either(2, 1));
        }
        self.release(held + hidden);
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
        self.layer_norm(hidden, inner);
        match (text, self.layers) {
            (None, Layers::Fused) => self.linear(rows, inner, 3 * inner, false, true),
            (Some(_), Layers::Fused) => {
                self.linear(rows, inner, inner, false, true);
                self.parameters(2 * features * inner);
            }
            (_, Layers::Plain) => {
                self.linear(rows, inner, inner, false, true);
                (0..2).for_each(|_| self.linear(key_rows, features, inner, false, text.is_none()));
            }
        }
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

        let shown = if plain { maps(batch, queries, keys) } else { 0 };
        let probabilities = heads * shown;
        if plain {
            // The mean over the heads.
            self.pass(probabilities, 1);
            self.show(shown);
        }
        // The norm's input, query, key, value; what the fused attention gives, or the probabilities.
        let keys_and_values = if text.is_some() { self.either(2, 0) } else { 2 } * key_rows * inner;
        self.save(2 * hidden + keys_and_values);
        // With the fused layers they are float32, and there once more as the values are.
        self.save(if plain { self.either(1, 3) * probabilities } else { hidden });
        self.takes(4 * hidden + keys_and_values + self.either(3, 7) * probabilities);
    }

    /// The gated feed-forward net with its norm before and the sum after it.
    fn feed_forward(&mut self, rows: i64, channels: i64) {
        let hidden = rows * channels;
        let parts = if self.in_parts { feed_forward::parts(8 * hidden, feed_forward::MIDDLE) } else { 1 };
        self.layer_norm(hidden, channels);
        let mark = self.mark();
        self.linear(rows, channels, 8 * channels, true, true);
        match self.layers {
            Layers::Plain => self.pass(4 * hidden, 2),
            // Reads 8, writes 4.
            Layers::Fused => self.pass(6 * hidden, 1),
        }
        self.linear(rows, 4 * channels, channels, true, true);
        if parts > 1 {
            self.compute_again_since(mark);
            self.pass(2 * hidden, 1);
            // The norm's input and output; of one part the projection, product, both gradients and output.
            self.save(2 * hidden);
            self.takes(2 * hidden + self.either(31, 22) * hidden / parts);
            return;
        }
        self.pass(hidden, 1);
        // The norm's input, the projection, and with libtorch's layers its gate's half after the activation.
        self.save(self.either(13, 9) * hidden);
        // Fused, on the way back: the gradients of projection and product, and of the sum.
        self.takes(self.either(18, 13) * hidden);
    }
}

/// Elements of so many maps, at most such a number that sums of them are numbers still: no machine holds it.
fn maps(batch: i64, queries: i64, keys: i64) -> i64 {
    batch.saturating_mul(queries).saturating_mul(keys).min(1 << 46)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Shape = Shape { videos: 1, frames: 4, channels: 32, size: [6, 8] };

    /// How many times the input's elements a part keeps, and what it has at once on the way back.
    fn kept(layers: Layers, part: impl FnOnce(&mut Tape)) -> [i64; 2] {
        let mut tape = Tape::new(layers);
        part(&mut tape);
        [tape.cost.saved, tape.cost.backward_peak].map(|count| count as i64 / X.elements())
    }

    fn transformer(tape: &mut Tape, text: Option<[i64; 2]>) {
        let options = TransformerOptions { heads: 4, head_dim: 8, text, ..TransformerOptions::default() };
        tape.transformer(X, options);
    }

    #[test]
    fn fused_layers_keep_what_their_gradients_need() {
        let fused = |part: fn(&mut Tape)| kept(Layers::Fused, part)[0];
        // The inputs of both norms.
        assert_eq!(fused(|tape| _ = tape.resnet(X, 32, None, false)), 2);
        assert_eq!(fused(|tape| tape.temporal_convolutions(X)), 4);
        assert_eq!(fused(|tape| _ = tape.downsample(X, 1)), 0);
        // Group norm 1, attention 1 + 4 twice, feed-forward net 1 + 8.
        assert_eq!(fused(|tape| transformer(tape, None)), 20);
        // Keys and values of a text are no activations.
        assert_eq!(fused(|tape| transformer(tape, Some([7, 16]))), 18);
    }

    #[test]
    fn a_part_that_is_recomputed_keeps_its_input_alone_and_peaks_as_high() {
        let [kept_all, peak] = kept(Layers::Fused, |tape| transformer(tape, None));
        let recomputed = kept(Layers::Fused, |tape| {
            let mark = tape.mark();
            transformer(tape, None);
            tape.recompute_since(mark, X.elements());
            assert_eq!(tape.cost.recomputed, tape.cost.operations);
        });
        assert_eq!(recomputed, [1, peak]);
        assert!(peak > kept_all);
    }
}
