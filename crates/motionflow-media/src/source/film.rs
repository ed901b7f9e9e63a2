//! Clips from video files, through ffmpeg.
//!
//! ffprobe may be missing, so all facts come from streams that ffmpeg writes for machines: sizes and times as
//! [framecrc](https://ffmpeg.org/ffmpeg-formats.html#framecrc-1), frames as [`pam`].

use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;

use super::shortage::Shortage;
use super::{Clip, IMAGE_FPS, ReadOptions, SourceInfo, alpha, pam, rate};
use crate::error::{Error, Result};
use crate::ffmpeg::{Ffmpeg, file_url};
use crate::video;

/// The first video stream that is not a cover picture.
const STREAM: &str = "0:V:0";

/// Square pixels, then 8-bit RGBA, with chroma upsampled well. ffmpeg turns the picture upright before.
const UPRIGHT_RGBA: &str = "scale=w=round(iw*sar):h=ih:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,setsar=1,format=rgba";

/// How many packets are looked at to tell the frame rate.
const PACKETS: &str = "240";

/// Size and rate, from the first frame and the times of the first packets.
pub(super) fn probe(ffmpeg: &Ffmpeg, path: &Path) -> Result<SourceInfo> {
    let mut command = ffmpeg.command();
    command.arg("-i").arg(file_url(path)).args(["-map", STREAM, "-frames:v", "1"]);
    command.args(["-vf", UPRIGHT_RGBA, "-f", "framecrc", "pipe:1"]);
    let (listing, outcome) = ffmpeg.output(&mut command)?;
    let first = Listing::parse(&listing);
    let Some((width, height)) = first.size.filter(|_| outcome.success || !first.times.is_empty()) else {
        let none = outcome.no_such_stream;
        if outcome.no_frame && !none {
            let reason = outcome.complaint.unwrap_or_else(|| "not one could be decoded".into());
            return Err(Error::NoFrames { path: path.to_owned(), reason });
        }
        let reason = if none { "it has no video stream".into() } else { outcome.reason() };
        return Err(Error::NotAVideo { path: path.to_owned(), reason });
    };
    if first.times.is_empty() {
        let reason = outcome.complaint.unwrap_or_else(|| "not one could be decoded".into());
        return Err(Error::NoFrames { path: path.to_owned(), reason });
    }
    // Once even, streams for machines count in frames: their tick is what ffmpeg takes for the rate.
    let nominal = first.tick.map(|tick| 1.0 / tick).filter(|fps| (0.1..=1000.0).contains(fps));
    let measured = packet_rate(ffmpeg, path, nominal)?;
    Ok(SourceInfo { width, height, fps: measured.or(nominal).unwrap_or(IMAGE_FPS) })
}

/// Decodes only what is asked for, one frame at a time.
pub(super) fn read(ffmpeg: &Ffmpeg, path: &Path, options: &ReadOptions) -> Result<Clip> {
    let info = probe(ffmpeg, path)?;
    let mut command = ffmpeg.command();
    command.stdout(Stdio::piped()).args(input(path, options.start)).args(["-map", STREAM]);
    let filters = format!("{},framestep={},{UPRIGHT_RGBA}", even_steps(info.fps), options.every);
    command.args(["-vf", &filters, "-frames:v", &options.frames.to_string()]);
    command.args(["-c:v", "pam", "-f", "image2pipe", "pipe:1"]);
    let mut running = ffmpeg.start(&mut command)?;
    let mut frames = Vec::new();
    if let Some(stdout) = running.child.stdout.take() {
        let mut stream = BufReader::with_capacity(1 << 20, stdout);
        while frames.len() < options.frames {
            let picture = pam::next(&mut stream)
                .map_err(|source| Error::SourceUnreadable { path: path.to_owned(), source })?;
            let Some(picture) = picture else { break };
            frames.push(options.fit.apply(&alpha::over_black(&picture), options.width, options.height));
        }
    }
    let outcome = running.finish();
    if frames.len() < options.frames {
        let after_start = count(ffmpeg, path, options.start, info.fps)?;
        let total = if options.start > 0.0 { count(ffmpeg, path, 0.0, info.fps)? } else { after_start };
        return Err(Error::TooFewFrames(Box::new(Shortage {
            path: path.to_owned(),
            total,
            after_start,
            fps: info.fps,
            frames: options.frames,
            every: options.every,
            start: options.start,
            complaint: outcome.complaint,
        })));
    }
    Ok(Clip {
        frames,
        fps: info.fps / options.every as f64,
        source_fps: info.fps,
        source_width: info.width,
        source_height: info.height,
    })
}

