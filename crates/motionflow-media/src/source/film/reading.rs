//! Reading the frames of a film that are requested.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use image::{RgbImage, RgbaImage};

use super::facts::Facts;
use super::filters::{self, Filters};
use super::showinfo::{self, Frame, Place, Showinfo, Tick};
use super::timeline::Timeline;
use crate::error::{Error, Result};
use crate::ffmpeg::{Ffmpeg, complaint_in, level, telling_line};
use crate::source::{Notice, ReadOptions, alpha};
use crate::video;

/// How ffmpeg is asked for frames.
#[derive(Debug)]
pub(super) struct Plan {
    filters: Filters,
    /// Seconds to seek to, 0 for the beginning.
    seek: u64,
    /// The transfer function that is tone-mapped.
    tone_mapped: Option<&'static str>,
    /// Whether there is no deinterlacer.
    no_deinterlacer: bool,
    /// Whether nothing is left that could be asked for.
    is_last: bool,
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With all frames, and what is to be reported about them.
    Done(Vec<RgbImage>, Vec<Notice>),
    /// At the end of the film.
    TooFew { total: usize, after_start: usize, complaint: Option<String> },
    /// The plan does not do for this film.
    Again(Reason),
}

/// Why a plan does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// What was sought for lies after the start, or cannot be decoded from there.
    SoughtTooFar,
    /// A frame is needed that was not asked for, or got lost between the filters.
    FrameMissing,
    /// A frame is interlaced, but nothing was done about it.
    Interlaced,
}

impl Plan {
    /// The least that gives all frames of an ordinary film.
    pub(super) fn new(ffmpeg: &Ffmpeg, facts: &Facts, options: &ReadOptions) -> Result<Self> {
        let mut plan = Self {
            filters: Filters { first_field: facts.first_field, ..Filters::default() },
            seek: 0,
            tone_mapped: None,
            no_deinterlacer: false,
            is_last: false,
        };
        let first = facts.first as f64 * facts.tick.seconds();
        // A second earlier, as the frames around a key frame may not be decodable from there.
        if facts.seeks_exactly && first + options.start >= 2.0 {
            plan.seek = (first + options.start - 1.0).floor() as u64;
        }
        plan.filters.condition = condition(facts, options, plan.seek);
        if facts.colours.hdr().is_some() {
            plan.filters.tone_map = filters::tone_map(ffmpeg, &facts.colours)?;
            plan.tone_mapped = facts.colours.hdr().filter(|_| plan.filters.tone_map.is_some());
        }
        if facts.is_interlaced {
            plan.deinterlace(ffmpeg)?;
        }
        Ok(plan)
    }

    fn deinterlace(&mut self, ffmpeg: &Ffmpeg) -> Result<()> {
        self.filters.deinterlacer = filters::deinterlacer(ffmpeg)?;
        self.no_deinterlacer = self.filters.deinterlacer.is_none();
        Ok(())
    }

    /// Asks for more.
    pub(super) fn give_way(&mut self, ffmpeg: &Ffmpeg, reason: Reason) -> Result<()> {
        match reason {
            Reason::Interlaced => self.deinterlace(ffmpeg)?,
            Reason::SoughtTooFar => (self.seek, self.filters.condition) = (0, None),
            Reason::FrameMissing if self.filters.condition.is_some() => {
                (self.seek, self.filters.condition) = (0, None);
            }
            // A deinterlacer keeps a frame back, which is lost when filters are set up anew.
            Reason::FrameMissing if self.filters.deinterlacer.is_some() && !self.filters.stay => {
                self.filters.stay = true;
            }
            // Colours that the tone mapping cannot read.
            Reason::FrameMissing if self.filters.tone_map.is_some() => {
                (self.filters.tone_map, self.tone_mapped) = (None, None);
            }
            Reason::FrameMissing => self.is_last = true,
        }
        Ok(())
    }
}

