//! Motion fidelity: do the points of the result move as those of the source do?
//!
//! "Space-Time Diffusion Features for Zero-Shot Text-Driven Motion Transfer" (Yatim et al., CVPR 2024,
//! <https://arxiv.org/abs/2311.17009>): the likeness of two tracklets is the mean over time of the dot products of
//! their unit displacements, and a tracklet's score its likeness to the most similar one of the other video.
//!
//! This project's reading, where the paper says nothing:
//! - A step shorter than [`STANDING`] has no direction that could be told from noise: it stands still. Standing against
//!   standing counts 1, standing against moving 0.
//! - A tracklet that never gets further than [`RESTING`] from where it begins is at rest. It can be matched, but is not
//!   averaged over, since a picture at rest would fit to every background. Where no tracklet of the one video moves,
//!   the score is 1 if none of the other does, else 0.
//! - A tracklet weighs as much as it has steps that move: one that is moved for a moment says less.
//! - A step at which a point is not visible counts as no likeness.

use tch::{Kind, Tensor};

use crate::tracks::Tracks;

/// Displacement from frame to frame, in pixels, below which a point stands still.
pub const STANDING: f32 = 0.1;

/// Distance from its beginning, in pixels, up to which a tracklet is at rest.
pub const RESTING: f32 = 1.0;

/// How many tracklets are compared with all of the other video at once, to save memory.
const ROWS: i64 = 1024;

/// The mean over the result's tracklets of the best likeness in the source: -1 to 1. No value where there is no
/// tracklet to compare: of no frames in common, or never visible.
pub fn motion_fidelity(source: &Tracks, result: &Tracks) -> Option<f64> {
    let frames = source.frames().min(result.frames());
    Some(one_way(&Motion::of(&result.cut(frames))?, &Motion::of(&source.cut(frames))?))
}

/// The mean of both directions: it also falls when a motion of the source has no like in the result. As
/// [`motion_fidelity`].
pub fn symmetric_motion_fidelity(source: &Tracks, result: &Tracks) -> Option<f64> {
    Some(f64::midpoint(motion_fidelity(source, result)?, motion_fidelity(result, source)?))
}

/// The tracklets of a video, by their steps.
struct Motion {
    /// [tracklets, 3·steps]: of each step the direction and whether it stands, so that the dot product of two tracklets
    /// is the sum of their likenesses.
    steps: Tensor,
    /// How many visible steps each tracklet has. [tracklets]
    visible: Tensor,
    /// What each tracklet weighs: how many of its steps move, if it gets away from its beginning. [tracklets]
    weights: Tensor,
}

