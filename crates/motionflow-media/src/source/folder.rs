//! Clips from images: a folder of them, or a single one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::shortage::Shortage;
use super::{Clip, Notice, ReadOptions, SourceInfo, alpha, tiff};
use crate::error::{Error, Result};

/// The endings of files that count as images, in any case.
pub(crate) const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif"];

/// The images in a folder in natural order of their names, hidden files left out.
pub(super) fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| Error::SourceUnreadable { path: folder.to_owned(), source };
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if !hidden && ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) && path.is_file() {
            images.push(path);
        }
    }
    if images.is_empty() {
        return Err(Error::NoImages {
            path: folder.to_owned(),
            expected: ENDINGS.map(|e| format!(".{e}")).join(", "),
        });
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    images.sort_by(|a, b| natord::compare(&name(a), &name(b)).then_with(|| a.cmp(b)));
    Ok(images)
}

/// The size of the first image.
pub(super) fn probe_images(images: &[PathBuf], fps: f64) -> Result<SourceInfo> {
    let Some(first) = images.first() else {
        return Err(Error::NothingToDraw { what: "images".into() });
    };
    let (width, height) = decode(first)?.0.dimensions();
    Ok(SourceInfo { width, height, fps })
}

/// Reads a clip from `images`, which come from `path`, at [`ReadOptions::image_fps`].
pub(super) fn read_images(path: &Path, images: &[PathBuf], options: &ReadOptions) -> Result<Clip> {
    let fps = options.image_fps;
    // A start beyond all images is one that has none after it.
    let first = ((options.start * fps).round() as usize).min(images.len());
    let kept: Vec<&PathBuf> = images[first..].iter().step_by(options.every).take(options.frames).collect();
    if kept.len() < options.frames {
        let shortage = Box::new(Shortage {
            path: path.to_owned(),
            total: images.len(),
            after_start: images.len() - first,
            fps,
            frames: options.frames,
            every: options.every,
            start: options.start,
            possible: None,
            complaint: None,
        });
        let is_single = images.first().is_some_and(|image| image == path);
        return Err(if is_single { Error::OneImage(shortage) } else { Error::TooFewFrames(shortage) });
    }
    let (source_width, source_height) = decode(kept[0])?.0.dimensions();
    let mut transparent = false;
    let mut frames = Vec::with_capacity(kept.len());
    for image in &kept {
        let (picture, is_transparent) = decode(image)?;
        transparent |= is_transparent;
        let (found_width, found_height) = picture.dimensions();
        if (found_width, found_height) != (source_width, source_height) {
            return Err(Error::MixedSizes {
                path: (*image).clone(),
                found_width,
                found_height,
                first: kept[0].clone(),
                width: source_width,
                height: source_height,
            });
        }
        frames.push(options.fit.apply(&picture, options.width, options.height));
    }
    let notices = if transparent { vec![Notice::OverBlack] } else { Vec::new() };
    Ok(Clip {
        frames,
        fps: fps / options.every as f64,
        source_fps: fps,
        source_width,
        source_height,
        notices,
    })
}

/// One image, whatever its ending says it is, upright and laid over black, and whether it had transparent places.
fn decode(path: &Path) -> Result<(RgbImage, bool)> {
    let bad = |reason: String| Error::BadImage { path: path.to_owned(), reason };
    let unreadable = |source| Error::SourceUnreadable { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut head)).map_err(unreadable)?;
    let mut reader =
        ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(unreadable)?;
    if tiff::is_tiff(&head) {
        if let Some(picture) = tiff::decode(path).map_err(bad)? {
            return Ok(picture);
        }
        reader.set_format(ImageFormat::Tiff);
    }
    let mut decoder = reader.into_decoder().map_err(|error| bad(error.to_string()))?;
    let orientation = decoder.orientation().map_err(|error| bad(error.to_string()))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| bad(error.to_string()))?;
    picture.apply_orientation(orientation);
    Ok(if picture.color().has_alpha() {
        let picture = picture.into_rgba8();
        (alpha::over_black(&picture), alpha::is_transparent(&picture))
    } else {
        (picture.into_rgb8(), false)
    })
}
