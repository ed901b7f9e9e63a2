//! What is known of a film before its frames are read.

use std::path::Path;
use std::sync::mpsc;

use super::dump::Dump;
use super::input::Input;
use super::listing::Listing;
use super::showinfo::{self, Colours, Place, Showinfo, Tick};
use super::{Notice, filters};
use crate::error::{Error, Result};
use crate::ffmpeg::{Ffmpeg, Outcome};
use crate::source::{IMAGE_FPS, rate};

/// How many packets are looked at to tell the frame rate.
const PACKETS: &str = "240";
/// How many frames are decoded to tell it, where packets have no times.
const FRAMES: usize = 120;
/// The highest frame rate that is read.
const FASTEST: f64 = 1000.0;

/// What is known of a film.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) input: Input,
    /// The stream to read, as ffmpeg names it.
    pub(super) stream: String,
    /// Width of the first frame in pixels, upright and with square pixels.
    pub(super) width: u32,
    /// Height of the first frame.
    pub(super) height: u32,
    /// Frames per second.
    pub(super) fps: f64,
    /// What decoded frames' times are counted in.
    pub(super) tick: Tick,
    /// The time of the first frame, in ticks.
    pub(super) first: i64,
    /// How many frames a frame stands for at most, as far as the first packets show.
    pub(super) longest_hold: usize,
    /// Whether frames' times are guessed, as packets have none.
    pub(super) has_guessed_times: bool,
    /// The field that is shown first, for interlaced frames that do not say it.
    pub(super) first_field: Option<&'static str>,
    /// Whether the first frame is interlaced.
    pub(super) is_interlaced: bool,
    /// The colours of the first frame.
    pub(super) colours: Colours,
    /// Whether ffmpeg finds times in this file by an index.
    pub(super) seeks_exactly: bool,
    /// The length in seconds that the file claims.
    seconds: Option<f64>,
    /// What a user should know whatever is read of the film.
    pub(super) notices: Vec<Notice>,
}

impl Facts {
    pub(super) fn of(ffmpeg: &Ffmpeg, path: &Path, format: Option<&'static str>) -> Result<Self> {
        let mut input = Input::new(path, format)?;
        let mut stream = "0:V:0".to_owned();
        let mut look = Look::at(ffmpeg, &input, &stream, 1, None)?;
        let chosen = look.dump.chosen().cloned();
        let first_field = chosen.as_ref().and_then(|chosen| chosen.first_field);
        if let Some(chosen) = &chosen {
            stream = format!("0:{}", chosen.index);
            if look.dump.first_video != Some(chosen.index) || first_field.is_some() {
                look = Look::at(ffmpeg, &input, &stream, 1, first_field)?;
            }
        }
        let Some((first, (width, height))) = look.frames.first().copied().zip(look.size) else {
            return Err(no_frame(path, look));
        };
        let mut opacity_lost = false;
        if let Some(chosen) = chosen.filter(|stream| stream.has_opacity)
            && let Some(decoder) = decoder_of_opacity(&chosen.codec)
        {
            opacity_lost = !ffmpeg.has_decoder(decoder)?;
            input.decoder = (!opacity_lost).then_some((chosen.index, decoder));
        }
        let listing = packets(ffmpeg, &input, &stream, PACKETS)?;
        let nominal = look.rate.filter(|fps| (0.1..=FASTEST).contains(fps));
        let mut has_guessed_times = listing.without_time > 0;
        let mut fps = if has_guessed_times || look.is_interlaced {
            // Without times, and as fields, packets do not tell when frames are shown. Frames' times may be guessed from
            // the nominal rate, which goes before where the two are near each other.
            let frames = Look::at(ffmpeg, &input, &stream, FRAMES, first_field)?.frames;
            let measured = rate::of_times(&frames, look.tick.seconds(), nominal);
            let is_near = |nominal: &f64| measured.is_none_or(|fps| (fps / nominal - 1.0).abs() < 0.1);
            nominal.filter(is_near).or(measured)
        } else {
            let measured = listing.tick.and_then(|tick| rate::of_times(&listing.times, tick, nominal));
            measured.or(nominal)
        }
        .unwrap_or(IMAGE_FPS);
        if let Some(nominal) = nominal.filter(|_| fps > FASTEST) {
            // Some demuxers count packets where times should be.
            (fps, has_guessed_times) = (nominal, true);
        }
        if fps > FASTEST {
            return Err(Error::RateTooHigh { path: path.to_owned(), fps });
        }
        let start = listing.times.iter().min().zip(listing.tick).filter(|_| listing.without_time == 0);
        let late = start.map_or(0.0, |(time, tick)| first as f64 * look.tick.seconds() - *time as f64 * tick);
        let frames = (late * fps + 0.25).floor().max(0.0) as usize;
        let mut notices = Vec::new();
        if frames > 0 {
            notices.push(Notice::BeginsLate { frames });
        }
        if opacity_lost {
            notices.push(Notice::OpacityLost);
        }
        Ok(Self {
            stream,
            width,
            height,
            fps,
            tick: look.tick,
            first,
            longest_hold: longest_hold(&listing, fps),
            has_guessed_times,
            first_field,
            is_interlaced: look.is_interlaced,
            seeks_exactly: look.dump.seeks_exactly() && look.tick.numerator == 1,
            seconds: look.dump.seconds,
            notices,
            colours: look.colours,
            input,
        })
    }