/// Which frames behind the decoder are needed, by their times: all after the start, but for those that `--every` passes
/// over. `None` for all.
fn condition(facts: &Facts, options: &ReadOptions, seek: u64) -> Option<String> {
    let fps = facts.fps;
    let first = facts.first as f64 * facts.tick.seconds() - seek as f64;
    let hold = facts.longest_hold as f64;
    let mut conditions = Vec::new();
    if options.start > 0.0 {
        conditions.push(format!("gte(t,{:.6})", first + options.start - (hold + 0.5) / fps));
    }
    if options.every > facts.longest_hold {
        let begin = first + ((options.start * fps - 0.01).ceil() / fps).max(0.0);
        // Steps until the next one that is kept. ffmpeg's mod is that of C, so what it takes must be over 0.
        let every = options.every as f64;
        let beyond = every * (1e9 / every).ceil();
        conditions.push(format!("lt(mod({beyond}-round((t-({begin:.6}))*{fps:.9}),{every}),{hold})"));
    }
    (!conditions.is_empty()).then(|| conditions.join("*"))
}

/// Something that ffmpeg says while it works.
enum Heard {
    Showinfo(Showinfo),
    Complaint(String),
}

/// Reads frames as planned.
pub(super) fn read(
    ffmpeg: &Ffmpeg,
    path: &Path,
    facts: &Facts,
    plan: &Plan,
    options: &ReadOptions,
) -> Result<Ending> {
    let mut command = ffmpeg.telling_command();
    command.stdout(Stdio::piped());
    if plan.filters.stay {
        command.args(["-reinit_filter", "0"]);
    }
    command.args(facts.input.arguments(plan.seek)).args(["-map", &facts.stream]);
    command.args(ffmpeg.every_frame()).args(["-noautoscale", "-vf", &plan.filters.chain()]);
    command.args(["-c:v", "rawvideo", "-f", "rawvideo", "pipe:1"]);
    let (sender, heard) = mpsc::channel();
    let mut running = ffmpeg.start_heard(&mut command, move |line| {
        if let Some(heard) = hear(line) {
            // The receiver is gone when enough frames were read.
            sender.send(heard).ok();
        }
    })?;
    let unreadable = |source| Error::SourceUnreadable { path: path.to_owned(), source };
    let mut stream = running.child.stdout.take().map(|stdout| BufReader::with_capacity(1 << 20, stdout));
    let mut reel = Reel::new(facts, plan, options);
    for heard in heard {
        match heard {
            Heard::Complaint(complaint) => reel.complain(complaint),
            Heard::Showinfo(Showinfo::Frame(Place::Out, frame)) => {
                let Some(stream) = stream.as_mut() else { break };
                let mut bytes = vec![0; frame.width as usize * frame.height as usize * 4];
                if stream.read_exact(&mut bytes).is_err() {
                    // It was ended within a picture; how, shows below.
                    break;
                }
                let picture = RgbaImage::from_raw(frame.width, frame.height, bytes);
                reel.take(&frame, picture).map_err(unreadable)?;
            }
            Heard::Showinfo(info) => reel.hear(info),
        }
        if let Some(reason) = reel.go_on() {
            return Ok(Ending::Again(reason));
        }
        if reel.is_full() {
            return Ok(reel.done());
        }
    }
    drop(stream);
    let outcome = running.finish();
    if let Some(how) = outcome.ended_by_signal {
        return Err(Error::FfmpegCrashed { path: path.to_owned(), how });
    }
    if reel.decoded.is_empty() {
        if plan.seek > 0 {
            return Ok(Ending::Again(Reason::SoughtTooFar));
        }
        return Err(Error::NoFrames { path: path.to_owned(), reason: outcome.reason() });
    }
    Ok(reel.end())
}

fn hear(line: &str) -> Option<Heard> {
    if let Some(info) = showinfo::parse(line) {
        return Some(Heard::Showinfo(info));
    }
    // What is said of the stream of pictures is not about the film: its times may stand still.
    let is_of_output = ["[rawvideo @ ", "[out#", "[vost#"].iter().any(|place| line.starts_with(place));
    complaint_in(line)
        .filter(|line| level(line).is_some() && !is_of_output)
        .map(|line| Heard::Complaint(line.to_owned()))
}

