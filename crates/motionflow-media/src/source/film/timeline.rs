//! Which frame of a film stands at each step of an even rate.

use super::showinfo::{Tick, rounded};

/// How much before a frame's time `--start` may lie beyond it, in seconds: some containers keep whole milliseconds.
const SLACK: f64 = 0.0005;

/// The frames of a film in order, on a row of even steps from a start on.
///
/// The first frame at or after the start is the anchor of the row: steps are counted from it on. Each frame stands from
/// the step nearest to its time until the next one's; a frame whose step is the next one's too is dropped. Where the
/// frame before the anchor stands for more than a step beyond the start, the row begins with it.
#[derive(Debug)]
pub(super) struct Timeline {
    tick: Tick,
    /// Frames per second, as a fraction.
    rate: (u64, u64),
    /// Seconds from the first frame on.
    start: f64,
    /// The time of the film's first frame, in ticks.
    first: Option<i64>,
    /// Whether times are guesses, and frames a step apart at least.
    guessed: bool,
    /// Where each frame stands: time in ticks, then the step that it begins at.
    frames: Vec<(i64, i64)>,
    /// The place of the anchor among the frames.
    anchor: Option<usize>,
    /// What is added to times after they went back.
    shift: i64,
    /// Whether times went back.
    pub(super) went_back: bool,
}

impl Timeline {
    /// `first` is the time of the film's first frame, `None` when the first that is pushed is that one.
    pub(super) fn new(tick: Tick, rate: (u64, u64), start: f64, first: Option<i64>) -> Self {
        Self {
            tick,
            rate,
            start,
            first,
            guessed: false,
            frames: Vec::new(),
            anchor: None,
            shift: 0,
            went_back: false,
        }
    }

    /// Times are guesses of the decoder: the file has none, or not for each frame, and no two frames for one step.
    pub(super) fn guessed(self, guessed: bool) -> Self {
        Self { guessed, ..self }
    }

    fn fps(&self) -> f64 {
        self.rate.0 as f64 / self.rate.1 as f64
    }

    /// Seconds between two times.
    fn seconds(&self, from: i64, to: i64) -> f64 {
        to.saturating_sub(from) as f64 * self.tick.seconds()
    }

    /// Ticks that a step lasts.
    fn step(&self) -> i64 {
        (1.0 / self.fps() / self.tick.seconds()).round().max(1.0) as i64
    }

    /// Adds the next frame. One without a time comes a step after the one before.
    pub(super) fn push(&mut self, time: Option<i64>) {
        let before = self.frames.last().map(|(time, _)| *time);
        let next = before.map(|before| before.saturating_add(self.step()));
        let mut time = time.map_or(next.unwrap_or(0), |time| time.saturating_add(self.shift));
        let near = before.map(|before| before.saturating_sub(self.step().saturating_mul(2)));
        if let Some(next) = next.filter(|next| self.guessed && time < *next && Some(time) >= near) {
            time = next;
        } else if let (Some(before), Some(next)) = (before, next)
            && time < before
        {
            self.shift = self.shift.saturating_add(next.saturating_sub(time));
            self.went_back = true;
            time = next;
        }
        let first = *self.first.get_or_insert(time);
        let step = if let Some(anchor) = self.anchor {
            let (base, begin) = self.frames[anchor];
            begin.saturating_add(self.steps(base, time))
        } else {
            let after = self.seconds(first, time) - self.start;
            if after >= -self.slack() {
                self.anchor = Some(self.frames.len());
            }
            if self.anchor.is_some() && !self.frames.is_empty() { self.held(after) } else { 0 }
        };
        self.frames.push((time, step));
    }

    fn slack(&self) -> f64 {
        SLACK.min(0.1 / self.fps())
    }

    /// Steps between two times.
    fn steps(&self, from: i64, to: i64) -> i64 {
        let ticks = i128::from(to) - i128::from(from);
        let numerator =
            ticks.saturating_mul(i128::from(self.tick.numerator)).saturating_mul(i128::from(self.rate.0));
        let denominator = i128::from(self.tick.denominator).saturating_mul(i128::from(self.rate.1));
        i64::try_from(rounded(numerator, denominator)).unwrap_or(i64::MAX)
    }

    /// How many whole steps lie before a frame that comes `after` seconds after the start: the frame before stands there.
    fn held(&self, after: f64) -> i64 {
        let steps = after * self.fps();
        // The rest of a step is none, and times are rounded.
        if steps < 1.25 { 0 } else { (steps + 0.05).floor() as i64 }
    }

    /// How far the first frame that was pushed lies after the start: whether frames before it are missing.
    pub(super) fn misses_the_start(&self) -> bool {
        match (self.first, self.frames.first()) {
            (Some(first), Some((time, _))) => {
                *time > first && self.seconds(first, *time) - self.start >= -self.slack()
            }
            _ => false,
        }
    }

    /// The steps that a frame stands for, known once the next one has come.
    pub(super) fn span(&self, frame: usize) -> Option<(i64, i64)> {
        let (_, begin) = self.frames.get(frame)?;
        let (_, end) = self.frames.get(frame + 1)?;
        Some((*begin, *end))
    }

