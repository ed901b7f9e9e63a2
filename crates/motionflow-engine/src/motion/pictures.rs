//! A mask from files: a folder of images, one image, a video, or an npz.

use std::path::Path;

use motionflow_eval::npz::{self, Npz};
use motionflow_media::image::{GrayImage, RgbImage, imageops};
use motionflow_media::source::{self, Notice};
use motionflow_media::{Error, Ffmpeg, Fit, ReadOptions};

use super::Motion;
use crate::request::recommended::Video;

/// What is darker is black, and what is as much lighter is white.
const NEARLY: f32 = 1.0 / 16.0;

/// How far values may go beyond black and white, over the difference between the two.
const BEYOND: f32 = 0.1;
/// The longest side of a picture in an array.
const LONGEST_SIDE: f64 = 16384.0;
/// The most pixels of a picture that covers the whole video, before it is cropped.
const MOST_PIXELS: f64 = (1 << 26) as f64;

/// Masks of one file, one a subject, and what there is to say about the file.
#[derive(Debug)]
pub(crate) struct Masks {
    pub(crate) subjects: Vec<Motion>,
    pub(crate) notices: Vec<Notice>,
}

/// Reads the masks of a file for every frame of the new video.
pub(crate) fn read(ffmpeg: &Ffmpeg, path: &Path, video: &Video, fit: Fit) -> Result<Masks, String> {
    if npz::is_npz(path) {
        let subjects = of_arrays(path, video)?;
        let subjects =
            subjects.into_iter().map(|pictures| motion(pictures, video, fit)).collect::<Result<_, _>>()?;
        return Ok(Masks { subjects, notices: Vec::new() });
    }
    let options = |frames| ReadOptions {
        fit,
        image_fps: video.fps,
        ..ReadOptions::new(frames, video.width, video.height)
    };
    let frames = video.frames as usize;
    let clip = match source::read(ffmpeg, path, &options(frames)) {
        // One picture is the mask of every frame.
        Err(Error::TooFewFrames(shortage)) if shortage.total == 1 => source::read(ffmpeg, path, &options(1)),
        Err(Error::TooFewFrames(shortage)) => return Err(too_few(shortage.total, frames)),
        Err(Error::OneImage(_)) => source::read(ffmpeg, path, &options(1)),
        clip => clip,
    };
    let clip = clip.map_err(|error| {
        let (text, place) = (error.to_string(), format!("{}: ", path.display()));
        text.strip_prefix(&place).unwrap_or(&text).to_owned()
    })?;
    let pictures = clip.frames.iter().map(lightest).collect();
    Ok(Masks { subjects: vec![of_all_frames(pictures, video)?], notices: clip.notices })
}

fn too_few(found: usize, wanted: usize) -> String {
    format!(
        "it has {found} frames, and the new video {wanted}; give one image, which is the mask of every frame, or {wanted} frames or \
         more"
    )
}

/// The array that is called `masks`: [frames, height, width], or [frames, subjects, height, width].
fn of_arrays(path: &Path, video: &Video) -> Result<Vec<Vec<GrayImage>>, String> {
    let mut npz = Npz::open(path).map_err(|error| error.reason)?;
    let array = npz.read("masks").map_err(|error| error.reason)?;
    let (frames, subjects, height, width) = match array.shape[..] {
        [frames, height, width] => (frames, 1, height, width),
        // A last dimension of 1 is of channels, and no width.
        [frames, subjects, height, width] if width > 1 => (frames, subjects, height, width),
        _ => (0, 0, 0, 0),
    };
    if frames * subjects * height * width == 0 {
        return Err(format!(
            "`masks` has the shape {:?}, not [frames, height, width] or [frames, subjects, height, width]",
            array.shape
        ));
    }
    check_size(width, height, video)?;
    let scale = f32::from(u8::MAX) / white(&array.values)?;
    let picture = |values: &[f32]| {
        let bytes = values.iter().map(|value| (value * scale).clamp(0.0, 255.0) as u8).collect();
        GrayImage::from_raw(width as u32, height as u32, bytes).unwrap_or_default()
    };
    let mut all: Vec<Vec<GrayImage>> = (0..subjects).map(|_| Vec::new()).collect();
    let needed = subjects * (video.frames as usize).max(1);
    for (index, values) in array.values.chunks(height * width).take(needed).enumerate() {
        all[index % subjects].push(picture(values));
    }
    Ok(all)
}

