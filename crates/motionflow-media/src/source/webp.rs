//! Clips from WebP images, animated or not.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, ImageDecoder, RgbaImage};

use super::shortage::Shortage;
use super::{Clip, Notice, ReadOptions, SourceInfo, alpha, folder, rate};
use crate::error::{Error, Result};

/// Size and rate. The delays of an animation are known only once it is decoded.
pub(super) fn probe(path: &Path, image_fps: f64) -> Result<SourceInfo> {
    let decoder = open(path)?;
    let (width, height) = decoder.dimensions();
    if !decoder.has_animation() {
        return folder::probe_images(&[path.to_owned()], image_fps);
    }
    let animation = decode(path, decoder)?;
    Ok(SourceInfo { width, height, fps: animation.fps })
}

/// Reads a clip; a still picture is one frame.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Clip> {
    let decoder = open(path)?;
    let (source_width, source_height) = decoder.dimensions();
    if !decoder.has_animation() {
        return folder::read_images(path, &[path.to_owned()], options);
    }
    let Animation { pictures, fps, steps } = decode(path, decoder)?;
    let first = ((options.start * fps).round() as usize).min(steps.len());
    let kept: Vec<usize> =
        steps[first..].iter().copied().step_by(options.every).take(options.frames).collect();
    if kept.len() < options.frames {
        return Err(Error::TooFewFrames(Box::new(Shortage {
            path: path.to_owned(),
            total: steps.len(),
            after_start: steps.len() - first,
            fps,
            frames: options.frames,
            every: options.every,
            start: options.start,
            possible: None,
            complaint: None,
        })));
    }
    let fitted =
        |index: usize| options.fit.apply(&alpha::over_black(&pictures[index]), options.width, options.height);
    let transparent = kept.iter().any(|index| alpha::is_transparent(&pictures[*index]));
    let mut notices = if transparent { vec![Notice::OverBlack] } else { Vec::new() };
    let repeated = kept.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let dropped =
        (kept[0]..=kept[kept.len() - 1]).filter(|index| steps.binary_search(index).is_err()).count();
    if repeated + dropped > 0 {
        notices.push(Notice::Uneven { fps, repeated, dropped });
    }
    let frames = kept.into_iter().map(fitted).collect();
    Ok(Clip {
        frames,
        fps: fps / options.every as f64,
        source_fps: fps,
        source_width,
        source_height,
        notices,
    })
}

/// An animation with its pictures brought to an even rate.
struct Animation {
    pictures: Vec<RgbaImage>,
    fps: f64,
    /// Which picture stands at each step of the rate.
    steps: Vec<usize>,
}

fn open(path: &Path) -> Result<WebPDecoder<BufReader<File>>> {
    let file =
        File::open(path).map_err(|source| Error::SourceUnreadable { path: path.to_owned(), source })?;
    WebPDecoder::new(BufReader::new(file)).map_err(|error| bad(path, &error))
}

fn decode(path: &Path, decoder: WebPDecoder<BufReader<File>>) -> Result<Animation> {
    let (mut pictures, mut milliseconds) = (Vec::new(), vec![0_i64]);
    for frame in decoder.into_frames() {
        let frame = frame.map_err(|error| bad(path, &error))?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        // Browsers give a delay of nothing a tenth of a second.
        let delay = if numerator == 0 { 100 } else { i64::from(numerator / denominator.max(1)).max(1) };
        milliseconds.push(milliseconds.last().copied().unwrap_or(0) + delay);
        pictures.push(frame.into_buffer());
    }
    if pictures.is_empty() {
        return Err(Error::NoFrames { path: path.to_owned(), reason: "the animation is empty".into() });
    }
    let fps = rate::of_times(&milliseconds, 1e-3, None).unwrap_or(super::IMAGE_FPS);
    let times: Vec<f64> = milliseconds.iter().map(|time| *time as f64 * 1e-3).collect();
    let (end, times) = times.split_last().map_or((0.0, &[][..]), |(end, times)| (*end, times));
    let steps = rate::steps(times, end, fps);
    Ok(Animation { pictures, fps, steps })
}

fn bad(path: &Path, error: &image::ImageError) -> Error {
    Error::BadImage { path: path.to_owned(), reason: error.to_string() }
}
