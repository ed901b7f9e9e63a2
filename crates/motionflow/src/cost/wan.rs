//! Wan's transformer, block by block as in [`crate::nets::wan`].

use super::tape::Tape;
use super::{Layers, NetCost, Operation};
use crate::nets::wan::WanConfig;

/// How much of the transformer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WanPart {
    /// All of it.
    Whole,
    /// Up to the cross-attention of the last guidance block.
    UpTo {
        /// Blocks that run whole before that one.
        last: i64,
        /// Blocks that show the probabilities of their cross-attention.
        shown: i64,
        /// Whether the gradient keeps each block's input alone and computes the block again.
        recomputes: bool,
    },
}

/// What a block keeps for the gradient, in elements of its tokens' features: inputs of norms, queries, keys, values and the
/// middle of the feed-forward net, the norms' in float32.
const KEPT: i64 = 20;

/// What a block has at once besides its input.
const AT_ONCE: i64 = 8;

/// What a run costs on latents of so many frames, height and width, under a text of so many rows. The config must be valid.
pub fn wan_transformer(
    config: &WanConfig,
    [frames, height, width]: [i64; 3],
    text: i64,
    part: WanPart,
    layers: Layers,
) -> NetCost {
    let (channels, tokens) = (config.channels(), frames * (height / 2) * (width / 2));
    let mut tape = Tape::new(layers);
    let patch = 4 * config.in_channels;
    tape.linear(tokens, patch, channels, true, true);
    tape.linear(1, config.freq_dim, channels, true, false);
    tape.linear(1, channels, channels, true, false);
    tape.linear(1, channels, 6 * channels, true, false);
    tape.linear(text, config.text_dim, channels, true, false);
    tape.linear(text, channels, channels, true, false);
    tape.hold(tokens * channels);
    let walk = Walk { config, tokens, text };
    for block in 0..config.num_layers {
        let (shown, ends, recomputes) = match part {
            WanPart::Whole => (false, false, false),
            WanPart::UpTo { last, shown, recomputes } => (block + shown > last, block == last, recomputes),
        };
        let mark = tape.mark();
        walk.block(&mut tape, shown, ends);
        if recomputes {
            tape.recompute_since(mark, tokens * channels);
        }
        if ends {
            return tape.cost;
        }
    }
    tape.pass(tokens * channels, 3);
    tape.parameters(2 * channels);
    tape.linear(tokens, channels, 4 * config.out_channels, true, true);
    tape.cost
}

struct Walk<'a> {
    config: &'a WanConfig,
    tokens: i64,
    text: i64,
}

impl Walk<'_> {
    fn block(&self, tape: &mut Tape, shown: bool, ends: bool) {
        let (channels, tokens) = (self.config.channels(), self.tokens);
        let hidden = tokens * channels;
        tape.parameters(6 * channels);
        tape.pass(hidden, 3);
        self.attention(tape, None);
        tape.parameters(2 * channels);
        tape.pass(hidden, 2);
        self.attention(tape, Some(shown));
        tape.save(if ends { KEPT / 2 * hidden } else { KEPT * hidden });
        tape.takes(AT_ONCE * hidden);
        if shown {
            let probabilities = self.config.num_attention_heads * tokens * self.text;
            tape.show(tokens * self.text);
            tape.save(2 * probabilities);
            tape.takes(3 * probabilities);
        }
        if ends {
            return;
        }
        tape.pass(hidden, 3);
        tape.linear(tokens, channels, self.config.ffn_dim, true, true);
        tape.pass(tokens * self.config.ffn_dim, 1);
        tape.linear(tokens, self.config.ffn_dim, channels, true, true);
        tape.save(2 * tokens * self.config.ffn_dim);
        tape.takes(3 * hidden + 2 * tokens * self.config.ffn_dim);
        tape.pass(hidden, 2);
    }

    /// To all tokens, or to the text, with its probabilities shown or not.
    fn attention(&self, tape: &mut Tape, to_text: Option<bool>) {
        let (channels, tokens) = (self.config.channels(), self.tokens);
        let keys = if to_text.is_some() { self.text } else { tokens };
        tape.linear(tokens, channels, channels, true, true);
        (0..2).for_each(|_| tape.linear(keys, channels, channels, true, to_text.is_none()));
        tape.parameters(2 * channels);
        // Norms of queries and keys, and their rotation.
        tape.pass(tokens * channels, if to_text.is_some() { 2 } else { 8 });
        tape.run(Operation::Attention {
            batch: 1,
            heads: self.config.num_attention_heads,
            queries: tokens,
            keys,
            head_dim: self.config.attention_head_dim,
            to_text: to_text.is_some(),
            plain: to_text == Some(true),
        });
        tape.linear(tokens, channels, channels, true, true);
        tape.pass(tokens * channels, 2);
    }
}
