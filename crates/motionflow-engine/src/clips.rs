//! Clips as pictures, for front ends that show them: what they are like, single frames, and sheets of all frames.

use std::path::Path;

use anyhow::Result;
use motionflow_media::image::codecs::jpeg::JpegEncoder;
use motionflow_media::image::codecs::png::PngEncoder;
use motionflow_media::image::{ExtendedColorType, GrayImage, ImageEncoder, RgbImage, imageops};
use motionflow_media::source::{self, SourceInfo};
use motionflow_media::{Error, Ffmpeg, Fit, ReadOptions};

pub use motionflow_media::image::GrayImage as Gray;

/// Of a JPEG, 1..=100.
const QUALITY: u8 = 85;
/// The frames per second of a folder of images.
const IMAGE_FPS: f64 = 8.0;

/// Which frames of a clip are wanted, and how large.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// At most so many.
    pub frames: usize,
    /// Whether fewer are an error, as in a run.
    pub all: bool,
    /// Seconds.
    pub start: f64,
    /// One frame of so many.
    pub every: usize,
    /// How they are brought to size.
    pub fit: Fit,
}

/// Frames of a clip.
#[derive(Debug)]
pub struct Frames {
    /// In order, of one size.
    pub pictures: Vec<RgbImage>,
    /// Frames per second.
    pub fps: f64,
    /// What was done to the clip, or found in it.
    pub notices: Vec<String>,
}

/// Width, height and frames per second of a clip, without decoding more than its first frame.
///
/// # Errors
/// When the file is no video or picture that can be read.
pub fn facts(ffmpeg: &Ffmpeg, path: &Path) -> Result<SourceInfo> {
    Ok(source::probe(ffmpeg, path, IMAGE_FPS)?)
}

/// Reads frames.
///
/// # Errors
/// When the file cannot be read, or has too few frames where all are wanted.
pub fn read(ffmpeg: &Ffmpeg, path: &Path, wanted: &Wanted) -> Result<Frames> {
    let mut options = ReadOptions {
        start: wanted.start,
        every: wanted.every,
        fit: wanted.fit,
        image_fps: IMAGE_FPS,
        ..ReadOptions::new(wanted.frames, wanted.width, wanted.height)
    };
    let clip = match source::read(ffmpeg, path, &options) {
        Err(Error::TooFewFrames(shortage) | Error::OneImage(shortage))
            if !wanted.all && shortage.after_start > 0 =>
        {
            options.frames = shortage.after_start.div_ceil(wanted.every);
            source::read(ffmpeg, path, &options)?
        }
        read => read?,
    };
    let notices = clip.notices.iter().map(ToString::to_string).collect();
    Ok(Frames { pictures: clip.frames, fps: clip.fps, notices })
}

/// Writes a result again without what it says of how it was made.
///
/// # Errors
/// When it is no MP4, or cannot be written.
pub fn write_without_settings(ffmpeg: &Ffmpeg, path: &Path, to: &Path) -> Result<()> {
    Ok(motionflow_media::metadata::write_without(ffmpeg, path, to)?)
}

/// How pictures lie in a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Pictures side by side.
    pub columns: u32,
    /// Rows of them.
    pub rows: u32,
}

impl Tiling {
    /// Of so many pictures, about as wide as high.
    pub fn of(pictures: usize) -> Self {
        let columns = (pictures as f64).sqrt().ceil().max(1.0) as u32;
        Self { columns, rows: (pictures as u32).div_ceil(columns).max(1) }
    }
}

/// All pictures in one, row by row.
pub fn sheet(pictures: &[RgbImage]) -> RgbImage {
    let (width, height) = pictures.first().map_or((1, 1), RgbImage::dimensions);
    let Tiling { columns, rows } = Tiling::of(pictures.len());
    let mut sheet = RgbImage::new(columns * width, rows * height);
    for (index, picture) in pictures.iter().enumerate() {
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        imageops::replace(&mut sheet, picture, (column * width).into(), (row * height).into());
    }
    sheet
}

/// Width and height.
pub fn size_of(picture: &RgbImage) -> (u32, u32) {
    picture.dimensions()
}

/// A picture as JPEG.
///
/// # Errors
/// When it is too large for one.
pub fn jpeg(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(picture)?;
    Ok(bytes)
}

/// A picture as PNG.
///
/// # Errors
/// When it has no pixels.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = picture.dimensions();
    PngEncoder::new(&mut bytes).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// Width and height of a PNG, and whether all of it can be decoded.
///
/// # Errors
/// When it is none.
pub fn png_size(bytes: &[u8]) -> Result<(u32, u32)> {
    let mut reader = motionflow_media::image::ImageReader::with_format(
        std::io::Cursor::new(bytes),
        motionflow_media::image::ImageFormat::Png,
    );
    let mut limits = motionflow_media::image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(8192), Some(8192));
    limits.max_alloc = Some(512 << 20);
    reader.limits(limits);
    let picture = reader.decode()?;
    Ok((picture.width(), picture.height()))
}

/// A black mask as PNG.
///
/// # Errors
/// When it has no pixels.
pub fn black_png(width: u32, height: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let black = GrayImage::new(width, height);
    PngEncoder::new(&mut bytes).write_image(black.as_raw(), width, height, ExtendedColorType::L8)?;
    Ok(bytes)
}

/// The values of a mask at another size, row by row.
pub fn shrunk(mask: &Gray, width: u32, height: u32) -> Vec<u8> {
    if mask.dimensions() == (width, height) {
        return mask.as_raw().clone();
    }
    imageops::resize(mask, width, height, imageops::FilterType::Triangle).into_raw()
}
