//! Changes of a motion in place and time, each said in a line: `move 0.1 -0.2`, `mirror`, `speed 2`.

use std::fmt;
use std::str::FromStr;

use super::Motion;
use super::curve::{Curve, Through};
use super::shape::{Affine, Placed, Point, Shape};

/// What the messages list.
const KNOWN: &str = "move, scale, mirror, rotate, reverse, speed, time, delay, still, smooth, grow, shrink";

/// A change of a motion.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// By fractions of the picture's width and height.
    Move(f64, f64),
    /// Across and down.
    Scale(f64, f64, About),
    /// About the picture's middle: left and right change places, or above and below.
    Mirror {
        /// Whether above and below do.
        vertical: bool,
    },
    /// By degrees, clockwise.
    Rotate(f64, About),
    /// The last frame first.
    Reverse,
    /// So many times as fast.
    Speed(f64),
    /// Which share of the motion is over after which share of the time.
    Time(Vec<(f64, f64)>),
    /// Stands still at first.
    Delay(Moment),
    /// As in this frame all the time, counted from 0.
    Still(usize),
    /// Path and size averaged over so many frames.
    Smooth(usize),
    /// By a share of the picture's width; less than 0 shrinks.
    Grow(f64),
}

/// What stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The subject's own middle, in each frame.
    Own,
    /// The picture's middle.
    Picture,
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// In frames.
    Frames(f64),
    /// In seconds.
    Seconds(f64),
}

/// A change that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransformError(String);

impl FromStr for Transform {
    type Err = TransformError;

    fn from_str(text: &str) -> Result<Self, TransformError> {
        let mut words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default().to_lowercase();
        let mut words: Vec<&str> = words.collect();
        let wrong = |what: &str| TransformError(what.to_owned());
        let about = if words.last() == Some(&"picture") && ["scale", "rotate"].contains(&name.as_str()) {
            words.pop();
            About::Picture
        } else {
            About::Own
        };
        let number = |word: &str| -> Result<f64, TransformError> {
            let number = word.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() <= 1e6);
            number.ok_or_else(|| TransformError(format!("{word:?} is no number")))
        };
        let positive = |word: &str| {
            let number = number(word)?;
            if number > 0.0 { Ok(number) } else { Err(wrong("the number must be over 0")) }
        };
        let whole = |word: &str, least: usize| {
            let number = word.parse().ok().filter(|number| (least..=100_000).contains(number));
            number.ok_or_else(|| TransformError(format!("{word:?} is no whole number from {least} on")))
        };
        Ok(match (name.as_str(), words.as_slice()) {
            ("move", [x, y]) => Self::Move(number(x)?, number(y)?),
            ("scale", [factor]) => Self::Scale(positive(factor)?, positive(factor)?, about),
            ("scale", [across, down]) => Self::Scale(positive(across)?, positive(down)?, about),
            ("mirror", [] | ["horizontal"]) => Self::Mirror { vertical: false },
            ("mirror", ["vertical"]) => Self::Mirror { vertical: true },
            ("rotate", [degrees]) => Self::Rotate(number(degrees)?, about),
            ("reverse", []) => Self::Reverse,
            ("speed", [factor]) => Self::Speed(positive(factor)?),
            ("time", [_, _, ..]) => Self::Time(time_curve(&words)?),
            ("delay", [time]) => {
                let seconds = time.strip_suffix('s').map(number).transpose()?.map(Moment::Seconds);
                let moment =
                    if let Some(seconds) = seconds { seconds } else { Moment::Frames(number(time)?) };
                let (Moment::Frames(length) | Moment::Seconds(length)) = moment;
                if length < 0.0 {
                    return Err(wrong("the delay must be 0 or more"));
                }
                Self::Delay(moment)
            }
            ("still", []) => Self::Still(0),
            ("still", [frame]) => Self::Still(whole(frame, 0)?),
            ("smooth", [frames]) => Self::Smooth(whole(frames, 1)?),
            ("grow", [share]) => Self::Grow(positive(share)?),
            ("shrink", [share]) => Self::Grow(-positive(share)?),
            _ => {
                let forms = "move X Y; scale FACTOR [picture]; mirror [vertical]; rotate DEGREES [picture]; reverse; speed FACTOR; \
                             time 0:0 T:T 1:1; delay FRAMES or SECONDSs; still [FRAME]; smooth FRAMES; grow SHARE; shrink SHARE";
                let is_known = KNOWN.split(", ").any(|known| known == name);
                let what = if is_known { "takes other values" } else { "is no transform" };
                return Err(TransformError(format!("{name:?} {what}; write one of: {forms}")));
            }
        })
    }
}