/// How many frames there are from `start` seconds on.
fn count(ffmpeg: &Ffmpeg, path: &Path, start: f64, fps: f64) -> Result<usize> {
    let mut command = ffmpeg.command();
    command.args(input(path, start)).args([
        "-map",
        STREAM,
        "-vf",
        &even_steps(fps),
        "-f",
        "framecrc",
        "pipe:1",
    ]);
    let (listing, _) = ffmpeg.output(&mut command)?;
    Ok(Listing::parse(&listing).times.len())
}

/// The rate that the first packets' times have, without decoding them. `nominal` is what ffmpeg takes it for.
fn packet_rate(ffmpeg: &Ffmpeg, path: &Path, nominal: Option<f64>) -> Result<Option<f64>> {
    let mut command = ffmpeg.command();
    command.arg("-i").arg(file_url(path)).args(["-map", STREAM, "-c", "copy", "-frames:v", PACKETS]);
    let (listing, _) = ffmpeg.output(command.args(["-f", "framecrc", "pipe:1"]))?;
    let listing = Listing::parse(&listing);
    Ok(listing.tick.and_then(|tick| rate::of_times(&listing.times, tick, nominal)))
}

/// The arguments that open `path` at `start` seconds.
fn input(path: &Path, start: f64) -> Vec<std::ffi::OsString> {
    let mut arguments = Vec::new();
    if start > 0.0 {
        arguments.extend(["-ss".into(), format!("{start:.6}").into()]);
    }
    arguments.extend(["-i".into(), file_url(path)]);
    arguments
}

/// The filters that make times even.
fn even_steps(fps: f64) -> String {
    format!("setpts=PTS-STARTPTS,fps={}", video::rate(fps))
}

/// What a framecrc listing says: `#tb 0: 1/10`, `#dimensions 0: 64x48`, then a line a frame with its time third.
#[derive(Debug, Default)]
struct Listing {
    /// Seconds that one tick lasts.
    tick: Option<f64>,
    /// Width and height in pixels.
    size: Option<(u32, u32)>,
    /// Times in ticks.
    times: Vec<i64>,
}

impl Listing {
    fn parse(bytes: &[u8]) -> Self {
        let mut listing = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            if let Some(base) = line.strip_prefix("#tb 0: ") {
                listing.tick = pair(base, '/')
                    .map(|(numerator, denominator)| f64::from(numerator) / f64::from(denominator));
            } else if let Some(size) = line.strip_prefix("#dimensions 0: ") {
                listing.size = pair(size, 'x').filter(|(width, height)| *width > 0 && *height > 0);
            } else if !line.starts_with('#') {
                listing.times.extend(line.split(',').nth(2).and_then(|time| time.trim().parse::<i64>().ok()));
            }
        }
        listing
    }
}

fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (first, second) = text.trim().split_once(between)?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_understood() {
        let listing = Listing::parse(
            b"#extradata 0:       45, 0x14760e8b\n#software: Lavf63.1.102\n#tb 0: 1/10240\n#media_type 0: video\n\
              #dimensions 0: 64x48\n#sar 0: 1/1\n0,      -2048,          0,     1024,     1358, 0xa46a3c1f\n\
              0,      -1024,       4096,     1024,      189, 0xdfd85d3b, F=0x0\n0, NOPTS, NOPTS, 0, 1, 0x0\n",
        );
        assert_eq!(listing.size, Some((64, 48)));
        assert_eq!(listing.times, [0, 4096]);
        assert!((listing.tick.unwrap() - 1.0 / 10240.0).abs() < 1e-12);
        assert!(Listing::parse(b"").size.is_none());
    }
}
