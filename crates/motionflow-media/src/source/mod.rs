//! Reading a clip: from a video file, an animated or still image, or a folder of images.

mod alpha;
mod film;
mod folder;
mod jpeg;
mod notice;
mod png;
mod rate;
mod shortage;
mod tiff;
mod webp;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::{ImageFormat, RgbImage};

use crate::error::{Error, Result};
use crate::ffmpeg::Ffmpeg;
use crate::fit::Fit;
pub(crate) use folder::ENDINGS as IMAGE_ENDINGS;
pub use notice::Notice;
use png::Png;
pub use shortage::Shortage;

/// Frames per second that images are taken to have which say nothing about time.
pub const IMAGE_FPS: f64 = 8.0;

/// Which frames to read, and how to bring them to a size.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOptions {
    /// Where to begin, in seconds from the first frame; 0 or more.
    pub start: f64,
    /// How many frames to keep; 1 or more.
    pub frames: usize,
    /// Keep one frame of so many, the first included; 1 or more.
    pub every: usize,
    /// What to do about another aspect ratio.
    pub fit: Fit,
    /// Width of the kept frames in pixels; 1 or more.
    pub width: u32,
    /// Height of the kept frames in pixels; 1 or more.
    pub height: u32,
    /// Frames per second of a folder of images; more than 0.
    pub image_fps: f64,
}

impl ReadOptions {
    /// The first `frames` frames, cropped to `width` × `height` pixels.
    pub fn new(frames: usize, width: u32, height: u32) -> Self {
        Self { start: 0.0, frames, every: 1, fit: Fit::default(), width, height, image_fps: IMAGE_FPS }
    }

    fn check(&self) -> Result<()> {
        let bad = |name, found: String, expected| Err(Error::BadSetting { name, found, expected });
        if !(self.start >= 0.0 && self.start.is_finite()) {
            return bad("--start", self.start.to_string(), "seconds, 0 or more");
        }
        if !(self.image_fps > 0.0 && self.image_fps <= 1000.0) {
            return bad("--fps", self.image_fps.to_string(), "frames per second over 0, up to 1000");
        }
        let counts = [("--frames", self.frames), ("--every", self.every)];
        let sides = [("--width", self.width as usize), ("--height", self.height as usize)];
        match counts.into_iter().chain(sides).find(|(_, value)| *value == 0) {
            Some((name, value)) => bad(name, value.to_string(), "a whole number, 1 or more"),
            None => Ok(()),
        }
    }
}

/// Frames of one size, evenly spaced in time.
#[derive(Debug, Clone)]
pub struct Clip {
    /// The kept frames, in order, as many and as large as [`ReadOptions`] asked for.
    pub frames: Vec<RgbImage>,
    /// Frames per second of the kept frames: the source's rate over [`ReadOptions::every`].
    pub fps: f64,
    /// Frames per second of the source.
    pub source_fps: f64,
    /// The source's own width in pixels, upright and with square pixels.
    pub source_width: u32,
    /// The source's own height in pixels, upright and with square pixels.
    pub source_height: u32,
    /// What was done to the source, or found in it, that a user should know; each once.
    pub notices: Vec<Notice>,
}

/// What a source is like before anything is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceInfo {
    /// Width in pixels, upright and with square pixels.
    pub width: u32,
    /// Height in pixels, upright and with square pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: f64,
}

/// Reads frames of a video, an animated image or a folder of images.
///
/// - Folders: their images in natural order (`frame2` before `frame10`), all of one size, hidden files left out.
/// - Of several video streams the one that the file marks as its default is read, else the first; covers never.
/// - A rotation that a phone noted down is carried out, non-square pixels are made square.
/// - Interlaced frames are deinterlaced, HDR (PQ, HLG) is tone-mapped to SDR, transparent places are laid over black.
/// - Which frames are given depends on their times alone, which count from the first frame that can be decoded. A
///   variable frame rate is made constant at the usual distance between two frames (the median), as the method counts
///   frames, not seconds: a frame that stands longer is repeated, one that comes too early is dropped.
/// - Each of these, and damage, is in [`Clip::notices`].
///
/// Of a long video only what is needed is decoded, one frame at a time; from the beginning on in a format that has no
/// exact index of times (all but MP4 and Matroska).
///
/// # Errors
/// [`Error::BadSetting`], [`Error::SourceMissing`], [`Error::SourceUnreadable`], [`Error::NotAVideo`],
/// [`Error::FfmpegCrashed`], [`Error::RateTooHigh`], [`Error::NoFrames`], [`Error::NoImages`], [`Error::BadImage`], [`Error::MixedSizes`], and
/// [`Error::TooFewFrames`], which says how many there are and what to lower.
pub fn read(ffmpeg: &Ffmpeg, path: &Path, options: &ReadOptions) -> Result<Clip> {
    options.check()?;
    match kind_of(path)? {
        Kind::Film(format) => film::read(ffmpeg, path, format, options),
        Kind::WebP => webp::read(path, options),
        Kind::Still => folder::read_images(path, &[path.to_owned()], options),
        Kind::Folder => folder::read_images(path, &folder::images_in(path)?, options),
    }
}