impl Motion {
    fn of(tracks: &Tracks) -> Option<Self> {
        let (mut steps, mut visible, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for tracklet in tracks.displacements() {
            let seen = tracklet.iter().flatten().count();
            if seen == 0 {
                continue;
            }
            visible.push(seen as f32);
            let moving = tracklet.iter().flatten().filter(|step| !stands(**step)).count();
            weights.push(if gets_away(&tracklet) { moving as f32 } else { 0.0 });
            steps.extend(tracklet.into_iter().flat_map(|step| step.map_or([0.0; 3], direction)));
        }
        if visible.is_empty() {
            return None;
        }
        let tracklets = visible.len() as i64;
        Some(Self {
            steps: Tensor::from_slice(&steps).view([tracklets, -1]),
            visible: Tensor::from_slice(&visible),
            weights: Tensor::from_slice(&weights),
        })
    }

    fn moves(&self) -> bool {
        self.weights.sum(Kind::Double).double_value(&[]) > 0.0
    }
}

/// The weighted mean over the tracklets of `averaged` of the best likeness in `other`.
fn one_way(averaged: &Motion, other: &Motion) -> f64 {
    if !averaged.moves() {
        return if other.moves() { 0.0 } else { 1.0 };
    }
    let other = other.steps.transpose(0, 1);
    let rows = averaged.steps.split(ROWS, 0);
    let best: Vec<Tensor> = rows.iter().map(|steps| steps.matmul(&other).amax([1], false)).collect();
    let best = Tensor::cat(&best, 0) / &averaged.visible;
    let weights = &averaged.weights;
    let mean = (best * weights).sum(Kind::Double) / weights.sum(Kind::Double);
    // Rounding leads a little over 1.
    mean.double_value(&[]).clamp(-1.0, 1.0)
}

/// Unit vector and 0 of a step that moves, zero and 1 of one that stands.
fn direction(step: [f32; 2]) -> [f32; 3] {
    let [x, y] = step;
    let length = x.hypot(y);
    if stands(step) { [0.0, 0.0, 1.0] } else { [x / length, y / length, 0.0] }
}

fn stands([x, y]: [f32; 2]) -> bool {
    x.hypot(y) < STANDING
}

/// Whether a tracklet gets further than [`RESTING`] from where it begins. A gap in it is taken for a stand.
fn gets_away(tracklet: &[Option<[f32; 2]>]) -> bool {
    let mut place = [0.0_f32; 2];
    tracklet.iter().flatten().any(|step| {
        place = [place[0] + step[0], place[1] + step[1]];
        place[0].hypot(place[1]) > RESTING
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(start: [f32; 2], step: [f32; 2], frames: usize) -> Vec<[f32; 2]> {
        (0..frames).map(|t| [start[0] + step[0] * t as f32, start[1] + step[1] * t as f32]).collect()
    }

    fn visible(tracklets: &[Vec<[f32; 2]>]) -> Tracks {
        let points: Vec<_> = tracklets.concat();
        let count = points.len();
        Tracks::new(tracklets[0].len(), points, vec![true; count])
    }

    #[track_caller]
    fn scores(source: &Tracks, result: &Tracks, one_way: f64, symmetric: f64) {
        let found = [motion_fidelity(source, result), symmetric_motion_fidelity(source, result)];
        let [found, found_symmetric] = found.map(Option::unwrap);
        assert!(
            (found - one_way).abs() < 1e-5 && (found_symmetric - symmetric).abs() < 1e-5,
            "{found} {found_symmetric}"
        );
    }

    #[test]
    fn directions_count_and_lengths_do_not() {
        let right = visible(&[line([0.0, 0.0], [2.0, 0.0], 5)]);
        scores(&right, &right, 1.0, 1.0);
        scores(&right, &visible(&[line([9.0, 9.0], [0.5, 0.0], 5)]), 1.0, 1.0);
        scores(&right, &visible(&[line([0.0, 0.0], [0.0, 2.0], 5)]), 0.0, 0.0);
        scores(&right, &visible(&[line([0.0, 0.0], [-2.0, 0.0], 5)]), -1.0, -1.0);
        scores(&right, &visible(&[line([0.0, 0.0], [1.0, 1.0], 5)]), 0.5_f64.sqrt(), 0.5_f64.sqrt());
    }

    #[test]
    fn the_symmetric_form_misses_what_the_result_lacks() {
        let right = line([0.0, 0.0], [2.0, 0.0], 5);
        let up = line([0.0, 0.0], [0.0, -2.0], 5);
        scores(&visible(&[right.clone(), up]), &visible(&[right]), 1.0, 0.75);
    }

    #[test]
    fn rest_is_no_fidelity_to_motion() {
        let still = visible(&[line([5.0, 5.0], [0.0, 0.0], 5)]);
        let moving = visible(&[line([0.0, 0.0], [2.0, 0.0], 5), line([5.0, 5.0], [0.0, 0.0], 5)]);
        scores(&still, &still, 1.0, 1.0);
        scores(&moving, &still, 0.0, 0.0);
        scores(&still, &moving, 0.0, 0.0);
        scores(&moving, &moving, 1.0, 1.0);
    }

    #[test]
    fn a_pause_is_like_a_pause_alone() {
        let pausing = visible(&[vec![[0.0, 0.0], [2.0, 0.0], [2.0, 0.05], [4.0, 0.05], [4.0, 0.0]]]);
        let going = visible(&[line([0.0, 0.0], [2.0, 0.0], 5)]);
        scores(&pausing, &pausing, 1.0, 1.0);
        scores(&going, &pausing, 0.5, 0.5);
    }

    #[test]
    fn what_is_not_seen_is_not_alike() {
        let right = line([0.0, 0.0], [2.0, 0.0], 5);
        let half = Tracks::new(5, right.clone(), vec![true, true, true, false, false]);
        scores(&half, &half, 1.0, 1.0);
        scores(&visible(std::slice::from_ref(&right)), &half, 1.0, 0.75);
        let never = Tracks::new(5, right.clone(), vec![true, false, true, false, true]);
        assert_eq!(motion_fidelity(&visible(&[right]), &never), None);
        assert_eq!(motion_fidelity(&Tracks::new(0, vec![], vec![]), &half), None);
    }

    fn any_tracks() -> impl Strategy<Value = Tracks> {
        (2_usize..7, 1_usize..6).prop_flat_map(|(frames, tracklets)| {
            let coordinate = prop_oneof![
                8 => -50.0_f32..50.0,
                4 => Just(3.0),
                1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE]),
            ];
            let points = prop::collection::vec([coordinate.clone(), coordinate], frames * tracklets);
            let visible = prop::collection::vec(prop::bool::weighted(0.8), frames * tracklets);
            (points, visible).prop_map(move |(points, visible)| Tracks::new(frames, points, visible))
        })
    }

    proptest! {
        #[test]
        fn always_a_number_from_minus_one_to_one(source in any_tracks(), result in any_tracks()) {
            for score in [motion_fidelity(&source, &result), symmetric_motion_fidelity(&source, &result)] {
                prop_assert!(score.is_none_or(|score| (-1.0..=1.0).contains(&score)), "{score:?}");
            }
        }

        #[test]
        fn a_video_has_its_own_motion(tracks in any_tracks()) {
            let score = symmetric_motion_fidelity(&tracks, &tracks);
            prop_assert!(score.is_none_or(|score| score > 1.0 - 1e-5), "{score:?}");
        }

        #[test]
        fn backwards_is_the_opposite_of_a_straight_motion(angle in 0.0_f32..6.3, speed in 1.1_f32..9.0) {
            let step = [angle.cos() * speed, angle.sin() * speed];
            let forth = line([0.0, 0.0], step, 6);
            let back = forth.iter().copied().rev().collect();
            let score = motion_fidelity(&visible(&[forth]), &visible(&[back])).unwrap();
            prop_assert!(score < -1.0 + 1e-4, "{score}");
        }

        #[test]
        fn the_order_of_tracklets_does_not_matter(
            (source, result) in (any_tracks(), any_tracks()),
        ) {
            let score = |source: &Tracks, result: &Tracks| symmetric_motion_fidelity(source, result);
            let one = score(&source, &result);
            let other = score(&source.reversed(), &result.reversed());
            prop_assert!(match (one, other) {
                (Some(one), Some(other)) => (one - other).abs() < 1e-5,
                (one, other) => one == other,
            }, "{one:?} {other:?}");
        }
    }

    impl Tracks {
        /// The last tracklet first.
        fn reversed(&self) -> Self {
            let count = self.len() * self.frames();
            let order: Vec<usize> =
                (0..self.len()).rev().flat_map(|n| n * self.frames()..(n + 1) * self.frames()).collect();
            let (points, visible) = self.parts();
            assert_eq!(order.len(), count);
            let points = order.iter().map(|&index| points[index]).collect();
            Self::new(self.frames(), points, order.iter().map(|&index| visible[index]).collect())
        }
    }
}