/// `0:0 0.5:0.8 1:1`, both ascending.
fn time_curve(words: &[&str]) -> Result<Vec<(f64, f64)>, TransformError> {
    let wrong = || {
        TransformError(
            "write the curve as pairs of shares from 0 to 1, time:motion, both ascending: time 0:0 0.5:0.8 1:1".to_owned(),
        )
    };
    let share = |text: &str| text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong);
    let pair = |word: &&str| {
        let (time, motion) = word.split_once(':').ok_or_else(wrong)?;
        Ok((share(time)?, share(motion)?))
    };
    let pairs: Vec<(f64, f64)> = words.iter().map(pair).collect::<Result<_, _>>()?;
    let ascends = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    if ascends { Ok(pairs) } else { Err(wrong()) }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let of = |about: &About| if *about == About::Picture { " picture" } else { "" };
        match self {
            Self::Move(x, y) => write!(f, "move {x} {y}"),
            Self::Scale(across, down, about) => write!(f, "scale {across} {down}{}", of(about)),
            Self::Mirror { vertical } => f.write_str(if *vertical { "mirror vertical" } else { "mirror" }),
            Self::Rotate(degrees, about) => write!(f, "rotate {degrees}{}", of(about)),
            Self::Reverse => f.write_str("reverse"),
            Self::Speed(factor) => write!(f, "speed {factor}"),
            Self::Time(pairs) => {
                f.write_str("time")?;
                pairs.iter().try_for_each(|(time, motion)| write!(f, " {time}:{motion}"))
            }
            Self::Delay(Moment::Frames(frames)) => write!(f, "delay {frames}"),
            Self::Delay(Moment::Seconds(seconds)) => write!(f, "delay {seconds}s"),
            Self::Still(frame) => write!(f, "still {frame}"),
            Self::Smooth(frames) => write!(f, "smooth {frames}"),
            Self::Grow(share) if *share < 0.0 => write!(f, "shrink {}", -share),
            Self::Grow(share) => write!(f, "grow {share}"),
        }
    }
}

impl Motion {
    /// The motion after a change; `fps` is the video's.
    pub(crate) fn changed(&self, transform: &Transform, fps: f64) -> Self {
        let size = [self.width as f64, self.height as f64];
        let middle = size.map(|side| side / 2.0);
        let each = |put: &dyn Fn(&Placed) -> Placed| {
            self.with(self.frames.iter().map(|placed| placed.as_ref().map(put)).collect())
        };
        let last = self.frames.len().saturating_sub(1) as f64;
        let linear = |matrix: [f64; 4], about: About| {
            each(&|placed| {
                let centre = if about == About::Own { placed.middle().unwrap_or(middle) } else { middle };
                placed.then(&Affine::about(centre, matrix))
            })
        };
        match transform {
            Transform::Move(x, y) => {
                let by = Affine::moved([x * size[0], y * size[1]]);
                each(&|placed| placed.then(&by))
            }
            Transform::Scale(across, down, about) => linear([*across, 0.0, 0.0, *down], *about),
            Transform::Mirror { vertical: false } => linear([-1.0, 0.0, 0.0, 1.0], About::Picture),
            Transform::Mirror { vertical: true } => linear([1.0, 0.0, 0.0, -1.0], About::Picture),
            Transform::Rotate(degrees, about) => {
                let (sine, cosine) = degrees.to_radians().sin_cos();
                linear([cosine, -sine, sine, cosine], *about)
            }
            Transform::Reverse => self.with(self.frames.iter().rev().cloned().collect()),
            Transform::Speed(factor) => self.at_times(|frame| frame * factor),
            Transform::Time(pairs) => {
                let curve = Curve::new(pairs.clone(), Through::Monotone);
                self.at_times(|frame| curve.at(frame / last.max(1.0)) * last)
            }
            Transform::Delay(moment) => {
                let frames = match moment {
                    Moment::Frames(frames) => *frames,
                    Moment::Seconds(seconds) => seconds * fps,
                };
                self.at_times(|frame| frame - frames)
            }
            Transform::Still(frame) => self.at_times(|_| *frame as f64),
            Transform::Smooth(frames) => self.smoothed(*frames),
            Transform::Grow(share) => {
                let pixels = share * size[0];
                each(&|placed| Placed { grown: placed.grown + pixels, ..placed.clone() })
            }
        }
    }

