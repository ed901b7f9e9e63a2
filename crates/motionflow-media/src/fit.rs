//! Bringing a picture to a size: cropping, padding or stretching it.

use std::fmt;
use std::str::FromStr;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::error::Error;

/// How a picture of one shape is brought to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fit {
    /// Fill the whole size, keep the aspect ratio, and cut off what stands over on both sides alike.
    #[default]
    Crop,
    /// Show the whole picture, keep the aspect ratio, and fill up with black on both sides alike.
    Pad,
    /// Change the aspect ratio.
    Stretch,
}

impl Fit {
    /// Every way, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Pad, Self::Stretch];

    /// The name on the command line: `crop`, `pad` or `stretch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Stretch => "stretch",
        }
    }

    /// A copy of `picture` of exactly `width` × `height` pixels, resampled with a Lanczos filter of three lobes.
    ///
    /// A picture that has the size already is copied unchanged. A side of zero pixels counts as one.
    pub fn apply(self, picture: &RgbImage, width: u32, height: u32) -> RgbImage {
        let (width, height) = (width.max(1), height.max(1));
        if picture.dimensions() == (width, height) {
            return picture.clone();
        }
        let (scaled_width, scaled_height) = self.scaled_size(picture.dimensions(), (width, height));
        let scaled = if picture.dimensions() == (scaled_width, scaled_height) {
            picture.clone()
        } else {
            imageops::resize(picture, scaled_width, scaled_height, FilterType::Lanczos3)
        };
        match self {
            Self::Stretch => scaled,
            Self::Crop => {
                let (x, y) = ((scaled_width - width) / 2, (scaled_height - height) / 2);
                imageops::crop_imm(&scaled, x, y, width, height).to_image()
            }
            Self::Pad => {
                let mut canvas = RgbImage::from_pixel(width, height, Rgb([0, 0, 0]));
                let (x, y) = ((width - scaled_width) / 2, (height - scaled_height) / 2);
                imageops::replace(&mut canvas, &scaled, x.into(), y.into());
                canvas
            }
        }
    }

    /// The size that a picture is resampled to before it is cropped or padded to `to`, each (width, height).
    ///
    /// For [`Fit::Crop`] it covers `to`, for [`Fit::Pad`] it lies within, and one side is equal in both; the other is
    /// rounded to the nearest pixel.
    pub fn scaled_size(self, from: (u32, u32), to: (u32, u32)) -> (u32, u32) {
        let (from_width, from_height) = (u64::from(from.0.max(1)), u64::from(from.1.max(1)));
        let (to_width, to_height) = (u64::from(to.0.max(1)), u64::from(to.1.max(1)));
        let wider_than_asked = from_width * to_height > to_width * from_height;
        let nearest =
            |numerator: u64, denominator: u64| ((2 * numerator + denominator) / (2 * denominator)).max(1);
        let (width, height) = match (self, wider_than_asked) {
            (Self::Stretch, _) => (to_width, to_height),
            (Self::Crop, true) | (Self::Pad, false) => {
                (nearest(from_width * to_height, from_height), to_height)
            }
            (Self::Crop, false) | (Self::Pad, true) => {
                (to_width, nearest(from_height * to_width, from_width))
            }
        };
        // Both fit: no side of a crop is longer than that of a picture with one row, enlarged.
        (u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Fit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|fit| fit.name() == name).ok_or_else(|| Error::BadSetting {
            name: "--fit",
            found: format!("`{name}`"),
            expected: "crop, pad or stretch",
        })
    }
}