    /// How many frames the film has, if all of them are before `start`. Looks at packets alone, and only where `start`
    /// is beyond the length that the file claims and reading would go through all of it.
    pub(super) fn total_if_before(&self, ffmpeg: &Ffmpeg, start: f64) -> Result<Option<usize>> {
        let is_doubtful = start > 1.0 && !self.seeks_exactly && self.seconds.is_none_or(|end| start >= end);
        if !is_doubtful {
            return Ok(None);
        }
        let listing = packets(ffmpeg, &self.input, &self.stream, "2147483647")?;
        let first = self.first as f64 * self.tick.seconds();
        let total = match (listing.times.iter().max(), listing.tick) {
            (Some(last), Some(tick)) if !self.has_guessed_times => {
                ((*last as f64 * tick - first) * self.fps).round() + 1.0
            }
            _ => listing.packets() as f64,
        };
        // Some formats have fields as packets, or frames that stand for long: a second more for them.
        let is_before = total / self.fps + 1.0 < start;
        Ok(is_before.then_some(total.max(1.0) as usize))
    }
}

/// The first frames of a stream, and what ffmpeg says of the file.
struct Look {
    dump: Dump,
    tick: Tick,
    rate: Option<f64>,
    /// When the frames are shown, in ticks.
    frames: Vec<i64>,
    /// Width and height of the first frame behind the filters.
    size: Option<(u32, u32)>,
    is_interlaced: bool,
    colours: Colours,
    outcome: Outcome,
}

impl Look {
    fn at(
        ffmpeg: &Ffmpeg,
        input: &Input,
        stream: &str,
        frames: usize,
        first_field: Option<&'static str>,
    ) -> Result<Self> {
        let mut command = ffmpeg.telling_command();
        command.args(input.arguments(0)).args(["-map", stream, "-frames:v", &frames.to_string()]);
        let filters =
            if frames == 1 { filters::for_size(first_field) } else { showinfo::filter(Place::In).into() };
        command.args(ffmpeg.every_frame()).args(["-vf", &filters, "-f", "null", "-"]);
        let (sender, lines) = mpsc::channel();
        let running = ffmpeg.start_heard(&mut command, move |line| {
            // The receiver is gone only when nobody waits for the answer any more.
            sender.send(line.to_owned()).ok();
        })?;
        let mut look = Self {
            dump: Dump::default(),
            tick: Tick { numerator: 1, denominator: 1 },
            rate: None,
            frames: Vec::new(),
            size: None,
            is_interlaced: false,
            colours: Colours::default(),
            outcome: Outcome::default(),
        };
        for line in lines {
            look.hear(&line);
        }
        look.outcome = running.finish();
        Ok(look)
    }

    fn hear(&mut self, line: &str) {
        match showinfo::parse(line) {
            None => self.dump.hear(line),
            Some(Showinfo::Ticks(Place::In, tick, rate)) if self.frames.is_empty() => {
                (self.tick, self.rate) = (tick, rate);
            }
            Some(Showinfo::Frame(Place::In, frame)) => {
                if self.frames.is_empty() {
                    self.is_interlaced = frame.is_interlaced;
                }
                self.frames.push(frame.time.unwrap_or_default());
            }
            Some(Showinfo::Frame(Place::Out, frame)) if self.size.is_none() => {
                self.size =
                    Some((frame.width, frame.height)).filter(|(width, height)| *width > 0 && *height > 0);
            }
            Some(Showinfo::Colours(colours)) if self.frames.len() == 1 => self.colours = colours,
            Some(_) => {}
        }
    }
}

/// Why there is not one frame.
fn no_frame(path: &Path, look: Look) -> Error {
    let path = path.to_owned();
    let outcome = look.outcome;
    if let Some(how) = outcome.ended_by_signal {
        return Error::FfmpegCrashed { path, how };
    }
    if outcome.no_such_stream {
        return Error::NotAVideo { path, reason: "it has no video stream".into() };
    }
    if look.dump.streams.is_empty() {
        return Error::NotAVideo { path, reason: outcome.reason() };
    }
    Error::NoFrames { path, reason: outcome.complaint.unwrap_or_else(|| "not one could be decoded".into()) }
}

/// The first packets, without decoding them.
fn packets(ffmpeg: &Ffmpeg, input: &Input, stream: &str, count: &str) -> Result<Listing> {
    let mut command = ffmpeg.command();
    // Those before the first key frame, too.
    command.args(input.arguments(0)).args(["-map", stream, "-c", "copy", "-copyinkf", "-frames:v", count]);
    let (listing, _) = ffmpeg.output(command.args(["-f", "framecrc", "pipe:1"]))?;
    Ok(Listing::parse(&listing))
}

/// The decoder of a codec that gives the opacity, too.
fn decoder_of_opacity(codec: &str) -> Option<&'static str> {
    match codec {
        "vp8" => Some("libvpx"),
        "vp9" => Some("libvpx-vp9"),
        _ => None,
    }
}

/// How many frames lie between two neighbours at most.
fn longest_hold(listing: &Listing, fps: f64) -> usize {
    let mut times = listing.times.clone();
    times.sort_unstable();
    let longest = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(1);
    (longest as f64 * listing.tick.unwrap_or(0.0) * fps).round().max(1.0) as usize
}
