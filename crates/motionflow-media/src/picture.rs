//! Single pictures: enlarging them to be looked at, and writing them.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{GrayImage, ImageFormat, RgbImage};

use crate::atomic;
use crate::error::{Error, Result};

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// [`Error::Unwritable`], and [`Error::NothingToDraw`] for a picture without pixels.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    write_as(path, picture, ImageFormat::Png)
}

/// Writes a picture of greys as PNG, whole or not at all.
///
/// # Errors
/// As [`write_png`].
pub fn write_grey_png(path: &Path, picture: &GrayImage) -> Result<()> {
    if picture.is_empty() {
        return Err(Error::NothingToDraw { what: path.display().to_string() });
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|error| encode(path, &error))?;
    atomic::write_atomically(path, bytes.get_ref())
}

fn encode(path: &Path, error: &image::ImageError) -> Error {
    Error::Encode { path: path.to_owned(), reason: error.to_string() }
}

/// Writes a picture as JPEG, whole or not at all: for overviews, a few times smaller.
///
/// # Errors
/// As [`write_png`].
pub fn write_jpeg(path: &Path, picture: &RgbImage) -> Result<()> {
    write_as(path, picture, ImageFormat::Jpeg)
}

fn write_as(path: &Path, picture: &RgbImage, format: ImageFormat) -> Result<()> {
    if picture.is_empty() {
        return Err(Error::NothingToDraw { what: path.display().to_string() });
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).map_err(|error| encode(path, &error))?;
    atomic::write_atomically(path, bytes.get_ref())
}

/// The longest side of what is enlarged.
const LONGEST_SIDE: u32 = 4096;

/// The largest whole factor, 1 or more, by which a side of so many pixels may be enlarged.
pub(crate) fn most_enlarged(side: u32) -> u32 {
    (LONGEST_SIDE / side.max(1)).max(1)
}

/// The picture enlarged by the smallest whole factor that makes its shorter side `shortest` pixels or more.
///
/// Of long and narrow pictures the longer side stays within 4096 pixels. Larger pictures, and those without pixels, are
/// copied unchanged.
pub fn enlarge(picture: &RgbImage, shortest: u32) -> RgbImage {
    let side = picture.width().min(picture.height());
    if side == 0 || side >= shortest {
        return picture.clone();
    }
    let factor = shortest.div_ceil(side).min(most_enlarged(picture.width().max(picture.height())));
    imageops::resize(picture, picture.width() * factor, picture.height() * factor, FilterType::CatmullRom)
}
