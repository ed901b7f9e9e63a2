//! Wan's transformer, block by block as in [`crate::nets::wan`].

use super::tape::Tape;
use super::{Layers, NetCost, Operation};
use crate::nets::feed_forward;
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
        /// What the gradient computes again of each block.
        recomputed: BlockPart,
    },
}

/// How much of a block, whose input is kept, is computed again on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPart {
    /// Nothing: all that the gradient needs is kept.
    Nothing,
    /// All but the product of its self-attention, which is kept.
    AllButAttention,
    /// All of it.
    All,
}

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
        let (shown, ends, recomputed) = match part {
            WanPart::Whole => (false, false, BlockPart::Nothing),
            WanPart::UpTo { last, shown, recomputed } => (block + shown > last, block == last, recomputed),
        };
        let mark = tape.mark();
        walk.block(&mut tape, shown, ends);
        let before = tape.cost.recomputed.len();
        match recomputed {
            BlockPart::Nothing => {}
            BlockPart::AllButAttention => {
                tape.recompute_since(mark, 2 * tokens * channels);
                let is_kept =
                    |operation: &Operation| matches!(operation, Operation::Attention { to_text: false, .. });
                tape.cost.recomputed.retain(|operation| !is_kept(operation));
            }
            BlockPart::All => tape.recompute_since(mark, tokens * channels),
        }
        // The last product's value is not wanted again, nor the sum behind it.
        let again = &mut tape.cost.recomputed;
        if !ends && again.len() > before {
            let is_product = |operation: &Operation| matches!(operation, Operation::Linear { .. });
            let last = again.iter().rposition(is_product).unwrap_or(before);
            again.truncate(last);
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

/// Parameters of one block.
pub fn wan_block_parameters(config: &WanConfig) -> u64 {
    let mut tape = Tape::new(Layers::Plain);
    Walk { config, tokens: 1, text: 1 }.block(&mut tape, false, false);
    tape.cost.parameters
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
        tape.pass(hidden, tape.either(3, 1));
        self.attention(tape, None);
        // Inputs of both norms of queries and keys, both turned, values, the product; the sum behind it.
        tape.save(7 * hidden);
        tape.takes(4 * hidden);
        tape.parameters(2 * channels);
        tape.pass(hidden, tape.either(4, 2));
        self.attention(tape, Some(shown));
        // Queries before and behind their norm, the product, the sum behind it.
        tape.save(4 * hidden);
        if shown {
            let probabilities =
                (self.config.num_attention_heads * tokens * self.text).min(feed_forward::MIDDLE);
            tape.show(tokens * self.text);
            // In float32: so many as are at once are kept, and queries and scores besides.
            let wide = tape.either(1, 2);
            tape.save(wide * probabilities);
            tape.takes(wide * (hidden + 3 * probabilities));
        }
        if ends {
            return;
        }
        let middle = tokens * self.config.ffn_dim;
        tape.pass(hidden, tape.either(4, 2));
        tape.linear(tokens, channels, self.config.ffn_dim, true, true);
        tape.pass(middle, 1);
        tape.linear(tokens, self.config.ffn_dim, channels, true, true);
        tape.save(middle);
        tape.takes(2 * hidden + 2 * middle);
        tape.pass(hidden, tape.either(2, 1));
    }

    /// To all tokens, or to the text, with its probabilities shown or not.
    fn attention(&self, tape: &mut Tape, to_text: Option<bool>) {
        let (channels, tokens) = (self.config.channels(), self.tokens);
        let keys = if to_text.is_some() { self.text } else { tokens };
        tape.linear(tokens, channels, channels, true, true);
        (0..2).for_each(|_| tape.linear(keys, channels, channels, true, to_text.is_none()));
        tape.parameters(2 * channels);
        // Norms of queries and keys, and their rotation.
        let turned = if to_text.is_some() { 3 } else { 10 };
        tape.pass(tokens * channels, tape.either(turned, if to_text.is_some() { 1 } else { 2 }));
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
    }
}
