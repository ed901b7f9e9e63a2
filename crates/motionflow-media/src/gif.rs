//! Writing animated GIFs.

use std::io;
use std::path::Path;

use image::RgbImage;

use crate::atomic;
use crate::error::{Error, Result};
use crate::ffmpeg::Ffmpeg;
use crate::video;

/// The highest rate that browsers play: shorter delays than two hundredths of a second they slow down to ten.
const MOST_FPS: f64 = 50.0;

/// Where frames are wider, the palette is made of every so many pixels: of all pixels of noisy frames it takes longer than
/// all else together.
const PALETTE_WIDTH: u32 = 128;

/// Colours are looked up in the palette in steps of four: each colour that a frame has is looked for once, and noisy frames have
/// too many.
const ROUNDED: &str = "lutrgb=r='bitand(val,0xFC)+2':g='bitand(val,0xFC)+2':b='bitand(val,0xFC)+2'";

/// Writes frames as a GIF that loops for ever, with one palette of up to 256 colours made for exactly these frames.
///
/// GIF counts time in hundredths of a second, so single delays are rounded, their sum is right. Rates over 50 frames
/// per second leave frames out, but at least one is there. `comment` is kept in the file as text. The file appears whole or not at all.
///
/// # Errors
/// As [`video::write_mp4`].
pub fn write_gif(
    ffmpeg: &Ffmpeg,
    path: &Path,
    frames: &[RgbImage],
    fps: f64,
    comment: Option<&str>,
) -> Result<()> {
    // Of what is shorter than half a step, the slower rate would leave nothing.
    let is_moment = fps > MOST_FPS && (frames.len() as f64) < 0.5 * fps / MOST_FPS;
    let (frames, fps) = if is_moment { (&frames[..frames.len().min(1)], MOST_FPS) } else { (frames, fps) };
    let slower = if fps > MOST_FPS { format!("fps={MOST_FPS},") } else { String::new() };
    let palette = format!(
        "split[frames][sample];[sample]scale='min({PALETTE_WIDTH},iw)':-1:flags=neighbor,\
         palettegen=stats_mode=full:reserve_transparent=0[palette];\
         [frames]{ROUNDED}[rounded];[rounded][palette]paletteuse=dither=bayer:bayer_scale=5:diff_mode=rectangle"
    );
    atomic::write_with(path, |passing| {
        video::encode(ffmpeg, path, passing, frames, fps, |command| {
            command.args(["-vf", &format!("{slower}{palette}"), "-threads", "1"]);
            command.args(["-fflags", "+bitexact", "-flags:v", "+bitexact", "-loop", "0", "-f", "gif"]);
        })?;
        match comment {
            Some(comment) => add_comment(passing, comment)
                .map_err(|source| Error::Unwritable { path: path.to_owned(), source }),
            None => Ok(()),
        }
    })
}

/// Puts a comment block before the first frame: at the end, ffmpeg would take it for one more.
fn add_comment(path: &Path, comment: &str) -> io::Result<()> {
    let mut bytes = std::fs::read(path)?;
    let place = end_of_head(&bytes).ok_or_else(|| io::Error::other("what ffmpeg wrote is no whole GIF"))?;
    let mut block = vec![0x21, 0xFE];
    for part in comment.as_bytes().chunks(255) {
        block.push(part.len() as u8);
        block.extend(part);
    }
    block.push(0);
    bytes.splice(place..place, block);
    std::fs::write(path, bytes)
}

/// Where the head of a GIF ends: the screen's 13 bytes, the palette that they announce, and the loop count.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    const LOOP: &[u8] = b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0";
    let flags = *bytes.get(10)?;
    let palette = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let end = 13 + palette;
    let rest = bytes.get(end..)?;
    Some(if rest.starts_with(LOOP) { end + LOOP.len() } else { end })
}