/// What stands for white: 1, or 255.
fn white(values: &[f32]) -> Result<f32, String> {
    if values.iter().any(|value| !value.is_finite()) {
        return Err("`masks` has values that are not finite; write 0 where the subject is not".to_owned());
    }
    let (least, most) =
        values.iter().fold((0.0_f32, 0.0_f32), |(least, most), value| (least.min(*value), most.max(*value)));
    // Fractions that were resampled go a little beyond 0 and 1.
    let white = if most < 2.0 { 1.0 } else { 255.0 };
    if least < -BEYOND * white || most > (1.0 + BEYOND) * white {
        return Err(format!(
            "`masks` has values from {least} to {most}; write 0 and 1, fractions from 0 to 1, or 0 to 255"
        ));
    }
    Ok(white)
}

/// Refuses pictures that would be far larger than the video on the way to its size.
fn check_size(width: usize, height: usize, video: &Video) -> Result<(), String> {
    let [width, height] = [width, height].map(|side| side as f64);
    let scale = (f64::from(video.width) / width).max(f64::from(video.height) / height);
    if width.max(height) > LONGEST_SIDE || width * height * scale * scale > MOST_PIXELS {
        return Err(format!(
            "its pictures are {width}x{height}, and the new video {}x{}; write them in a size that is nearer to it",
            video.width, video.height
        ));
    }
    Ok(())
}

/// Brings pictures to the video's size.
fn motion(pictures: Vec<GrayImage>, video: &Video, fit: Fit) -> Result<Motion, String> {
    let fitted = |picture: GrayImage| {
        let size = (video.width, video.height);
        let picture = if picture.dimensions() == size {
            picture
        } else {
            let colours = RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
                [picture.get_pixel(x, y).0[0]; 3].into()
            });
            imageops::grayscale(&fit.apply(&colours, size.0, size.1))
        };
        picture.into_raw().into_iter().map(|value| f32::from(value) / 255.0).collect()
    };
    of_all_frames(pictures.into_iter().take(video.frames as usize).map(fitted).collect(), video)
}

/// One picture is the mask of every frame.
fn of_all_frames(mut pictures: Vec<Vec<f32>>, video: &Video) -> Result<Motion, String> {
    let frames = video.frames as usize;
    if let [only] = pictures.as_slice() {
        pictures = vec![only.clone(); frames];
    }
    if pictures.len() < frames {
        return Err(too_few(pictures.len(), frames));
    }
    let is_binary = is_binary(&pictures);
    if is_binary {
        for value in pictures.iter_mut().flatten() {
            *value = f32::from(u8::from(*value >= 0.5));
        }
    }
    Ok(Motion::of_pictures(pictures, video.width as usize, video.height as usize, is_binary))
}

/// Whether a mask means white and black: at most half of what is not black is grey. Edges that were smoothed, scaled or
/// compressed have greys, too.
fn is_binary(pictures: &[Vec<f32>]) -> bool {
    let lit = || pictures.iter().flatten().filter(|value| **value > NEARLY);
    let grey = lit().filter(|value| **value < 1.0 - NEARLY).count();
    2 * grey <= lit().count()
}

/// The lightest channel of every pixel, so that a mask may have any colour.
fn lightest(picture: &RgbImage) -> Vec<f32> {
    picture.pixels().map(|pixel| f32::from(pixel.0.into_iter().max().unwrap_or(0)) / 255.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_with_smooth_edges_is_one_of_black_and_white_and_a_gradient_is_not() {
        assert!(is_binary(&[vec![0.0, 0.3, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]]));
        assert!(!is_binary(&[vec![0.0, 0.2, 0.5, 1.0, 0.5, 0.2, 0.0, 0.0]]));
        assert!(is_binary(&[vec![0.0; 4]]));
    }

    #[test]
    fn a_mask_may_have_any_colour() {
        let red = RgbImage::from_pixel(1, 1, [255, 0, 0].into());
        assert_eq!(lightest(&red), [1.0]);
    }
}
