//! What ffmpeg tells of the frames that pass through it: the lines of its filter
//! [showinfo](https://ffmpeg.org/ffmpeg-filters.html#showinfo).

use crate::ffmpeg::level;

/// How long a tick lasts: a fraction of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) numerator: u32,
    pub(super) denominator: u32,
}

impl Tick {
    pub(super) fn seconds(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// A time in these ticks, of one in `other` ticks.
    pub(super) fn of(self, time: i64, other: Self) -> i64 {
        if self == other {
            return time;
        }
        let numerator = i128::from(time) * i128::from(other.numerator) * i128::from(self.denominator);
        let denominator = i128::from(other.denominator) * i128::from(self.numerator);
        i64::try_from(rounded(numerator, denominator)).unwrap_or(time)
    }
}

/// The nearest whole number to a fraction over 0, halves away from zero, as ffmpeg rounds.
pub(super) fn rounded(numerator: i128, denominator: i128) -> i128 {
    let denominator = denominator.max(1);
    let half = (2 * numerator.abs() + denominator) / (2 * denominator);
    if numerator < 0 { -half } else { half }
}

/// Where the frame is that is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all filters, as it was decoded.
    In,
    /// Behind them, as it is given.
    Out,
}

/// A frame that passed by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    /// Its number since the filters were set up.
    pub(super) number: u64,
    /// When it is shown, in ticks.
    pub(super) time: Option<i64>,
    /// How long, in ticks, where that is known.
    pub(super) duration: Option<i64>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_interlaced: bool,
    pub(super) is_key: bool,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Showinfo {
    /// The ticks that times are counted in, and the frame rate, if one is known.
    Ticks(Place, Tick, Option<f64>),
    /// A frame.
    Frame(Place, Frame),
    /// The colours of the decoded frame that was described last.
    Colours(Colours),
}

/// What a frame says about its colours; names as ffmpeg has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Colours {
    pub(super) matrix: String,
    pub(super) primaries: String,
    pub(super) transfer: String,
}

impl Colours {
    /// The name of a transfer function of HDR.
    pub(super) fn hdr(&self) -> Option<&'static str> {
        match self.transfer.as_str() {
            "smpte2084" => Some("PQ"),
            "arib-std-b67" => Some("HLG"),
            _ => None,
        }
    }
}

/// The filter that tells, at a place.
pub(super) fn filter(place: Place) -> &'static str {
    match place {
        Place::In => "showinfo@in=checksum=0",
        Place::Out => "showinfo@out=checksum=0",
    }
}

/// What a line of a telling command says, if it is one of this filter.
pub(super) fn parse(line: &str) -> Option<Showinfo> {
    // The filter's name may stand behind that of its graph.
    let (graph, filter) = line.split_once("[showinfo@")?;
    let place = match filter {
        rest if rest.starts_with("in @ ") => Place::In,
        rest if rest.starts_with("out @ ") => Place::Out,
        _ => return None,
    };
    if !graph.is_empty() && !graph.ends_with("] ") {
        return None;
    }
    let (_, text) = level(line)?;
    if let Some(rest) = text.strip_prefix("config in time_base: ") {
        let (base, rate) = rest.split_once(", frame_rate: ")?;
        let (numerator, denominator) = fraction(base)?;
        let rate =
            fraction(rate).map(|(numerator, denominator)| f64::from(numerator) / f64::from(denominator));
        return Some(Showinfo::Ticks(place, Tick { numerator, denominator }, rate));
    }
    if text.starts_with("n:") {
        let (width, height) = super::listing::pair(value(text, " s:")?, 'x')?;
        let number = |key| value(text, key).and_then(|value| value.parse::<i64>().ok());
        return Some(Showinfo::Frame(
            place,
            Frame {
                number: value(text, "n:")?.parse().ok()?,
                time: number(" pts:"),
                duration: number(" duration:").filter(|ticks| *ticks > 0),
                width,
                height,
                is_interlaced: matches!(value(text, " i:"), Some("T" | "B")),
                is_key: value(text, " iskey:") == Some("1"),
            },
        ));
    }
    if place == Place::In && text.contains("color_trc:") {
        let word = |key| value(text, key).unwrap_or_default().to_owned();
        return Some(Showinfo::Colours(Colours {
            matrix: word("color_space:"),
            primaries: word("color_primaries:"),
            transfer: word("color_trc:"),
        }));
    }
    None
}

/// The word after a key, spaces between them or not.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split_whitespace().next()
}

/// Two numbers over 0.
fn fraction(text: &str) -> Option<(u32, u32)> {
    super::listing::pair(text, '/').filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let config = "[showinfo@in @ 0x7f49] [info] config in time_base: 1/1200000, frame_rate: 25/1";
        let tick = Tick { numerator: 1, denominator: 1_200_000 };
        assert_eq!(parse(config), Some(Showinfo::Ticks(Place::In, tick, Some(25.0))));
        let frame = "[showinfo@out @ 0x7f49] [info] n:   7 pts: 336000 pts_time:0.28    duration:  48000 \
                     duration_time:0.04    fmt:yuv420p cl:left sar:1/1 s:64x48 i:T iskey:0 type:P";
        let Some(Showinfo::Frame(Place::Out, frame)) = parse(frame) else { panic!("no frame") };
        assert_eq!((frame.number, frame.time, frame.duration), (7, Some(336_000), Some(48_000)));
        assert_eq!((frame.width, frame.height), (64, 48));
        assert!(frame.is_interlaced && !frame.is_key);
        let old = "[showinfo@in @ 0x7f49] [info] n:   0 pts:  NOPTS pts_time:NOPTS   pos:    48 fmt:yuv420p sar:1/1 \
                   s:64x64 i:P iskey:1 type:I";
        let Some(Showinfo::Frame(Place::In, frame)) = parse(old) else { panic!("no frame") };
        assert_eq!((frame.time, frame.duration, frame.is_key), (None, None, true));
        let colours = "[showinfo@in @ 0x7f49] [info] color_range:tv color_space:bt2020nc color_primaries:bt2020 \
                       color_trc:smpte2084";
        let Some(Showinfo::Colours(colours)) = parse(colours) else { panic!("no colours") };
        assert_eq!((colours.hdr(), colours.matrix.as_str()), (Some("PQ"), "bt2020nc"));
        assert_eq!(parse("[h264 @ 0x1] [error] n:0 s:1x1"), None);
        assert_eq!(parse(&format!("[fc#0 @ 0x1] {config}")), parse(config));
        assert_eq!(parse("[showinfo@in @ 0x1] [info] config out time_base: 0/0, frame_rate: 0/0"), None);
    }

    #[test]
    fn ticks_are_converted() {
        let (fine, coarse) =
            (Tick { numerator: 1, denominator: 1000 }, Tick { numerator: 1, denominator: 30 });
        assert_eq!(fine.of(2, coarse), 67);
        assert_eq!(coarse.of(67, fine), 2);
        assert_eq!(fine.of(-1, coarse), -33);
        assert_eq!(rounded(5, 2), 3);
        assert_eq!(rounded(-5, 2), -3);
    }
}
