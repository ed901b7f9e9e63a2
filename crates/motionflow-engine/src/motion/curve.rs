//! A value over time, between given ones.

/// How a curve goes from one key to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// Straight on.
    Straight,
    /// A Catmull-Rom spline over uneven times: smooth, and it may go beyond its keys.
    Smooth,
    /// The monotone cubic of Fritsch and Carlson (<https://doi.org/10.1137/0717021>): smooth, and never beyond its keys.
    Monotone,
}

/// A curve through (time, value), the times ascending.
#[derive(Debug)]
pub(crate) struct Curve {
    keys: Vec<(f64, f64)>,
    /// Its slope at each key; none where it goes straight.
    slopes: Option<Vec<f64>>,
}

impl Curve {
    pub(crate) fn new(keys: Vec<(f64, f64)>, through: Through) -> Self {
        let steps: Vec<(f64, f64)> =
            keys.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1)).collect();
        let rise = |(time, value): (f64, f64)| value / time;
        let inner = |pair: &[(f64, f64)]| {
            let ((before, _), (after, _)) = (pair[0], pair[1]);
            let (left, right) = (rise(pair[0]), rise(pair[1]));
            match through {
                Through::Monotone if left * right <= 0.0 => 0.0,
                Through::Monotone => {
                    let (one, other) = (2.0 * after + before, after + 2.0 * before);
                    (one + other) / (one / left + other / right)
                }
                _ => (after * left + before * right) / (before + after),
            }
        };
        let (first, last) = (steps.first().copied().map(rise), steps.last().copied().map(rise));
        let slopes = first.into_iter().chain(steps.windows(2).map(inner)).chain(last).collect();
        Self { keys, slopes: (through != Through::Straight).then_some(slopes) }
    }

    /// Its value; before the first key and after the last it stands still.
    pub(crate) fn at(&self, time: f64) -> f64 {
        let after = self.keys.partition_point(|(key, _)| *key <= time);
        let (Some(before), Some((to, to_value))) = (after.checked_sub(1), self.keys.get(after)) else {
            let end = if after == 0 { self.keys.first() } else { self.keys.last() };
            return end.map_or(0.0, |(_, value)| *value);
        };
        let (from, from_value) = self.keys[before];
        let (length, u) = (to - from, (time - from) / (to - from));
        let Some(slopes) = &self.slopes else { return from_value + (to_value - from_value) * u };
        let (squared, cubed) = (u * u, u * u * u);
        from_value * (2.0 * cubed - 3.0 * squared + 1.0)
            + to_value * (3.0 * squared - 2.0 * cubed)
            + slopes[before] * length * (cubed - 2.0 * squared + u)
            + slopes[after] * length * (cubed - squared)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_through_its_keys_and_stands_still_beyond_them() {
        let keys = vec![(0.0, 1.0), (2.0, 3.0), (5.0, 2.0)];
        for through in [Through::Straight, Through::Smooth, Through::Monotone] {
            let curve = Curve::new(keys.clone(), through);
            for (time, value) in &keys {
                assert!((curve.at(*time) - value).abs() < 1e-12, "{through:?}");
            }
            assert_eq!((curve.at(-1.0), curve.at(9.0)), (1.0, 2.0));
        }
        assert_eq!(Curve::new(vec![(3.0, 0.5)], Through::Smooth).at(0.0), 0.5);
        assert_eq!(Curve::new(keys, Through::Straight).at(1.0), 2.0);
    }

    #[test]
    fn a_monotone_curve_never_leaves_the_range_of_its_keys() {
        let keys = vec![(0.0, 0.1), (1.0, 0.1), (2.0, 0.9), (3.0, 0.9), (4.0, 0.2)];
        let [smooth, monotone] = [Through::Smooth, Through::Monotone].map(|t| Curve::new(keys.clone(), t));
        let over = |curve: &Curve| {
            (0..=400).any(|step| !(0.099_999..=0.900_001).contains(&curve.at(f64::from(step) / 100.0)))
        };
        assert!(over(&smooth) && !over(&monotone));
    }

    #[test]
    fn a_straight_line_is_one_whatever_the_times() {
        let curve = Curve::new(vec![(0.0, 0.0), (1.0, 2.0), (4.0, 8.0), (4.5, 9.0)], Through::Smooth);
        assert!((0..=45).all(|step| {
            let time = f64::from(step) / 10.0;
            (curve.at(time) - 2.0 * time).abs() < 1e-9
        }));
    }
}
