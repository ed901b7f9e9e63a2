//! What ffmpeg says of a file that it opens: its format, its length and its streams.

use crate::ffmpeg::level;

/// What is known of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Dump {
    /// The names of its format, such as `mov,mp4,m4a,3gp,3g2,mj2`; empty when it was not opened.
    pub(super) format: String,
    /// Its length in seconds, where the format tells.
    pub(super) seconds: Option<f64>,
    /// Its video streams, without covers and thumbnails.
    pub(super) streams: Vec<Stream>,
    /// The place of the first video stream that is no cover: what ffmpeg takes for `0:V:0`.
    pub(super) first_video: Option<usize>,
    /// Whether the description of the file is over.
    over: bool,
    /// Whether the length is a guess.
    guessed: bool,
    /// Whether the last stream of the description is among `streams`.
    in_stream: bool,
}

/// A video stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stream {
    /// Its place among all streams of the file.
    pub(super) index: usize,
    /// The name of its codec.
    pub(super) codec: String,
    /// Whether it is to be taken unless another one is requested.
    is_default: bool,
    /// Whether there is a second picture in it, with the opacity.
    pub(super) has_opacity: bool,
    /// Which field of its frames is shown first, as ffmpeg's filter `setfield` has it, where the file says that there are
    /// two of them and the codec does not.
    pub(super) first_field: Option<&'static str>,
}

impl Dump {
    /// Takes in a line of a telling command.
    pub(super) fn hear(&mut self, line: &str) {
        let Some((level, text)) = level(line) else { return };
        if level == "warning" && text.starts_with("Estimating duration from bitrate") {
            (self.guessed, self.seconds) = (true, None);
        }
        if level != "info" || self.over {
            return;
        }
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("Input #0, ") {
            rest.split(", from ").next().unwrap_or_default().clone_into(&mut self.format);
        } else if text.starts_with("Stream mapping:") || text.starts_with("Output #") {
            self.over = true;
        } else if let Some(rest) = text.strip_prefix("Duration: ") {
            self.seconds = rest.split(',').next().and_then(seconds).filter(|_| !self.guessed);
        } else if let Some(rest) = text.strip_prefix("Stream #0:") {
            let stream = stream(rest);
            if let Some(index) = index_of_video(rest).filter(|_| !rest.contains("(attached pic)")) {
                self.first_video = Some(self.first_video.map_or(index, |first| first.min(index)));
            }
            self.in_stream = stream.is_some();
            self.streams.extend(stream);
        } else if let Some((key, value)) = text.split_once(':') {
            let opacity = key.trim().eq_ignore_ascii_case("alpha_mode") && value.trim() == "1";
            if let Some(stream) = self.streams.last_mut().filter(|_| opacity && self.in_stream) {
                stream.has_opacity = true;
            }
        }
    }

    /// The stream to read: the first one that the file marks as its default, else the first one.
    pub(super) fn chosen(&self) -> Option<&Stream> {
        let first = |streams: &mut dyn Iterator<Item = &'_ Stream>| streams.map(|stream| stream.index).min();
        let index = first(&mut self.streams.iter().filter(|stream| stream.is_default))
            .or_else(|| first(&mut self.streams.iter()))?;
        self.streams.iter().find(|stream| stream.index == index)
    }

    /// Whether ffmpeg finds any time in this format exactly, by an index of absolute times.
    pub(super) fn seeks_exactly(&self) -> bool {
        self.format.split(',').any(|name| matches!(name, "mov" | "mp4" | "matroska" | "webm"))
    }
}

/// The place of a video stream, of `0[0x1](und): Video: h264 (High), ... (default)`.
fn index_of_video(text: &str) -> Option<usize> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (place, _) = text.split_once(": Video: ")?;
    text[..digits].parse().ok().filter(|_| !place.contains(' '))
}