/// Whether a decoder lacks a frame that another one refers to, as it may where decoding begins.
fn is_of_references(complaint: &str) -> bool {
    let complaint = complaint.to_lowercase();
    ["ref", "poc", "mmco", "keyframe", "key frame"].iter().any(|word| complaint.contains(word))
}

/// The frames that come out of ffmpeg, and what is made of them.
struct Reel<'a> {
    plan: &'a Plan,
    options: &'a ReadOptions,
    timeline: Timeline,
    /// Frames per second of the film.
    fps: f64,
    /// What the times of frames behind the filters are counted in.
    out_tick: Tick,
    /// The same of decoded frames.
    in_tick: Tick,
    /// What the timeline counts in.
    tick: Tick,
    /// What ffmpeg said of each frame: its time in `tick`s, and what else counts.
    decoded: Vec<Decoded>,
    /// Pictures of frames that may be needed.
    pictures: BTreeMap<usize, RgbaImage>,
    /// The frame of the last picture, and its number since the filters were set up.
    last: Option<(usize, u64)>,
    /// Frames that are needed, in order, and how many times each.
    due: VecDeque<(usize, usize)>,
    /// The first frame whose steps are not known.
    open: usize,
    /// How many kept frames are accounted for.
    planned: usize,
    frames: Vec<RgbImage>,
    reason: Option<Reason>,
    complaints: Vec<String>,
    duration: Option<i64>,
    repeated: usize,
    dropped: usize,
    /// How many frames are lost for good.
    lost: usize,
    transparent: bool,
    interlaced: bool,
    not_tone_mapped: Option<&'static str>,
    tone_mapped: bool,
}

/// What is kept of a decoded frame.
#[derive(Debug, Clone, Copy)]
struct Decoded {
    time: Option<i64>,
    is_interlaced: bool,
    hdr: Option<&'static str>,
}

impl<'a> Reel<'a> {
    fn new(facts: &Facts, plan: &'a Plan, options: &'a ReadOptions) -> Self {
        let ticks_a_second = i64::from(facts.tick.denominator / facts.tick.numerator.max(1));
        let sought = i64::try_from(plan.seek).unwrap_or(i64::MAX).saturating_mul(ticks_a_second);
        let first = (plan.seek > 0).then(|| facts.first.saturating_sub(sought));
        Self {
            timeline: Timeline::new(facts.tick, video::rate_fraction(facts.fps), options.start, first)
                .guessed(facts.has_guessed_times),
            fps: facts.fps,
            plan,
            options,
            out_tick: facts.tick,
            in_tick: facts.tick,
            tick: facts.tick,
            decoded: Vec::new(),
            pictures: BTreeMap::new(),
            last: None,
            due: VecDeque::new(),
            open: 0,
            planned: 0,
            frames: Vec::new(),
            reason: None,
            complaints: Vec::new(),
            duration: None,
            repeated: 0,
            dropped: 0,
            lost: 0,
            transparent: false,
            interlaced: false,
            not_tone_mapped: None,
            tone_mapped: false,
        }
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= self.options.frames
    }

    /// Remembers a complaint: after seeking, not those about frames that the first ones refer to. What ffmpeg says and the
    /// frames come from threads of their own, so that other complaints at the beginning may be about any frame.
    fn complain(&mut self, complaint: String) {
        let half_a_second = i64::from(self.tick.denominator / self.tick.numerator.max(1) / 2);
        let is_under_way = self.decoded.last().is_some_and(|frame| frame.time > Some(half_a_second));
        let is_of_sought = self.plan.seek > 0 && !is_under_way && is_of_references(&complaint);
        if !is_of_sought && self.complaints.len() < 100 {
            self.complaints.push(complaint);
        }
    }

