//! Key frames of a box or an ellipse, from JSON or a table (CSV), and the motion that they make.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Motion;
use super::curve::{Curve, Through};
use super::shape::{Placed, Point, Shape};

/// Corners of the polygon that stands for an ellipse.
const CORNERS: usize = 64;

/// The least time between two key frames, in frames or seconds: below, the path's slope has no bounds.
const SHORTEST_STEP: f64 = 1e-6;

/// The largest number of key frames.
const MOST_KEYS: usize = 100_000;

/// Where a subject is, as key frames of a box or an ellipse. Between them it moves smoothly; before the first and after the
/// last it stands still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// What the subject covers
    #[serde(default)]
    pub shape: Outline,
    /// How it goes from one key frame to the next
    #[serde(default)]
    pub interpolation: Interpolation,
    /// The key frames, in the order of time, all of them with `frame` or all with `seconds`
    pub keys: Vec<Key>,
}

/// The outline of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outline {
    /// An ellipse in the box.
    #[default]
    Ellipse,
    /// The whole box.
    Box,
}

/// How a subject goes from one key frame to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// On a smooth path; size and rotation never go beyond those of the key frames.
    #[default]
    Smooth,
    /// Straight on.
    Linear,
}

/// Where a subject is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// When: the frame, 0 for the first
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<f64>,
    /// When: seconds from the first frame
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Its centre, in fractions of the picture's width, 0 at the left
    pub x: f64,
    /// Its centre, in fractions of the picture's height, 0 at the top
    pub y: f64,
    /// Its width, in fractions of the picture's
    pub width: f64,
    /// Its height, in fractions of the picture's
    pub height: f64,
    /// By how many degrees it is turned, clockwise
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rotation: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Track {
    /// Reads JSON, or a table.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with('[') {
            return Err("as JSON it is wrong: it begins with `[`; write {\"keys\": [...]}".to_owned());
        }
        let track: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| format!("as JSON it is wrong: {error}"))?
        } else {
            of_table(text)?
        };
        track.check()?;
        Ok(track)
    }

    /// As a table of its key frames.
    pub fn to_table(&self) -> String {
        let is_timed = self.keys.iter().any(|key| key.seconds.is_some());
        let time = if is_timed { "seconds" } else { "frame" };
        let mut table = format!("{time},x,y,width,height,rotation,shape,interpolation\n");
        let (shape, interpolation) = (self.shape.name(), self.interpolation.name());
        for key in &self.keys {
            let Key { x, y, width, height, rotation, .. } = key;
            let time = key.time().unwrap_or_default();
            let _ = writeln!(
                table,
                "{time},{x:.4},{y:.4},{width:.4},{height:.4},{rotation},{shape},{interpolation}"
            );
        }
        table
    }

    fn check(&self) -> Result<(), String> {
        let Self { keys, .. } = self;
        if keys.is_empty() {
            return Err("it has no key frame".to_owned());
        }
        if keys.len() > MOST_KEYS {
            return Err(format!("it has more than {MOST_KEYS} key frames"));
        }
        let mut before = f64::NEG_INFINITY;
        for (index, key) in keys.iter().enumerate() {
            let wrong = |what: &str| Err(format!("key frame {}: {what}", index + 1));
            let Some(time) = key.time() else { return wrong("give either `frame` or `seconds`") };
            if key.seconds.is_some() != keys[0].seconds.is_some() {
                return wrong("all key frames must have `frame`, or all `seconds`");
            }
            let values = [time, key.x, key.y, key.width, key.height, key.rotation];
            if values.iter().any(|value| !value.is_finite() || value.abs() > 1e6) {
                return wrong("a value is out of range");
            }
            if ![key.width, key.height].iter().all(|side| *side > 0.0 && *side <= 10.0) {
                return wrong(
                    "`width` and `height` must be over 0 and at most 10, in fractions of the picture's",
                );
            }
            if time < before + SHORTEST_STEP {
                return wrong("it is not later than the one before");
            }
            before = time;
        }
        Ok(())
    }

    /// The motion in so many frames of a video of this size.
    pub(crate) fn motion(&self, frames: usize, (width, height): (usize, usize), fps: f64) -> Motion {
        let (path, rest) = match self.interpolation {
            Interpolation::Smooth => (Through::Smooth, Through::Monotone),
            Interpolation::Linear => (Through::Straight, Through::Straight),
        };
        let curve = |of: fn(&Key) -> f64, through| {
            Curve::new(
                self.keys.iter().map(|key| (key.time().unwrap_or_default(), of(key))).collect(),
                through,
            )
        };
        let (x, y) = (curve(|key| key.x, path), curve(|key| key.y, path));
        let (across, down) = (curve(|key| key.width, rest), curve(|key| key.height, rest));
        let rotation = curve(|key| key.rotation, rest);
        let is_timed = self.keys.iter().any(|key| key.seconds.is_some());
        let size = [width as f64, height as f64];
        let place = |frame: usize| {
            let time = if is_timed { frame as f64 / fps } else { frame as f64 };
            let half = [across.at(time) * size[0] / 2.0, down.at(time) * size[1] / 2.0];
            let centre = [x.at(time) * size[0], y.at(time) * size[1]];
            let (sine, cosine) = rotation.at(time).to_radians().sin_cos();
            let put = |[x, y]: Point| {
                [
                    centre[0] + x * half[0] * cosine - y * half[1] * sine,
                    centre[1] + x * half[0] * sine + y * half[1] * cosine,
                ]
            };
            Some(Placed::new(Shape::Polygon(self.shape.corners().into_iter().map(put).collect())))
        };
        Motion { frames: (0..frames).map(place).collect(), width, height }
    }

    /// The key frames that a motion's masks make, one for every frame in which there is one: the ellipse, or the box, of the
    /// same middle and spread.
    ///
    /// # Errors
    /// Where every mask is empty.
    pub(crate) fn of(motion: &Motion, shape: Outline) -> Result<Self, String> {
        let size = [motion.width as f64, motion.height as f64];
        let key = |frame: usize| {
            let mask = motion.mask(frame);
            let (mut total, mut sum, mut squares) = (0.0, [0.0; 2], [0.0; 2]);
            for (index, value) in mask.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                let place = [index % motion.width, index / motion.width].map(|at| at as f64 + 0.5);
                let value = f64::from(*value);
                total += value;
                for axis in 0..2 {
                    sum[axis] += place[axis] * value;
                    squares[axis] += place[axis] * place[axis] * value;
                }
            }
            if total == 0.0 {
                return None;
            }
            let middle = sum.map(|sum| sum / total);
            // The variance of an ellipse is a sixteenth of its squared diameter, that of a box a twelfth of its side's.
            let spread = if shape == Outline::Box { 12.0 } else { 16.0 };
            let side = |axis: usize| {
                let variance = squares[axis] / total - middle[axis] * middle[axis];
                (variance * spread).max(1.0).sqrt() / size[axis]
            };
            let round = |value: f64| (value * 1e4).round() / 1e4;
            Some(Key {
                frame: Some(frame as f64),
                seconds: None,
                x: round(middle[0] / size[0]),
                y: round(middle[1] / size[1]),
                width: round(side(0)),
                height: round(side(1)),
                rotation: 0.0,
            })
        };
        let keys: Vec<Key> = (0..motion.frames.len()).filter_map(key).collect();
        if keys.is_empty() {
            return Err("every mask is empty".to_owned());
        }
        Ok(Self { shape, interpolation: Interpolation::Smooth, keys })
    }
}

