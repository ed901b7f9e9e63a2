//! TIFF pictures whose samples are no plain integers of 8 or 16 bits, or whose colours are multiplied by their opacity.
//!
//! The crate `image` reads the others.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage, Rgba, RgbaImage};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::{ExtraSamples, PlanarConfiguration, SampleFormat, Tag};

use super::alpha;

/// How far floating-point values may lie outside of 0 to 1: filters overshoot a little.
const OVERSHOOT: f64 = 0.1;

/// Whether a file begins as TIFF does, of 32 or 64 bits (`BigTIFF`).
pub(super) fn is_tiff(head: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| head.starts_with(*magic))
}

/// What the file's samples are.
struct Samples {
    format: SampleFormat,
    bits: u8,
    /// Of a pixel, the opacity included.
    channels: usize,
    has_colour: bool,
    has_alpha: bool,
    /// Whether the colours are multiplied by the opacity already.
    is_multiplied: bool,
}

/// The picture laid over black, upright, and whether it had transparent places; none where `image` reads it right.
///
/// # Errors
/// What the samples are, where they are not read.
pub(super) fn decode(path: &Path) -> Result<Option<(RgbImage, bool)>, String> {
    let told = |error: tiff::TiffError| error.to_string();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(told)?;
    let samples = Samples::of(&mut decoder)?;
    if samples.format == SampleFormat::Uint && samples.bits <= 16 && !samples.is_multiplied {
        return Ok(None);
    }
    let planes = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(told)?;
    if planes == Some(PlanarConfiguration::Planar.to_u16()) {
        return Err(format!("it has {} in planes; save it with the channels interleaved", samples.words()));
    }
    let (width, height) = decoder.dimensions().map_err(told)?;
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).map_err(told)?;
    let values = values(&decoder.read_image().map_err(told)?).ok_or_else(|| samples.unread())?;
    let (picture, is_transparent) = samples.picture(&values, width, height)?;
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture
        .apply_orientation(orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms));
    Ok(Some((picture.into_rgb8(), is_transparent)))
}

impl Samples {
    fn of(decoder: &mut Decoder<BufReader<File>>) -> Result<Self, String> {
        let told = |error: tiff::TiffError| error.to_string();
        let colour = decoder.colortype().map_err(told)?;
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(told)?;
        let format = formats.and_then(|formats| formats.first().copied()).unwrap_or(1);
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(told)?;
        let (channels, has_colour, has_alpha) = match colour {
            ColorType::Gray(_) => (1, false, false),
            ColorType::GrayA(_) => (2, false, true),
            ColorType::RGB(_) => (3, true, false),
            ColorType::RGBA(_) => (4, true, true),
            // What `image` does with the others, it says itself.
            _ => (0, false, false),
        };
        Ok(Self {
            format: SampleFormat::from_u16_exhaustive(format),
            bits: colour.bit_depth(),
            channels,
            has_colour,
            has_alpha,
            is_multiplied: has_alpha
                && extra.is_some_and(|extra| extra.contains(&ExtraSamples::AssociatedAlpha.to_u16())),
        })
    }

    fn words(&self) -> String {
        let kind = match self.format {
            SampleFormat::Uint => "unsigned",
            SampleFormat::Int => "signed",
            SampleFormat::IEEEFP => "floating-point",
            _ => "unknown",
        };
        format!("{kind} samples of {} bits", self.bits)
    }

    fn unread(&self) -> String {
        format!("it has {}, which are not read; save it with 8 or 16 bits a channel", self.words())
    }

    /// Samples of 0 to 1 -> the picture over black, and whether it has transparent places
    fn picture(&self, values: &[f64], width: u32, height: u32) -> Result<(RgbImage, bool), String> {
        if self.channels == 0 || values.len() != width as usize * height as usize * self.channels {
            return Err(self.unread());
        }
        let allowed = -OVERSHOOT..=1.0 + OVERSHOOT;
        if let Some(value) = values.iter().find(|value| !allowed.contains(*value)) {
            return Err(format!(
                "it has {} with values such as {value}, where 0 is black and 1 is white; scale them to 0 to 1, or save \
                 it with 8 or 16 bits a channel",
                self.words()
            ));
        }
        let mut pixels = values.chunks_exact(self.channels);
        let byte = |value: f64| ((value as f32).clamp(0.0, 1.0) * 255.0).round() as u8;
        let picture = RgbaImage::from_fn(width, height, |_, _| {
            let pixel = pixels.next().unwrap_or_default();
            let channel = |index: usize| byte(pixel[if self.has_colour { index } else { 0 }]);
            let is_opaque = !self.has_alpha || self.is_multiplied;
            let opacity = pixel.last().filter(|_| !is_opaque).map_or(255, |alpha| byte(*alpha));
            Rgba([channel(0), channel(1), channel(2), opacity])
        });
        Ok((alpha::over_black(&picture), alpha::is_transparent(&picture)))
    }
}

/// The samples, 0 to 1 where they are integers; none of those with a sign, whose black is not said.
fn values(samples: &DecodingResult) -> Option<Vec<f64>> {
    let of = |largest: f64| move |value: f64| value / largest;
    Some(match samples {
        DecodingResult::U8(values) => values.iter().map(|&v| f64::from(v)).map(of(255.0)).collect(),
        DecodingResult::U16(values) => values.iter().map(|&v| f64::from(v)).map(of(65535.0)).collect(),
        DecodingResult::U32(values) => {
            values.iter().map(|&v| f64::from(v)).map(of(f64::from(u32::MAX))).collect()
        }
        DecodingResult::U64(values) => values.iter().map(|&v| v as f64).map(of(u64::MAX as f64)).collect(),
        DecodingResult::F16(values) => values.iter().map(|v| v.to_f64()).collect(),
        DecodingResult::F32(values) => values.iter().map(|&v| f64::from(v)).collect(),
        DecodingResult::F64(values) => values.clone(),
        _ => return None,
    })
}