/// The source's own size and rate, without decoding more than its first frame. `image_fps` as in [`ReadOptions`].
///
/// # Errors
/// As [`read`], but for those about settings and the number of frames.
pub fn probe(ffmpeg: &Ffmpeg, path: &Path, image_fps: f64) -> Result<SourceInfo> {
    match kind_of(path)? {
        Kind::Film(format) => film::probe(ffmpeg, path, format),
        Kind::WebP => webp::probe(path, image_fps),
        Kind::Still => folder::probe_images(&[path.to_owned()], image_fps),
        Kind::Folder => folder::probe_images(&folder::images_in(path)?, image_fps),
    }
}

/// Who reads a source.
enum Kind {
    /// ffmpeg; the format by its own name, where the name of the file could make it take another one.
    Film(Option<&'static str>),
    /// The image decoder, as most ffmpegs cannot read animated ones.
    WebP,
    /// The image decoder: one picture.
    Still,
    /// The image decoder: many pictures.
    Folder,
}

/// Tells by the content who reads a source, and refuses what cannot be one.
fn kind_of(path: &Path) -> Result<Kind> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::SourceMissing { path: path.to_owned() },
        _ => Error::SourceUnreadable { path: path.to_owned(), source },
    };
    let not_a_video = |reason: &str| Err(Error::NotAVideo { path: path.to_owned(), reason: reason.into() });
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok(Kind::Folder);
    }
    // A video is read several times, and opening a pipe may wait for ever.
    if !metadata.is_file() {
        return not_a_video("it is a pipe, a socket or a device, not a file");
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head)).map_err(unreadable)?;
    if head.is_empty() {
        return not_a_video("it is empty (0 bytes)");
    }
    // ffmpeg would draw some texts as video, and follow playlists to other files.
    if is_text(&head) && !head.starts_with(b"YUV4MPEG2") {
        return not_a_video("it is a text file");
    }
    if tiff::is_tiff(&head) {
        return Ok(Kind::Still);
    }
    Ok(match image::guess_format(&head) {
        Ok(ImageFormat::WebP) => Kind::WebP,
        Ok(ImageFormat::Png) => match png::look(path).map_err(unreadable)? {
            Png::Animation => Kind::Film(Some("apng")),
            Png::Stream => Kind::Film(Some("png_pipe")),
            Png::Picture => Kind::Still,
        },
        Ok(ImageFormat::Jpeg) if jpeg::is_film(path).map_err(unreadable)? => Kind::Film(Some("mjpeg")),
        Ok(ImageFormat::Jpeg | ImageFormat::Bmp | ImageFormat::Tiff) => Kind::Still,
        _ => Kind::Film(None),
    })
}

/// Whether the beginning of a file is text: it says so in a byte order mark, or is UTF-8 (but for a character that is cut
/// off) with hardly a control character.
fn is_text(head: &[u8]) -> bool {
    const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"];
    if MARKS.iter().any(|mark| head.starts_with(mark)) {
        return true;
    }
    let whole = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    let is_control = |byte: &&u8| **byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0C | 0x1B);
    let controls = head[..whole].iter().filter(is_control).count();
    // Containers begin with numbers, of whose bytes many are 0.
    whole > 0 && controls * 16 <= whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_video() {
        assert!(is_text("a text, née café\r\n".as_bytes()));
        assert!(is_text(&"é".repeat(9).as_bytes()[..17]), "a cut character is no reason");
        assert!(!is_text(b"\0\0\0\x20ftypisom"));
        assert!(!is_text(b"GIF89a\x10\0\x10\0"));
        assert!(is_text(b"#EXTM3U\n\x01#EXTINF:1,\n/etc/passwd\n"), "a single control character");
        assert!(is_text(b"\xFF\xFEf\0f\0c\0o\0n\0c\0a\0t\0"));
    }
}
