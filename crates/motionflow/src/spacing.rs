//! Where timesteps lie between the first and the last one trained on, rounded as numpy rounds them for diffusers.

use crate::settings::{SettingsError, TimestepSpacing};

/// `steps` multiples of `stride` from 0 on, moved by `offset`; ascending.
pub(crate) fn leading(stride: i64, steps: usize, offset: i64) -> Vec<i64> {
    (0..steps as i64).map(|index| index * stride + offset).collect()
}

/// `points` from 0 to `count` − 1; ascending.
pub(crate) fn linspace(count: usize, points: usize) -> Vec<i64> {
    let last = count as f64 - 1.0;
    let between = last / (points as f64 - 1.0);
    let at = |index: usize| {
        let exact = if index > 0 && index + 1 == points { last } else { index as f64 * between };
        if points == 1 { 0 } else { exact.round_ties_even() as i64 }
    };
    (0..points).map(at).collect()
}

/// From `last` − 1 down in steps of `count`/`steps`, given in ascending order. As with `numpy.arange`, rounding can make it
/// one more than `steps`.
pub(crate) fn trailing(last: usize, count: usize, steps: usize) -> Vec<i64> {
    let (start, ratio) = (last as f64, count as f64 / steps as f64);
    let length = (start / ratio).ceil() as usize;
    // numpy goes on by the difference of its first two.
    let delta = (start - ratio) - start;
    let at = |index: usize| (start + index as f64 * delta).round_ties_even() as i64 - 1;
    (0..length).rev().map(at).collect()
}

/// Checks that ascending timesteps are those of `steps` steps, each of its own, of `count` that there are.
pub(crate) fn check(
    timesteps: &[i64],
    steps: usize,
    count: usize,
    spacing: TimestepSpacing,
) -> Result<(), SettingsError> {
    let within = timesteps.iter().all(|timestep| (0..count as i64).contains(timestep));
    let is_apart = timesteps.windows(2).all(|pair| pair[0] < pair[1]);
    if timesteps.len() == steps && within && is_apart {
        return Ok(());
    }
    let expected = match spacing {
        TimestepSpacing::Trailing if steps <= count => {
            "another number: with trailing spacing, rounding makes one step too many of this one".to_owned()
        }
        _ => format!("fewer: the timesteps do not fit below the {count} that the checkpoint was trained on"),
    };
    Err(SettingsError { name: "steps", found: steps.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_steps_that_numpy_rounds_to_one_more_is_refused() {
        // len(numpy.arange(1000, 0, -1000 / 61)) is 62.
        let timesteps = trailing(1000, 1000, 61);
        assert_eq!((timesteps.len(), timesteps[0]), (62, -1));
        let message = check(&timesteps, 61, 1000, TimestepSpacing::Trailing).unwrap_err().to_string();
        assert!(message.contains("steps is 61") && message.contains("trailing"), "{message}");
        let odd = (1..=1000).filter(|steps| trailing(1000, 1000, *steps).len() != *steps);
        assert_eq!(odd.count(), 62, "as numpy counts them");
    }
}
