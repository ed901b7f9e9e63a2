//! Writing videos.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use image::RgbImage;

use crate::atomic;
use crate::error::{Error, Result};
use crate::ffmpeg::{Ffmpeg, file_url};
use crate::system;

/// Frames that x264 works on side by side. The number is part of what makes the same frames give the same bytes.
const THREADS: &str = "4";

/// Writes frames as an MP4 that browsers play: H.264, yuv420p, BT.709, index first.
///
/// - `frames`: one or more of one size. An odd width or height is made even by repeating the last column or row,
///   as H.264 with halved colour cannot store it.
/// - `fps`: frames per second, in (0, 1000].
/// - `metadata`: keys and values for the file's own notes, such as `("comment", "...")`.
///
/// The same frames give the same bytes with the same ffmpeg. The file appears whole or not at all.
///
/// # Errors
/// [`Error::NothingToDraw`] without frames, [`Error::UnequalFrames`], [`Error::BadSetting`] for an impossible rate,
/// [`Error::Unwritable`], and [`Error::Encode`] when ffmpeg refuses (such as one built without libx264).
pub fn write_mp4(
    ffmpeg: &Ffmpeg,
    path: &Path,
    frames: &[RgbImage],
    fps: f64,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let even: Vec<RgbImage>;
    let frames = if frames.iter().any(|frame| frame.width() % 2 + frame.height() % 2 > 0) {
        even = frames.iter().map(with_even_sides).collect();
        &even
    } else {
        frames
    };
    atomic::write_with(path, |passing| {
        encode(ffmpeg, path, passing, frames, fps, |command| {
            command
                .args(["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv420p"]);
            command.args(["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]);
            command.args(["-color_range", "tv", "-fflags", "+bitexact", "-flags:v", "+bitexact"]);
            command.args(["-c:v", "libx264", "-preset", "medium", "-crf", "16", "-threads", THREADS]);
            for (key, value) in metadata {
                command.args(["-metadata", &format!("{key}={value}")]);
            }
            // Without the second flag, MP4 keeps only a few well-known keys.
            command.args(["-movflags", "+faststart+use_metadata_tags", "-f", "mp4"]);
        })
    })
}

/// Sends frames through one ffmpeg, whose encoder and container `settings` chooses, into the file `passing`.
///
/// `path` is the file's name in messages.
pub(crate) fn encode(
    ffmpeg: &Ffmpeg,
    path: &Path,
    passing: &Path,
    frames: &[RgbImage],
    fps: f64,
    settings: impl FnOnce(&mut Command),
) -> Result<()> {
    let (width, height) = one_size(path, frames)?;
    if !(fps > 0.0 && fps <= 1000.0) {
        let expected = "frames per second over 0, up to 1000";
        return Err(Error::BadSetting { name: "--fps", found: fps.to_string(), expected });
    }
    let mut command = ffmpeg.command();
    command.stdin(Stdio::piped()).args(["-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{width}x{height}"), "-r", &rate(fps), "-i", "pipe:0"]);
    settings(&mut command);
    command.arg(file_url(passing));
    let mut running = ffmpeg.start(&mut command)?;
    if let Some(mut stdin) = running.child.stdin.take() {
        for frame in frames {
            // A pipe that breaks off shows in the exit status, with ffmpeg's own reason.
            if stdin.write_all(frame).is_err() {
                break;
            }
        }
    }
    let outcome = running.finish();
    if outcome.success {
        return Ok(());
    }
    let reason = outcome.reason();
    if system::refusal_in(&reason).is_some() {
        return Err(Error::Unwritable { path: path.to_owned(), source: std::io::Error::other(reason) });
    }
    Err(Error::Encode { path: path.to_owned(), reason })
}

/// The frame with its last column repeated when the width is odd, and its last row when the height is.
fn with_even_sides(frame: &RgbImage) -> RgbImage {
    let (width, height) = frame.dimensions();
    RgbImage::from_fn(width.next_multiple_of(2), height.next_multiple_of(2), |x, y| {
        *frame.get_pixel(x.min(width - 1), y.min(height - 1))
    })
}

/// The size that all frames have.
fn one_size(path: &Path, frames: &[RgbImage]) -> Result<(u32, u32)> {
    let Some(first) = frames.first().filter(|first| first.width() > 0 && first.height() > 0) else {
        return Err(Error::NothingToDraw { what: path.display().to_string() });
    };
    let (width, height) = first.dimensions();
    match frames.iter().position(|frame| frame.dimensions() != (width, height)) {
        None => Ok((width, height)),
        Some(index) => {
            let (found_width, found_height) = frames[index].dimensions();
            Err(Error::UnequalFrames {
                path: path.to_owned(),
                index,
                found_width,
                found_height,
                width,
                height,
            })
        }
    }
}

/// Frames per second as a fraction, exact for whole rates and for television's n·1000/1001.
pub(crate) fn rate(fps: f64) -> String {
    let (numerator, denominator) = rate_fraction(fps);
    format!("{numerator}/{denominator}")
}

/// As [`rate`], as numbers.
pub(crate) fn rate_fraction(fps: f64) -> (u64, u64) {
    let television = fps * 1001.0 / 1000.0;
    if (fps - fps.round()).abs() < 1e-9 {
        (fps.round().max(1.0) as u64, 1)
    } else if (television - television.round()).abs() < 1e-6 && television > 0.5 {
        (television.round() as u64 * 1000, 1001)
    } else {
        ((fps * 1e6).round().max(1.0) as u64, 1_000_000)
    }
}
