//! Rotary position embedding over latent frames, rows and columns (<https://arxiv.org/abs/2104.09864>).

use tch::{Device, Kind, Tensor};

const THETA: f64 = 10_000.0;

/// Cosines and sines of the angles that each pair of a head's features is turned by.
#[derive(Debug)]
pub(super) struct Rotation {
    /// [tokens, 1, d / 2], float32
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For tokens in the order frame, row, column. Of a head's `d` features 2·⌊d/6⌋ turn with the row, as many with the column,
    /// and those before them with the frame. Angles are computed in float64.
    pub(super) fn new([frames, rows, columns]: [i64; 3], d: i64, device: Device) -> Self {
        let of_side = 2 * (d / 6);
        let angles = |count: i64, features: i64| {
            let exponents =
                Tensor::arange(features / 2, (Kind::Double, Device::Cpu)) * (2.0 / features as f64);
            let frequencies = (exponents * -THETA.ln()).exp();
            Tensor::arange(count, (Kind::Double, Device::Cpu)).outer(&frequencies)
        };
        let along = |angles: Tensor, shape: [i64; 3]| {
            let features = angles.size()[1];
            let shape = [shape[0], shape[1], shape[2], features];
            angles.view(shape).expand([frames, rows, columns, features], false)
        };
        let angles = Tensor::cat(
            &[
                along(angles(frames, d - 2 * of_side), [frames, 1, 1]),
                along(angles(rows, of_side), [1, rows, 1]),
                along(angles(columns, of_side), [1, 1, columns]),
            ],
            -1,
        );
        let angles = angles.reshape([frames * rows * columns, 1, d / 2]);
        let on_device = |x: Tensor| x.to_kind(Kind::Float).to_device(device);
        Self { cos: on_device(angles.cos()), sin: on_device(angles.sin()) }
    }

    /// The same, sharing its tensors.
    pub(super) fn share(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// Cosines and sines that pairs of neighbouring features turn by, each [tokens, 1, d / 2].
    pub(super) fn turn(&self) -> [&Tensor; 2] {
        [&self.cos, &self.sin]
    }
}
