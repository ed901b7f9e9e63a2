//! The text as the blocks see it.

use tch::{Device, Kind, Tensor};

/// A text's rows, embedded, without the padding: all zero rows behind the text are one key, which counts as often as there are
/// such rows, or two in half precision.
#[derive(Debug)]
pub(super) struct Text {
    /// [1, keys, channels]
    pub(super) features: Tensor,
    /// What is added to the scores of each key, [1, 1, 1, keys], float32: 0, and for those of the zero rows numbers that the
    /// net's type has, whose exponentials add up to how many rows they are.
    pub(super) score: Tensor,
}

impl Text {
    /// Of features [1, rows, features] that end in zero rows, embedded row by row with `embed`.
    pub(super) fn new(features: &Tensor, embed: impl FnOnce(&Tensor) -> Tensor) -> Self {
        let rows = features.size()[1];
        let is_used = features.squeeze_dim(0).ne(0.0).any_dim(-1, false);
        let places = Tensor::arange(rows, (Kind::Int64, features.device())) + 1;
        let tokens = (is_used.to_kind(Kind::Int64) * places).max().int64_value(&[]);
        let of_padding = padding_scores(rows - tokens, features.kind());
        let keys = tokens + of_padding.len() as i64;
        let scores = Tensor::cat(
            &[Tensor::zeros([tokens], (Kind::Double, Device::Cpu)), Tensor::from_slice(&of_padding)],
            0,
        );
        let score = scores.to_kind(Kind::Float).to_device(features.device()).view([1, 1, 1, keys]);
        Self { features: embed(&features.narrow(1, 0, keys)), score }
    }

    /// Of factors of all rows, [1, rows, 1], those of the keys: [1, keys, 1]
    pub(super) fn of_keys(&self, of_rows: &Tensor) -> Tensor {
        of_rows.narrow(1, 0, self.score.size()[3])
    }
}

/// Scores of one key, or two, that count as so many rows. The logarithm of a number of rows is off by up to 0.016 in bfloat16; a
/// second key makes up for the most of it.
fn padding_scores(rows: i64, kind: Kind) -> Vec<f64> {
    /// Of the rows, what the first of two keys counts as: less than all whichever way its score is rounded.
    const FIRST: f64 = 0.95;
    if rows == 0 {
        return Vec::new();
    }
    let rows = rows as f64;
    let rounded = |x: f64| Tensor::from(x).to_kind(kind).double_value(&[]);
    let is_near = |score: f64| (score.exp() / rows - 1.0).abs() < 1e-4;
    let (one, first) = (rounded(rows.ln()), rounded((FIRST * rows).ln()));
    if is_near(one) { vec![one] } else { vec![first, rounded((rows - first.exp()).ln())] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_padding_counts_as_often_as_there_are_rows() {
        for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
            for rows in 1..512 {
                let scores = padding_scores(rows, kind);
                let counted: f64 = scores.iter().map(|score| score.exp()).sum();
                assert!((counted / rows as f64 - 1.0).abs() < 1e-3, "{kind:?}, {rows}: {counted}");
                assert!(kind != Kind::Float || scores.len() == 1);
                let stored = Tensor::from_slice(&scores).to_kind(kind).to_kind(Kind::Double);
                assert_eq!(Vec::<f64>::try_from(stored).unwrap(), scores);
            }
            assert!(padding_scores(0, kind).is_empty());
        }
    }

    #[test]
    fn zero_rows_are_left_out_but_for_those_that_stand_for_all() {
        let text = Tensor::randn([1, 3, 4], (Kind::Float, Device::Cpu)).constant_pad_nd([0, 0, 0, 9]);
        for (kind, keys) in [(Kind::Float, 4), (Kind::BFloat16, 5)] {
            let text = Text::new(&text.to_kind(kind), Tensor::shallow_clone);
            assert_eq!((text.features.size()[1], text.score.size()[3]), (keys, keys));
            assert!(text.features.narrow(1, 3, keys - 3).abs().max().double_value(&[]) <= 0.0);
        }
    }
}