    fn with(&self, frames: Vec<Option<Placed>>) -> Self {
        Self { frames, ..*self }
    }

    /// Each frame as it was at another time, in frames; before the first and after the last it stands still.
    fn at_times(&self, time: impl Fn(f64) -> f64) -> Self {
        let last = self.frames.len().saturating_sub(1);
        let at = |frame: usize| {
            let time = time(frame as f64).clamp(0.0, last as f64);
            let (before, part) = (time.floor() as usize, time.fract());
            between(self.frames[before].as_ref(), self.frames[(before + 1).min(last)].as_ref(), part)
        };
        self.with((0..self.frames.len()).map(at).collect())
    }

    /// Middle and size of each frame averaged over a window that is the same to both sides.
    fn smoothed(&self, window: usize) -> Self {
        let known: Vec<Option<(Point, f64)>> =
            self.frames.iter().map(|placed| placed.as_ref().and_then(Placed::middle_and_area)).collect();
        let last = known.len().saturating_sub(1);
        let at = |frame: usize| {
            let (placed, (middle, area)) = (self.frames[frame].as_ref()?, known[frame]?);
            let reach = (window / 2).min(frame).min(last - frame);
            let near: Vec<(Point, f64)> =
                known[frame - reach..=frame + reach].iter().flatten().copied().collect();
            let mean = |value: &dyn Fn(&(Point, f64)) -> f64| {
                near.iter().map(value).sum::<f64>() / near.len() as f64
            };
            let factor = mean(&|(_, area)| area.sqrt()) / area.sqrt();
            let [x, y] = [0, 1].map(|axis| mean(&|(middle, _)| middle[axis]) - middle[axis]);
            let scaled = placed.then(&Affine::about(middle, [factor, 0.0, 0.0, factor]));
            Some(scaled.then(&Affine::moved([x, y])))
        };
        self.with((0..known.len()).map(at).collect())
    }
}