/// A video stream that is no picture beside a film.
fn stream(text: &str) -> Option<Stream> {
    let index = index_of_video(text)?;
    let (_, what) = text.split_once(": Video: ")?;
    let is_picture = ["(attached pic)", "(timed thumbnails)"].iter().any(|flag| what.contains(flag));
    (!is_picture).then_some(())?;
    let codec = what.split([' ', ',']).next()?.to_owned();
    Some(Stream {
        index,
        first_field: first_field(what).filter(|_| !TELLS_FIELDS.contains(&codec.as_str())),
        codec,
        is_default: what.contains("(default)"),
        has_opacity: false,
    })
}

/// Codecs whose frames say by themselves whether they are interlaced.
const TELLS_FIELDS: [&str; 14] = [
    "h264",
    "hevc",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "vc1",
    "wmv3",
    "prores",
    "dvvideo",
    "dnxhd",
    "ffv1",
    "cavs",
    "av1",
    "vp9",
];

/// The field that is shown first. Where it is the one that is coded second, ffmpeg says `swapped`.
fn first_field(what: &str) -> Option<&'static str> {
    let says = |word: &str| what.contains(word);
    if says("top first") || says("bottom coded first (swapped)") {
        Some("tff")
    } else if says("bottom first") || says("top coded first (swapped)") {
        Some("bff")
    } else {
        None
    }
}

/// `01:02:03.45` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut parts = text.trim().splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(lines: &str) -> Dump {
        let mut dump = Dump::default();
        for line in lines.lines() {
            dump.hear(line);
        }
        dump
    }

    #[test]
    fn a_description_is_understood() {
        let found = dump(
            "[info] Input #0, matroska,webm, from 'file:a.webm':\n[info]   Duration: 00:01:02.50, start: 0.000000\n\
             [info]   Stream #0:0: Video: mjpeg (Baseline), yuvj420p, 9x9 (default) (attached pic)\n\
             [info]       Metadata:\n[info]         alpha_mode      : 1\n\
             [info]   Stream #0:1(eng): Audio: opus (default)\n\
             [info]   Stream #0:2(eng): Video: h264 (High), yuv420p, 64x64\n\
             [info]   Stream #0:3[0x4](eng): Video: vp9 (Profile 0), yuv420p(tv), 64x64 (default)\n\
             [info]       Metadata:\n[info]         alpha_mode      : 1\n\
             [info] Stream mapping:\n[info]   Stream #0:9: Video: h264 (default)\n",
        );
        assert_eq!((found.format.as_str(), found.seconds), ("matroska,webm", Some(62.5)));
        assert_eq!(found.streams.iter().map(|stream| stream.index).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(found.first_video, Some(2));
        let chosen = found.chosen().unwrap();
        assert_eq!((chosen.index, chosen.codec.as_str(), chosen.has_opacity), (3, "vp9", true));
        assert!(found.seeks_exactly());
    }

    #[test]
    fn fields_that_only_the_file_tells_of_are_seen() {
        let field = |what: &str| stream(&format!("0: Video: {what}, 64x64")).unwrap().first_field;
        assert_eq!(field("huffyuv (HFYU), yuv422p(tv, bt709, top first)"), Some("tff"));
        assert_eq!(field("v210, yuv422p10le(top coded first (swapped))"), Some("bff"));
        assert_eq!(field("huffyuv, yuv422p(progressive)"), None);
        assert_eq!(field("h264 (High), yuv420p(top first)"), None);
    }

    #[test]
    fn what_is_not_known_is_left_open() {
        let found = dump(
            "[mp3 @ 0x1] [warning] Estimating duration from bitrate, this may be inaccurate\n\
             [info] Input #0, h264, from 'file:a.h264':\n[info]   Duration: 00:00:09.00, bitrate: N/A\n\
             [info]   Stream #0:0: Video: h264, yuv420p, 64x64\n",
        );
        assert_eq!(found.seconds, None);
        assert_eq!(found.chosen().unwrap().index, 0);
        assert!(!found.seeks_exactly());
        assert_eq!(dump("[info]   Duration: N/A, bitrate: N/A\n").seconds, None);
        assert_eq!(dump("").chosen(), None);
    }
}