impl Key {
    /// None where it has no time, or two.
    fn time(&self) -> Option<f64> {
        self.frame.xor(self.seconds)
    }
}

impl Outline {
    fn name(self) -> &'static str {
        if self == Self::Box { "box" } else { "ellipse" }
    }

    /// Of half axes of 1 about 0.
    fn corners(self) -> Vec<Point> {
        match self {
            Self::Box => vec![[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]],
            Self::Ellipse => {
                let corner = |index| {
                    let (sine, cosine) = (TAU * index as f64 / CORNERS as f64).sin_cos();
                    [cosine, sine]
                };
                (0..CORNERS).map(corner).collect()
            }
        }
    }
}

impl Interpolation {
    fn name(self) -> &'static str {
        if self == Self::Linear { "linear" } else { "smooth" }
    }
}

/// A table with the names of its columns in the first line: a time, x, y, width, height, and optionally rotation, shape and
/// interpolation. Empty lines and those that begin with # are left out.
fn of_table(text: &str) -> Result<Track, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let cells = |line: &'_ str| -> Vec<String> {
        line.split([',', ';', '\t']).map(|cell| cell.trim().trim_matches('"').to_lowercase()).collect()
    };
    let head = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let column = |name: &str| head.iter().position(|other| other == name);
    let known = ["frame", "seconds", "x", "y", "width", "height", "rotation", "shape", "interpolation"];
    if let Some(other) = head.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("its first line has the column {other:?}; known are {}", known.join(", ")));
    }
    if let Some(missing) = ["x", "y", "width", "height"].into_iter().find(|name| column(name).is_none()) {
        return Err(format!("its first line, which names the columns, has no `{missing}`"));
    }
    if let Some(twice) =
        head.iter().enumerate().find(|(column, name)| head[..*column].contains(name)).map(|(_, name)| name)
    {
        return Err(format!("its first line has the column {twice:?} twice"));
    }
    let mut track =
        Track { shape: Outline::default(), interpolation: Interpolation::default(), keys: Vec::new() };
    let (mut shape, mut interpolation) = (None::<String>, None::<String>);
    for (number, line) in lines {
        let cells = cells(line);
        if cells.len() > head.len() && cells[head.len()..].iter().any(|cell| !cell.is_empty()) {
            return Err(format!(
                "line {}: it has {} cells, and the first line {} columns; write numbers with a point: 0.5",
                number + 1,
                cells.len(),
                head.len()
            ));
        }
        let cell = |name: &str| {
            column(name)
                .and_then(|column| cells.get(column))
                .map(String::as_str)
                .filter(|cell| !cell.is_empty())
        };
        let wrong = |what: String| format!("line {}: {what}", number + 1);
        let value = |name: &str| -> Result<Option<f64>, String> {
            let parsed =
                |cell: &str| cell.parse().map_err(|_| wrong(format!("`{name}` is {cell:?}, no number")));
            cell(name).map(parsed).transpose()
        };
        let needed = |name: &str| value(name)?.ok_or_else(|| wrong(format!("`{name}` is missing")));
        for (name, said) in [("shape", &mut shape), ("interpolation", &mut interpolation)] {
            let Some(word) = cell(name) else { continue };
            if said.get_or_insert_with(|| word.to_owned()) != word {
                return Err(wrong(format!("`{name}` is not that of the lines before; a track has one")));
            }
        }
        match cell("shape") {
            Some("box") => track.shape = Outline::Box,
            Some("ellipse") | None => {}
            Some(other) => return Err(wrong(format!("`shape` is {other:?}, not ellipse or box"))),
        }
        match cell("interpolation") {
            Some("linear") => track.interpolation = Interpolation::Linear,
            Some("smooth") | None => {}
            Some(other) => return Err(wrong(format!("`interpolation` is {other:?}, not smooth or linear"))),
        }
        track.keys.push(Key {
            frame: value("frame")?,
            seconds: value("seconds")?,
            x: needed("x")?,
            y: needed("y")?,
            width: needed("width")?,
            height: needed("height")?,
            rotation: value("rotation")?.unwrap_or(0.0),
        });
    }
    Ok(track)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are exact")]