    /// The steps that the last frame stands for, when nothing follows. `duration` is its own, in ticks.
    pub(super) fn last_span(&self, duration: Option<i64>) -> Option<(i64, i64)> {
        let (_, begin) = *self.frames.last()?;
        let end = self.end(duration)?;
        match self.anchor {
            Some(anchor) => {
                let (base, first) = self.frames[anchor];
                Some((begin, first.saturating_add(self.steps(base, end)).max(begin.saturating_add(1))))
            }
            None => Some((0, self.held(self.seconds(self.first?, end) - self.start))),
        }
    }

    /// How many steps the whole film has.
    pub(super) fn total(&self, duration: Option<i64>) -> usize {
        match (self.first, self.end(duration)) {
            (Some(first), Some(end)) => usize::try_from(self.steps(first, end).max(1)).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    fn end(&self, duration: Option<i64>) -> Option<i64> {
        let (time, _) = self.frames.last()?;
        Some(time.saturating_add(duration.unwrap_or(self.step())))
    }

    /// Whether a frame at or after the start stands for no step.
    pub(super) fn is_dropped(&self, frame: usize) -> bool {
        self.anchor.is_some_and(|anchor| frame >= anchor)
            && self.span(frame).is_some_and(|(begin, end)| end <= begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Tick = Tick { numerator: 1, denominator: 1000 };

    fn timeline(rate: (u64, u64), start: f64, times: &[i64]) -> Timeline {
        let mut timeline = Timeline::new(MS, rate, start, None);
        for time in times {
            timeline.push(Some(*time));
        }
        timeline
    }

    fn row(timeline: &Timeline, duration: i64) -> Vec<usize> {
        let last = timeline.frames.len() - 1;
        let spans = (0..last).map(|frame| timeline.span(frame)).chain([timeline.last_span(Some(duration))]);
        spans
            .enumerate()
            .flat_map(|(frame, span)| (span.unwrap().0..span.unwrap().1).map(move |_| frame))
            .collect()
    }

    #[test]
    fn even_frames_keep_their_numbers() {
        let times: Vec<i64> = (0..90).map(|index| (index * 1000 + 15) / 30).collect();
        for first in 0..80_u32 {
            // As people write it: on the frame's time, rounded to three digits; and within the step before.
            for start in [f64::from(first * 1000 + 15) / 30.0, f64::from(first * 1000) / 30.0 - 20.0] {
                let start = start.floor().max(0.0) / 1000.0;
                let timeline = timeline((30, 1), start, &times);
                assert_eq!(row(&timeline, 33), (first as usize..90).collect::<Vec<_>>(), "{start}");
                assert_eq!(timeline.total(Some(33)), 90);
            }
        }
    }

    #[test]
    fn a_start_within_a_long_frame_begins_with_it() {
        let times = [0, 100, 200, 300, 1000, 1100];
        assert_eq!(row(&timeline((10, 1), 0.0, &times), 100), [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5]);
        assert_eq!(row(&timeline((10, 1), 0.5, &times), 100)[..7], [3, 3, 3, 3, 3, 4, 5]);
        assert_eq!(row(&timeline((10, 1), 1.0, &times), 100), [4, 5]);
        assert_eq!(row(&timeline((10, 1), 1.3, &times), 1000).len(), 8, "the last frame stands long");
        assert_eq!(row(&timeline((10, 1), 1.3, &times), 100), [0; 0]);
    }

    #[test]
    fn frames_that_come_too_soon_are_dropped() {
        let timeline = timeline((10, 1), 0.0, &[0, 10, 100, 200]);
        assert_eq!(row(&timeline, 100), [1, 2, 3]);
        assert!(timeline.is_dropped(0) && !timeline.is_dropped(1));
    }

    #[test]
    fn times_that_go_back_go_on() {
        let timeline = timeline((10, 1), 0.0, &[500, 600, 0, 100, 200]);
        assert!(timeline.went_back);
        assert_eq!(row(&timeline, 100), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn guessed_times_lose_no_frame() {
        // As ffmpeg guesses the last frames of H.264 in AVI.
        let mut timeline =
            Timeline::new(Tick { numerator: 1, denominator: 50 }, (25, 1), 0.0, None).guessed(true);
        for time in [4, 6, 8, 9, 10] {
            timeline.push(Some(time));
        }
        assert_eq!(row(&timeline, 1), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_missing_start_is_seen() {
        let mut late = Timeline::new(MS, (10, 1), 0.5, Some(0));
        late.push(Some(600));
        assert!(late.misses_the_start());
        let mut early = Timeline::new(MS, (10, 1), 0.5, Some(0));
        early.push(Some(400));
        assert!(!early.misses_the_start());
        let mut from_the_beginning = Timeline::new(MS, (10, 1), 0.0, None);
        from_the_beginning.push(Some(600));
        assert!(!from_the_beginning.misses_the_start());
    }
}
