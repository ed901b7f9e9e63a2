//! Re-weighting of a subject's words in the new prompt.
//!
//! Prompt-to-Prompt (<https://arxiv.org/abs/2208.01626>) multiplies the words' attention probabilities by a weight and
//! leaves the others as they are. Only the product with the values feels that, so scaling the words' values is the same,
//! and the fused attention can stay. The maps that masks and losses read are those before the weight.

use std::ops::ControlFlow;

use tch::Tensor;

use crate::model::EncodedPrompt;
use crate::nets::attention::AttentionObserver;

/// Weights of a prompt's tokens, the subjects' `weight` and the others 1: [1, tokens, 1]. None where all are 1.
#[expect(clippy::float_cmp, reason = "exactly 1 is off")]
pub(crate) fn token_weights(prompt: &EncodedPrompt, weight: f64) -> Option<Tensor> {
    let words: Vec<i64> = prompt.subjects.concat();
    if weight == 1.0 || words.is_empty() {
        return None;
    }
    let ones = prompt.features.narrow(2, 0, 1).ones_like();
    let words = Tensor::from_slice(&words).to_device(ones.device());
    Some(ones.index_fill(1, &words, weight))
}

/// Another observer, which also weighs the text's tokens.
pub(crate) struct Weighing<'a> {
    pub(crate) observer: &'a mut dyn AttentionObserver,
    pub(crate) weights: Option<Tensor>,
}

impl AttentionObserver for Weighing<'_> {
    fn wants(&self, layer: &str) -> bool {
        self.observer.wants(layer)
    }

    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        self.observer.observe(layer, probabilities)
    }

    fn values(&self, layer: &str) -> Option<&Tensor> {
        self.observer.values(layer)
    }

    fn token_weights(&self) -> Option<&Tensor> {
        self.weights.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn prompt(subjects: Vec<Vec<i64>>) -> EncodedPrompt {
        let features = Tensor::randn([1, 5, 3], (Kind::Float, Device::Cpu));
        EncodedPrompt { features, subjects, end: 4, warnings: Vec::new() }
    }

    #[test]
    fn the_subjects_words_are_weighed_and_nothing_else() {
        let weights = token_weights(&prompt(vec![vec![1], vec![3]]), 2.5).unwrap();
        assert_eq!(weights.size(), [1, 5, 1]);
        assert_eq!(Vec::<f32>::try_from(weights.flatten(0, -1)).unwrap(), [1.0, 2.5, 1.0, 2.5, 1.0]);
        assert!(token_weights(&prompt(vec![vec![1]]), 1.0).is_none());
        assert!(token_weights(&prompt(vec![]), 2.0).is_none());
    }
}
