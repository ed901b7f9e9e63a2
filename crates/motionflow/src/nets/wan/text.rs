//! The text as the blocks see it.

use tch::{Kind, Tensor};

/// A text's rows, embedded, without the padding: all zero rows behind the text are one key, which counts as often as there are
/// such rows.
#[derive(Debug)]
pub(super) struct Text {
    /// [1, keys, channels]
    pub(super) features: Tensor,
    /// What is added to the scores of each key, [1, 1, 1, keys], float32: 0, and ln of the number of zero rows for theirs.
    pub(super) score: Tensor,
}

impl Text {
    /// Of features [1, rows, features] that end in zero rows, embedded row by row with `embed`.
    pub(super) fn new(features: &Tensor, embed: impl FnOnce(&Tensor) -> Tensor) -> Self {
        let rows = features.size()[1];
        let is_used = features.squeeze_dim(0).ne(0.0).any_dim(-1, false);
        let places = Tensor::arange(rows, (Kind::Int64, features.device())) + 1;
        let tokens = (is_used.to_kind(Kind::Int64) * places).max().int64_value(&[]);
        let padding = rows - tokens;
        let keys = tokens + i64::from(padding > 0);
        let score = Tensor::zeros([1, 1, 1, keys], (Kind::Float, features.device()));
        if padding > 0 {
            let _ = score.narrow(3, tokens, 1).fill_((padding as f64).ln());
        }
        Self { features: embed(&features.narrow(1, 0, keys)), score }
    }

    /// Of factors of all rows, [1, rows, 1], those of the keys: [1, keys, 1]
    pub(super) fn of_keys(&self, of_rows: &Tensor) -> Tensor {
        of_rows.narrow(1, 0, self.score.size()[3])
    }
}
