//! Tracklets: where points of a video are, frame by frame.

/// Points followed through a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracks {
    frames: usize,
    /// [tracklets][frames]: x to the right and y down, in pixels.
    points: Vec<[f32; 2]>,
    /// [tracklets][frames]
    visible: Vec<bool>,
}

impl Tracks {
    /// Tracklets of `frames` points each, one after the other. A point that is not finite counts as not visible.
    ///
    /// # Panics
    /// When there are not as many points as flags, or not `frames` of each tracklet.
    pub fn new(frames: usize, points: Vec<[f32; 2]>, mut visible: Vec<bool>) -> Self {
        assert!(points.len() == visible.len() && points.len().checked_rem(frames).unwrap_or(0) == 0);
        for (visible, [x, y]) in visible.iter_mut().zip(&points) {
            *visible &= x.is_finite() && y.is_finite();
        }
        Self { frames, points, visible }
    }

    /// How many tracklets there are.
    pub fn len(&self) -> usize {
        self.points.len().checked_div(self.frames).unwrap_or(0)
    }

    /// Whether there is no tracklet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many frames each tracklet has.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Displacements of each tracklet from frame to frame in pixels: `frames` - 1 of them; none where the point is not
    /// visible in both frames.
    pub fn displacements(&self) -> impl Iterator<Item = Vec<Option<[f32; 2]>>> {
        let tracklets = self.points.chunks(self.frames.max(1)).zip(self.visible.chunks(self.frames.max(1)));
        tracklets.map(|(points, visible)| {
            let steps = points.windows(2).zip(visible.windows(2));
            steps
                .map(|(points, visible)| {
                    let [from, to] = [points[0], points[1]];
                    let step = [to[0] - from[0], to[1] - from[1]];
                    (visible[0] && visible[1] && step[0].hypot(step[1]).is_finite()).then_some(step)
                })
                .collect()
        })
    }

    /// The first `frames` of every tracklet.
    #[must_use]
    pub fn cut(&self, frames: usize) -> Self {
        let kept = frames.min(self.frames);
        let at = |index: usize| index / kept * self.frames + index % kept;
        let count = self.len() * kept;
        Self {
            frames: kept,
            points: (0..count).map(|index| self.points[at(index)]).collect(),
            visible: (0..count).map(|index| self.visible[at(index)]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tracks {
        /// Points and flags, tracklet after tracklet.
        pub(crate) fn parts(&self) -> (&[[f32; 2]], &[bool]) {
            (&self.points, &self.visible)
        }
    }

    #[test]
    fn a_step_needs_both_of_its_ends() {
        let points = vec![[0.0, 0.0], [1.0, 2.0], [f32::NAN, 2.0], [3.0, 3.0]];
        let tracks = Tracks::new(4, points, vec![true; 4]);
        let displacements: Vec<_> = tracks.displacements().collect();
        assert_eq!(displacements, [vec![Some([1.0, 2.0]), None, None]]);
    }

    #[test]
    fn cut_keeps_the_beginning_of_each() {
        let points = (0..6).map(|index| [index as f32, 0.0]).collect();
        let cut = Tracks::new(3, points, vec![true; 6]).cut(2);
        assert_eq!((cut.len(), cut.frames()), (2, 2));
        assert_eq!(cut.points, [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [4.0, 0.0]]);
        assert_eq!(Tracks::new(0, vec![], vec![]).cut(2).len(), 0);
    }
}