mod tests {
    use super::*;

    const TABLE: &str =
        "frame,x,y,width,height,shape\n# a comment\n0,0.25,0.5,0.5,0.5,box\n4,0.75,0.5,0.5,0.5,box\n";

    #[test]
    fn json_and_a_table_say_the_same() {
        let json = r#"{"shape": "box", "keys": [
            {"frame": 0, "x": 0.25, "y": 0.5, "width": 0.5, "height": 0.5},
            {"frame": 4, "x": 0.75, "y": 0.5, "width": 0.5, "height": 0.5}]}"#;
        let track = Track::parse(TABLE).unwrap();
        assert_eq!(track, Track::parse(json).unwrap());
        assert_eq!(Track::parse(&track.to_table()).unwrap(), track);
        assert_eq!(Track::parse(&serde_json::to_string(&track).unwrap()).unwrap(), track);
    }

    #[test]
    fn the_shape_moves_from_key_to_key_in_frames_or_seconds() {
        let track = Track::parse(TABLE).unwrap();
        let middles = |track: &Track, fps| -> Vec<f64> {
            let motion = track.motion(5, (8, 8), fps);
            motion.frames.iter().map(|placed| placed.as_ref().unwrap().middle().unwrap()[0]).collect()
        };
        assert_eq!(middles(&track, 8.0), [2.0, 3.0, 4.0, 5.0, 6.0]);
        let timed = Track::parse("seconds,x,y,width,height\n0,0.25,0.5,0.5,0.5\n1,0.75,0.5,0.5,0.5").unwrap();
        for (found, expected) in middles(&timed, 4.0).iter().zip([2.0, 3.0, 4.0, 5.0, 6.0]) {
            assert!((found - expected).abs() < 1e-9);
        }
        let covered = track.motion(1, (8, 8), 8.0).mask(0);
        assert_eq!(covered.iter().sum::<f32>(), 16.0);
    }

    #[test]
    fn a_mask_becomes_a_track_of_the_same_masks() {
        for (shape, rows) in [(Outline::Box, 0.3), (Outline::Ellipse, 0.4)] {
            let key = |frame, x| Key {
                frame: Some(frame),
                seconds: None,
                x,
                y: 0.5,
                width: 0.25,
                height: rows,
                rotation: 0.0,
            };
            let track = Track {
                shape,
                interpolation: Interpolation::Linear,
                keys: vec![key(0.0, 0.3), key(3.0, 0.7)],
            };
            let motion = track.motion(4, (96, 64), 8.0);
            let made = Track::of(&motion, shape).unwrap();
            assert_eq!(made.keys.len(), 4);
            let again = made.motion(4, (96, 64), 8.0);
            for frame in 0..4 {
                let (one, other) = (motion.mask(frame), again.mask(frame));
                let both: f32 = one.iter().zip(&other).map(|(a, b)| a.min(*b)).sum();
                let either: f32 = one.iter().zip(&other).map(|(a, b)| a.max(*b)).sum();
                assert!(both / either > 0.93, "{shape:?} {}", both / either);
            }
        }
        assert!(Track::of(&Motion { frames: vec![None], width: 4, height: 4 }, Outline::Box).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("", "no `x`"),
            ("frame,x,y,width\n", "no `height`"),
            ("frame,x,y,width,height,colour\n", "\"colour\""),
            ("frame,x,y,width,height\n", "no key frame"),
            ("frame,x,y,width,height\n0,a,0,1,1", "line 2: `x` is \"a\""),
            ("frame,x,y,width,height\n0,0,0,1", "line 2: `height` is missing"),
            ("frame,x,y,width,height\n,0,0,1,1", "either `frame` or `seconds`"),
            ("frame,seconds,x,y,width,height\n0,0,0,0,1,1", "either `frame` or `seconds`"),
            ("frame,seconds,x,y,width,height\n0,,0,0,1,1\n,1,0,0,1,1", "all `seconds`"),
            ("frame,x,y,width,height\n1,0,0,1,1\n1,0,0,1,1", "key frame 2: it is not later"),
            ("frame,x,y,width,height\n1,0,0,0,1", "over 0"),
            ("frame,x,y,width,height\n1,0,inf,1,1", "out of range"),
            ("frame,x,y,width,height,shape\n1,0,0,1,1,star", "\"star\""),
            ("frame,x,y,width,height,interpolation\n1,0,0,1,1,no", "\"no\""),
            ("{\"keys\": 3}", "as JSON it is wrong"),
            ("{\"keys\": [], \"more\": 1}", "unknown field"),
        ] {
            let found = Track::parse(text).unwrap_err();
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
