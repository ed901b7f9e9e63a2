//! Images whose samples are out of the ordinary: read right, or refused by name.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::ffmpeg;
use motionflow_media::image::{self, ImageBuffer, Luma, Rgb};
use motionflow_media::{Clip, Error, ReadOptions, source};
use tiff::encoder::colortype::{self as kind, ColorType};
use tiff::encoder::{TiffEncoder, TiffValue};
use tiff::tags::{ExtraSamples, Tag};

/// Of every picture here.
const COLOUR: [u8; 3] = [200, 60, 20];
const SIDE: u32 = 8;

fn read(path: &Path) -> Result<Clip, Error> {
    source::read(ffmpeg(), path, &ReadOptions::new(1, SIDE, SIDE))
}

#[track_caller]
fn shows(path: &Path, colour: [u8; 3]) {
    let clip = read(path).unwrap();
    assert!(
        clip.frames[0].pixels().all(|pixel| pixel.0 == colour),
        "{}: {:?}",
        path.display(),
        clip.frames[0]
    );
}

#[track_caller]
fn refused(path: &Path, part: &str) {
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains(part), "{message}");
}

/// Writes a TIFF of one colour, of 32 or 64 bits.
fn write<C: ColorType>(path: &Path, pixel: &[C::Inner], big: bool)
where
    C::Inner: Clone,
    [C::Inner]: TiffValue,
{
    let pixels = vec![pixel.to_vec(); (SIDE * SIDE) as usize].concat();
    let file = File::create(path).unwrap();
    if big {
        TiffEncoder::new_big(file).unwrap().write_image::<C>(SIDE, SIDE, &pixels).unwrap();
    } else {
        TiffEncoder::new(file).unwrap().write_image::<C>(SIDE, SIDE, &pixels).unwrap();
    }
}

#[test]
fn tiff_of_every_width_of_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let whole = |largest: f64| COLOUR.map(|value| f64::from(value) / 255.0 * largest);
    for big in [false, true] {
        write::<kind::RGB8>(&path, &COLOUR, big);
        shows(&path, COLOUR);
        write::<kind::RGB16>(&path, &whole(65535.0).map(|v| v as u16), big);
        shows(&path, COLOUR);
        write::<kind::RGB32>(&path, &whole(f64::from(u32::MAX)).map(|v| v as u32), big);
        shows(&path, COLOUR);
        write::<kind::RGB64>(&path, &whole(u64::MAX as f64).map(|v| v as u64), big);
        shows(&path, COLOUR);
        write::<kind::RGB32Float>(&path, &whole(1.0).map(|v| v as f32), big);
        shows(&path, COLOUR);
        write::<kind::RGB64Float>(&path, &whole(1.0), big);
        shows(&path, COLOUR);
        write::<kind::Gray32>(&path, &[0x8080_8080], big);
        shows(&path, [128; 3]);
        write::<kind::Gray32Float>(&path, &[0.5], big);
        shows(&path, [128; 3]);
    }
    // By its content, whatever it is called.
    write::<kind::RGB8>(&folder.path().join("frame"), &COLOUR, true);
    shows(&folder.path().join("frame"), COLOUR);
}

#[test]
fn tiff_that_does_not_say_that_its_samples_are_integers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    write::<kind::RGB32>(&path, &COLOUR.map(|value| u32::from(value) * 0x0101_0101), false);
    let mut bytes = fs::read(&path).unwrap();
    // The entry of the sample format becomes one that nobody reads.
    let entry = [0x53, 0x01, 3, 0];
    let place = bytes.windows(4).position(|window| window == entry).unwrap();
    bytes[place] = 0x54;
    fs::write(&path, bytes).unwrap();
    shows(&path, COLOUR);
}

#[test]
fn tiff_whose_values_have_no_colour_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    write::<kind::RGB32Float>(&path, &COLOUR.map(f32::from), false);
    refused(&path, "floating-point samples of 32 bits with values such as 200");
    write::<kind::Gray32Float>(&path, &[f32::NAN], true);
    refused(&path, "values such as NaN");
    write::<kind::GrayI16>(&path, &[300], false);
    refused(&path, "signed samples of 16 bits, which are not read");
    fs::write(&path, b"II+\0\x08\0\0\0").unwrap();
    refused(&path, "cannot be read as an image");
}

#[test]
fn tiff_whose_colours_are_multiplied_by_their_opacity() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind, expected) in [
        ("multiplied.tif", ExtraSamples::AssociatedAlpha, [100, 30, 10]),
        ("plain.tif", ExtraSamples::UnassociatedAlpha, [50, 15, 5]),
    ] {
        let path = folder.path().join(name);
        let mut encoder = TiffEncoder::new(File::create(&path).unwrap()).unwrap();
        let mut picture = encoder.new_image::<kind::RGBA8>(SIDE, SIDE).unwrap();
        picture.encoder().write_tag(Tag::ExtraSamples, &[kind.to_u16()][..]).unwrap();
        picture.write_data(&[100, 30, 10, 128].repeat((SIDE * SIDE) as usize)).unwrap();
        shows(&path, expected);
    }
}

#[test]
fn png_of_16_bits_is_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let deep = COLOUR.map(|value| u16::from(value) * 257);
    ImageBuffer::<Rgb<u16>, _>::from_pixel(SIDE, SIDE, Rgb(deep)).save(&path).unwrap();
    shows(&path, COLOUR);
    ImageBuffer::<Luma<u16>, _>::from_pixel(SIDE, SIDE, Luma([0x8080])).save(&path).unwrap();
    shows(&path, [128; 3]);
    // What is neither an image nor a video is called that, whatever its ending.
    fs::write(&path, [&b"\x89PXG"[..], &[7; 4000]].concat()).unwrap();
    assert!(image::open(&path).is_err());
    refused(&path, "what is in it is no image or video that ffmpeg knows");
}