/// A share of the way from one frame to the next: polygons of as many corners are blended, of anything else the nearer one is
/// moved to the middle between.
fn between(one: Option<&Placed>, other: Option<&Placed>, part: f64) -> Option<Placed> {
    let nearer = if part < 0.5 { one } else { other };
    let (Some(one), Some(other)) = (one, other) else { return nearer.cloned() };
    if part == 0.0 {
        return Some(one.clone());
    }
    let mix = |from: f64, to: f64| from + (to - from) * part;
    if let (Some(from), Some(to)) = (one.corners(), other.corners())
        && from.len() == to.len()
    {
        let corners = from.iter().zip(&to).map(|(from, to)| [mix(from[0], to[0]), mix(from[1], to[1])]);
        let blended = Placed::new(Shape::Polygon(corners.collect()));
        return Some(Placed { grown: mix(one.grown, other.grown), ..blended });
    }
    let (nearer, from, to) = (nearer?, one.middle()?, other.middle()?);
    let middle = nearer.middle()?;
    Some(nearer.then(&Affine::moved([mix(from[0], to[0]) - middle[0], mix(from[1], to[1]) - middle[1]])))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are exact")]
mod tests {
    use super::super::track::Track;
    use super::*;

    /// A box of 2×2 pixels that goes from (2, 4) to (6, 4) in a picture of 8×8 in five frames.
    fn motion() -> Motion {
        let table = "frame,x,y,width,height,shape\n0,0.25,0.5,0.25,0.25,box\n4,0.75,0.5,0.25,0.25,box";
        Track::parse(table).unwrap().motion(5, (8, 8), 4.0)
    }

    /// The same as pictures.
    fn pictures() -> Motion {
        let motion = motion();
        let masks = (0..5).map(|frame| motion.mask(frame)).collect();
        Motion::of_pictures(masks, 8, 8, true)
    }

    fn path(motion: &Motion) -> Vec<Option<[f64; 2]>> {
        let middle = |placed: &Option<Placed>| placed.as_ref()?.middle();
        let rounded = |at: f64| (at * 1000.0).round() / 1000.0;
        motion.frames.iter().map(|placed| middle(placed).map(|[x, y]| [rounded(x), rounded(y)])).collect()
    }

    fn changed(text: &str) -> Vec<[f64; 2]> {
        let [one, other] =
            [motion(), pictures()].map(|motion| path(&motion.changed(&text.parse().unwrap(), 4.0)));
        assert_eq!(one, other, "{text}: pictures and key frames go alike");
        one.into_iter().map(Option::unwrap).collect()
    }

    #[test]
    fn a_motion_is_changed_in_place() {
        assert_eq!(changed("move 0.125 -0.25")[0], [3.0, 2.0]);
        assert_eq!(changed("mirror"), [[6.0, 4.0], [5.0, 4.0], [4.0, 4.0], [3.0, 4.0], [2.0, 4.0]]);
        assert_eq!(changed("mirror vertical")[1], [3.0, 4.0]);
        assert_eq!(changed("scale 0.5 picture")[0], [3.0, 4.0]);
        assert_eq!(changed("scale 2")[4], [6.0, 4.0]);
        assert_eq!(changed("rotate 90 picture")[0], [4.0, 2.0]);
        let area = |text: &str| {
            let changed = motion().changed(&text.parse().unwrap(), 4.0);
            changed.mask(2).iter().sum::<f32>()
        };
        assert_eq!((area("scale 2"), area("scale 2 1"), area("grow 0.125")), (16.0, 8.0, 12.0));
        assert_eq!(area("rotate 90"), 4.0);
    }

    #[test]
    fn a_motion_is_changed_in_time() {
        let xs = |text: &str| changed(text).iter().map(|[x, _]| *x).collect::<Vec<_>>();
        assert_eq!(xs("reverse"), [6.0, 5.0, 4.0, 3.0, 2.0]);
        assert_eq!(xs("speed 2"), [2.0, 4.0, 6.0, 6.0, 6.0]);
        assert_eq!(xs("speed 0.5"), [2.0, 2.5, 3.0, 3.5, 4.0]);
        assert_eq!(xs("delay 2"), [2.0, 2.0, 2.0, 3.0, 4.0]);
        assert_eq!(xs("delay 0.25s"), [2.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(xs("still 3"), [5.0; 5]);
        assert_eq!(xs("time 0:0 0.5:1 1:1")[2..], [6.0; 3]);
        assert_eq!(xs("smooth 3"), [2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn smoothing_takes_jumps_away_and_keeps_the_ends() {
        let jumps = motion();
        let mut frames = jumps.frames.clone();
        frames[2] = frames[2].as_ref().map(|placed| placed.then(&Affine::moved([0.0, 3.0])));
        let smooth = jumps.with(frames).changed(&Transform::Smooth(3), 4.0);
        let ys: Vec<f64> = path(&smooth).into_iter().map(|middle| middle.unwrap()[1]).collect();
        assert_eq!(ys, [4.0, 5.0, 5.0, 5.0, 4.0]);
    }

    #[test]
    fn what_leaves_the_picture_is_empty_there_and_comes_back() {
        let away = motion().changed(&"move 0.5 0".parse().unwrap(), 4.0);
        let covered: Vec<f32> = (0..5).map(|frame| away.mask(frame).iter().sum()).collect();
        assert_eq!(covered, [4.0, 4.0, 2.0, 0.0, 0.0]);
        let back = away.changed(&"move -0.5 0".parse().unwrap(), 4.0);
        assert_eq!(path(&back), path(&motion()));
    }

    #[test]
    fn transforms_are_written_as_they_are_read() {
        for text in [
            "move 0.1 -0.2",
            "scale 0.5 1.5 picture",
            "mirror",
            "mirror vertical",
            "rotate -30",
            "reverse",
            "speed 1.5",
            "time 0:0 0.5:0.8 1:1",
            "delay 3",
            "delay 0.5s",
            "still 2",
            "smooth 5",
            "grow 0.05",
            "shrink 0.05",
        ] {
            assert_eq!(text.parse::<Transform>().unwrap().to_string(), text);
        }
        for (text, reason) in [
            ("", "is no transform"),
            ("shake 3", "\"shake\" is no transform"),
            ("move 1", "takes other values"),
            ("move a b", "\"a\" is no number"),
            ("scale 0", "over 0"),
            ("delay -1", "0 or more"),
            ("time 0:0 2:1", "from 0 to 1"),
            ("time 0:1 1:0", "ascending"),
            ("smooth 0", "from 1 on"),
        ] {
            let found = text.parse::<Transform>().unwrap_err().to_string();
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
