//! The frame rate behind a list of timestamps.

/// Frames per second of frames shown at `times`, counted in ticks of `tick` seconds, in any order.
///
/// It is one over the mean of the distances that are near the median, so that pauses and gaps do not count. Where the
/// ticks are too coarse to tell, a usual rate is taken: `nominal` (what the file says) if it is one, else a whole rate,
/// else one of television's n·1000/1001. `None` with fewer than two different times.
pub(crate) fn of_times(times: &[i64], tick: f64, nominal: Option<f64>) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.dedup();
    let mut distances: Vec<i64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    distances.sort_unstable();
    let median = *distances.get(distances.len() / 2)?;
    let usual = |distance: &i64| {
        distance.abs_diff(median) <= 1 || distance.abs_diff(median).saturating_mul(2) < median.unsigned_abs()
    };
    let usual: Vec<i64> = distances.into_iter().filter(usual).collect();
    let ticks: f64 = usual.iter().map(|distance| *distance as f64).sum();
    let fps = usual.len() as f64 / (ticks * tick);
    // Both ends of the span are rounded to a tick.
    let doubt = fps * (1.0 / ticks).max(1e-6);
    let (whole, television) = (fps.round(), (fps * 1.001).round() / 1.001);
    let nominal = nominal.filter(|rate| (rate - whole).abs() < 1e-6 || (rate - television).abs() < 1e-6);
    let mut usual_rates = nominal.into_iter().chain([whole, television]);
    let fps = usual_rates.find(|rate| *rate > 0.0 && (rate - fps).abs() <= doubt).unwrap_or(fps);
    (fps.is_finite() && fps > 0.0).then_some(fps)
}

/// Which frame stands at each even step of `fps`, for frames shown from `times` (seconds, ascending, the first 0) on,
/// the last until `end`: the latest whose time, rounded to a step, has come.
pub(crate) fn steps(times: &[f64], end: f64, fps: f64) -> Vec<usize> {
    let step_of = |time: f64| (time * fps).round() as usize;
    let mut steps = Vec::new();
    for (index, time) in times.iter().enumerate() {
        let until = step_of(times.get(index + 1).copied().unwrap_or(end));
        steps.resize(steps.len().max(until), index);
        debug_assert!(step_of(*time) <= until, "times ascend");
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(fps: f64, count: usize, tick: f64) -> Vec<i64> {
        (0..count).map(|index| (index as f64 / fps / tick).round() as i64).collect()
    }

    #[test]
    fn coarse_clocks_are_seen_through() {
        for fps in [8.0, 10.0, 12.0, 24.0, 25.0, 30.0, 50.0, 60.0] {
            for tick in [1e-2, 1e-3, 1.0 / 90000.0] {
                for count in [2, 8, 16, 240] {
                    if 1.0 / fps / tick > 1.5 {
                        let found = of_times(&rounded(fps, count, tick), tick, None).unwrap();
                        assert!(
                            (found - fps).abs() <= 0.34 * fps / count as f64,
                            "{fps} {tick} {count}: {found}"
                        );
                        assert!(count < 16 || (found - fps).abs() < 1e-9, "{fps} {tick} {count}: {found}");
                    }
                }
            }
        }
        let film = of_times(&rounded(24.0 / 1.001, 240, 1e-3), 1e-3, None).unwrap();
        assert!((film - 24.0 / 1.001).abs() < 1e-9, "{film}");
        let short = of_times(&rounded(24.0 / 1.001, 20, 1e-3), 1e-3, Some(24.0 / 1.001)).unwrap();
        assert!((short - 24.0 / 1.001).abs() < 1e-9, "{short}");
    }

    #[test]
    fn pauses_do_not_count() {
        assert_eq!(of_times(&[0, 10, 20, 30, 230, 240, 250], 0.01, None), Some(10.0));
        assert_eq!(of_times(&[30, 0, 20, 10], 0.01, None), Some(10.0));
    }

    #[test]
    fn no_rate_without_two_times() {
        assert_eq!(of_times(&[], 0.01, None), None);
        assert_eq!(of_times(&[5], 0.01, None), None);
        assert_eq!(of_times(&[5, 5], 0.01, None), None);
    }

    #[test]
    fn steps_hold_and_drop() {
        assert_eq!(steps(&[0.0, 0.1, 0.2], 0.3, 10.0), [0, 1, 2]);
        assert_eq!(steps(&[0.0, 0.1, 0.4], 0.5, 10.0), [0, 1, 1, 1, 2]);
        assert_eq!(steps(&[0.0, 0.01, 0.1], 0.2, 10.0), [1, 2]);
        assert_eq!(steps(&[], 0.0, 10.0), [0; 0]);
    }
}
