//! UniPC (<https://arxiv.org/abs/2302.04867>), as diffusers' `UniPCMultistepScheduler` computes it.

use tch::Tensor;

use super::levels::Levels;
use crate::error::Error;
use crate::multistep_config::{FinalSigma, MultistepConfig, Reader};

/// A predictor of the second order for the prediction of x₀, with a corrector.
#[derive(Debug)]
pub(super) struct UniPc {
    pub(super) levels: Levels,
    is_bh1: bool,
    ends_in_first_order: bool,
    /// Steps, counted from 0, after which nothing is corrected.
    uncorrected: Vec<i64>,
}

/// What an update from one noise level to another has in common, whether it predicts or corrects.
struct Move {
    /// The first-order update.
    first_order: Tensor,
    /// −h, where h is the difference of the two λ.
    minus_h: f64,
    /// α·B(h)
    scale: f64,
    /// B(h)
    of_h: f64,
    /// The slope of x₀ between this level and the one before it, where the update is of the second order.
    slope: Option<Tensor>,
    /// How far before it lies, in steps of h; negative.
    ratio: f64,
}

impl UniPc {
    pub(super) fn new(levels: Levels, config: &MultistepConfig, reader: Reader) -> Result<Self, Error> {
        if config.predict_x0 == Some(false) {
            return Err(reader.wrong("predict_x0", &false, "true").into());
        }
        if let Some(solver) = &config.solver_p {
            return Err(reader.wrong("solver_p", solver, "null").into());
        }
        let ends_in_zero = config.final_sigma(reader)? == FinalSigma::Zero;
        let is_bh1 = match config.solver_type.as_deref() {
            None | Some("bh2" | "midpoint" | "heun" | "logrho") => false,
            Some("bh1") if ends_in_zero => {
                let expected = "bh2, or bh1 with final_sigmas_type sigma_min,";
                return Err(reader.wrong("solver_type", &"bh1", expected).into());
            }
            Some("bh1") => true,
            Some(other) => return Err(reader.wrong("solver_type", &other, "bh1 or bh2").into()),
        };
        let ends_in_first_order = config.lower_order_final.unwrap_or(true);
        if ends_in_zero && !ends_in_first_order && levels.steps() > 1 {
            let expected = "true, or false with final_sigmas_type sigma_min,";
            return Err(reader.wrong("lower_order_final", &false, expected).into());
        }
        let uncorrected = config.disable_corrector.clone().unwrap_or_default();
        Ok(Self { levels, is_bh1, ends_in_first_order, uncorrected })
    }

    /// The order of the prediction at a step, where x₀ of `known` steps before it are known.
    fn order(&self, index: usize, known: usize) -> usize {
        let left = if self.ends_in_first_order { self.levels.steps() - index } else { usize::MAX };
        left.min(1 + known).min(2)
    }

    /// Whether the latents that a step begins with are corrected once the net has seen them.
    pub(super) fn corrects(&self, index: usize) -> bool {
        index > 0 && !self.uncorrected.contains(&(index as i64 - 1))
    }

    /// The latents that the step `index` begins with, corrected: those that the step before it began with, moved again now that
    /// `clean`, x₀ at the end of the move, is known. `before` is x₀ of the steps before it, the latest last.
    pub(super) fn correct(&self, index: usize, began: &Tensor, clean: &Tensor, before: &[Tensor]) -> Tensor {
        let Some((last, earlier)) = before.split_last() else { return began.shallow_clone() };
        let earlier = earlier.last().filter(|_| self.order(index - 1, before.len() - 1) == 2);
        let made = self.between(index - 1, began, last, earlier);
        let change = clean - last;
        let Some(slope) = made.slope else { return made.first_order - change * (0.5 * made.scale) };
        // R·ρ = b of the paper: ρ₁ + ρ₂ = b₁, r·ρ₁ + ρ₂ = b₂
        let phi_1 = made.minus_h.exp_m1() / made.minus_h - 1.0;
        let phi_2 = phi_1 / made.minus_h - 0.5;
        let (b_1, b_2) = (phi_1 / made.of_h, 2.0 * phi_2 / made.of_h);
        let rho_1 = (b_2 - b_1) / (made.ratio - 1.0);
        made.first_order - (slope * rho_1 + change * (b_1 - rho_1)) * made.scale
    }

    /// The latents after the step. `clean` is x₀ as the net sees it now, `before` as it saw it in the steps before, the latest
    /// last; all of one shape, float32.
    pub(super) fn predict(
        &self,
        index: usize,
        latents: &Tensor,
        clean: &Tensor,
        before: &[Tensor],
    ) -> Tensor {
        let before = before.last().filter(|_| self.order(index, before.len()) == 2);
        let made = self.between(index, latents, clean, before);
        match made.slope {
            Some(slope) => made.first_order - slope * (0.5 * made.scale),
            None => made.first_order,
        }
    }

    /// The move that the step `index` makes from `latents`, where x₀ is `clean` and was `before`.
    fn between(&self, index: usize, latents: &Tensor, clean: &Tensor, before: Option<&Tensor>) -> Move {
        let (from, to) = (self.levels.at(index), self.levels.at(index + 1));
        let minus_h = from.lambda - to.lambda;
        let decay = minus_h.exp_m1();
        let of_h = if self.is_bh1 { minus_h } else { decay };
        let before = before.filter(|_| index > 0);
        let ratio = match before {
            Some(_) => (self.levels.at(index - 1).lambda - from.lambda) / -minus_h,
            None => 0.0,
        };
        Move {
            first_order: latents * (to.noise / from.noise) - clean * (to.signal * decay),
            minus_h,
            scale: to.signal * of_h,
            of_h,
            slope: before.map(|before| (before - clean) / ratio),
            ratio,
        }
    }
}