    fn hear(&mut self, info: Showinfo) {
        match info {
            Showinfo::Ticks(Place::In, tick, _) => self.in_tick = tick,
            Showinfo::Ticks(Place::Out, tick, _) => {
                self.out_tick = tick;
                // Filters that are set up anew count from 0.
                self.last = self.last.map(|(frame, _)| (frame, u64::MAX));
            }
            Showinfo::Frame(Place::In, frame) => self.decoded(&frame),
            Showinfo::Colours(colours) => {
                if let Some(last) = self.decoded.last_mut() {
                    last.hdr = colours.hdr();
                }
            }
            Showinfo::Frame(Place::Out, _) => {}
        }
    }

    fn decoded(&mut self, frame: &Frame) {
        let time = frame.time.map(|time| self.tick.of(time, self.in_tick));
        let is_first = self.decoded.is_empty();
        self.timeline.push(time);
        self.duration = frame.duration.map(|ticks| self.tick.of(ticks, self.in_tick));
        self.decoded.push(Decoded { time, is_interlaced: frame.is_interlaced, hdr: None });
        if is_first && self.plan.seek > 0 && (!frame.is_key || self.timeline.misses_the_start()) {
            self.reason = Some(Reason::SoughtTooFar);
        }
        if self.timeline.went_back && (self.plan.seek > 0 || self.plan.filters.condition.is_some()) {
            // The condition was for times that go on.
            self.reason = Some(Reason::SoughtTooFar);
        }
        while let Some(span) = self.timeline.span(self.open) {
            self.dropped += usize::from(self.timeline.is_dropped(self.open));
            self.account(span);
        }
    }

    /// The steps of the first open frame are known.
    fn account(&mut self, (begin, end): (i64, i64)) {
        let step_of =
            |kept: usize| i64::try_from(kept.saturating_mul(self.options.every)).unwrap_or(i64::MAX);
        let mut times = 0;
        while self.planned < self.options.frames && step_of(self.planned) < end {
            debug_assert!(step_of(self.planned) >= begin, "no step is left out");
            self.planned += 1;
            times += 1;
        }
        if times > 0 {
            self.due.push_back((self.open, times));
        }
        self.open += 1;
    }

    /// A picture came out of the filters.
    fn take(&mut self, frame: &Frame, picture: Option<RgbaImage>) -> std::io::Result<()> {
        let wrong = |what: &str| {
            let text = format!("unexpected picture stream from ffmpeg: {what}");
            std::io::Error::new(std::io::ErrorKind::InvalidData, text)
        };
        let expected = self.last.map_or(0, |(_, number)| number.wrapping_add(1));
        if frame.number != expected {
            return Err(wrong("a picture is missing"));
        }
        let picture = picture.filter(|_| frame.width > 0 && frame.height > 0);
        let picture = picture.ok_or_else(|| wrong("a picture without size"))?;
        let after = self.last.map_or(0, |(index, _)| index + 1);
        let index = self.index_of(frame, after).ok_or_else(|| wrong("a picture that was not decoded"))?;
        self.last = Some((index, frame.number));
        self.pictures.insert(index, picture);
        Ok(())
    }

    /// Which decoded frame a picture is of: the first one from `after` on with its time.
    fn index_of(&self, frame: &Frame, after: usize) -> Option<usize> {
        let later = self.decoded.get(after..).unwrap_or_default();
        let time = frame.time.map(|time| self.tick.of(time, self.out_tick));
        let place = later.iter().position(|decoded| decoded.time == time).or_else(|| {
            let near = |decoded: &Decoded| decoded.time.zip(time).is_some_and(|(a, b)| a.abs_diff(b) <= 1);
            later.iter().position(near)
        });
        place.map(|place| after + place)
    }

    /// Makes frames of what is due and there.
    fn go_on(&mut self) -> Option<Reason> {
        let passed = self.last.map(|(index, _)| index);
        self.deliver(passed);
        let needed_from = self.due.front().map_or(self.open, |(frame, _)| *frame);
        while self.pictures.first_key_value().is_some_and(|(frame, _)| *frame < needed_from) {
            self.pictures.pop_first();
        }
        self.reason
    }

    /// Makes frames of what is due; a frame up to `passed` that has no picture will get none.
    fn deliver(&mut self, passed: Option<usize>) {
        while let Some((frame, times)) = self.due.front().copied() {
            let decoded = self.decoded[frame];
            if let Some(picture) = self.pictures.get(&frame) {
                if decoded.is_interlaced
                    && self.plan.filters.deinterlacer.is_none()
                    && !self.plan.no_deinterlacer
                {
                    self.reason = Some(Reason::Interlaced);
                    return;
                }
                self.interlaced |= decoded.is_interlaced;
                self.tone_mapped |= self.plan.tone_mapped.is_some() && decoded.hdr.is_some();
                if self.plan.tone_mapped.is_none() {
                    self.not_tone_mapped = self.not_tone_mapped.or(decoded.hdr);
                }
                self.transparent |= alpha::is_transparent(picture);
                let options = self.options;
                let picture = options.fit.apply(&alpha::over_black(picture), options.width, options.height);
                self.repeated += times - 1;
                self.frames.extend(std::iter::repeat_n(picture, times));
            } else if passed.is_some_and(|passed| passed > frame) {
                if !self.plan.is_last {
                    self.reason = Some(Reason::FrameMissing);
                    return;
                }
                // Between two filters, and for good: the frame before stands in.
                self.lost += times;
                if let Some(before) = self.frames.last().cloned() {
                    self.frames.extend(std::iter::repeat_n(before, times));
                } else if let Some((_, next)) = self.due.get_mut(1) {
                    *next += times;
                }
            } else {
                return;
            }
            self.due.pop_front();
        }
    }

    /// The film is over.
    fn end(mut self) -> Ending {
        if let Some(span) = self.timeline.last_span(self.duration) {
            let needed = self.planned;
            self.account(span);
            debug_assert!(self.planned >= needed);
        }
        self.deliver(Some(usize::MAX));
        if let Some(reason) = self.reason {
            return Ending::Again(reason);
        }
        if self.is_full() {
            return self.done();
        }
        let after_start = self.timeline.last_span(self.duration).map_or(0, |(_, end)| end);
        Ending::TooFew {
            total: self.timeline.total(self.duration),
            after_start: usize::try_from(after_start).unwrap_or(0),
            complaint: self.first_complaint(),
        }
    }

    /// The first complaint that says something: of the last, how far ffmpeg reads ahead would decide.
    fn first_complaint(&self) -> Option<String> {
        let last_first: Vec<&str> = self.complaints.iter().rev().map(String::as_str).collect();
        telling_line(&last_first.join("\n")).map(|complaint| complaint.chars().take(200).collect())
    }

    fn done(mut self) -> Ending {
        self.frames.truncate(self.options.frames);
        let mut notices = Vec::new();
        if self.interlaced {
            let done = self.plan.filters.deinterlacer.is_some();
            notices.push(if done { Notice::Deinterlaced } else { Notice::Interlaced });
        }
        if let Some(transfer) = self.plan.tone_mapped.filter(|_| self.tone_mapped) {
            notices.push(Notice::ToneMapped { transfer });
        }
        notices.extend(self.not_tone_mapped.map(|transfer| Notice::NotToneMapped { transfer }));
        if self.transparent {
            notices.push(Notice::OverBlack);
        }
        if self.timeline.went_back {
            notices.push(Notice::TimesGoBack);
        }
        if self.repeated + self.dropped + self.lost > 0 {
            notices.push(Notice::Uneven {
                fps: self.fps,
                repeated: self.repeated + self.lost,
                dropped: self.dropped,
            });
        }
        if let Some(complaint) = self.first_complaint() {
            notices.push(Notice::Damaged { complaint });
        }
        Ending::Done(self.frames, notices)
    }
}
