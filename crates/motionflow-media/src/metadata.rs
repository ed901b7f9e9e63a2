//! Reading back the notes that [`crate::video::write_mp4`] and [`crate::gif::write_gif`] put into a file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::atomic;
use crate::error::{Error, Result};
use crate::ffmpeg::{Ffmpeg, file_url};

/// More bytes of comments than this a GIF has for no honest reason.
const LONGEST_COMMENT: usize = 1 << 20;

/// The keys and values of an MP4 or MOV, in the file's order. Some are the container's own, such as `major_brand`.
///
/// # Errors
/// [`Error::NoMetadata`] when the file cannot be read or is no MP4.
pub fn read_mp4(ffmpeg: &Ffmpeg, path: &Path) -> Result<Vec<(String, String)>> {
    read_as(ffmpeg, path, &["-f", "mov"], &[])
}

/// The keys and values of any container that ffmpeg reads, those of its streams last. Containers have their own ways with
/// keys: Matroska writes them in capitals.
///
/// # Errors
/// [`Error::NoMetadata`] when the file cannot be read.
pub fn read_container(ffmpeg: &Ffmpeg, path: &Path) -> Result<Vec<(String, String)>> {
    let mut pairs = read_as(ffmpeg, path, &[], &[])?;
    // Ogg notes all on its streams.
    pairs.extend(read_as(ffmpeg, path, &[], &["-map_metadata:g", "0:s:v:0"]).unwrap_or_default());
    Ok(pairs)
}

/// Writes an MP4 again without its notes, its frames as they are.
///
/// # Errors
/// [`Error::Encode`] when ffmpeg cannot, and [`Error::Unwritable`].
pub fn write_without(ffmpeg: &Ffmpeg, path: &Path, to: &Path) -> Result<()> {
    atomic::write_with(to, |passing| {
        let mut command = ffmpeg.command();
        command.arg("-y").arg("-i").arg(file_url(path)).args(["-map_metadata", "-1", "-c", "copy"]);
        command.args(["-fflags", "+bitexact", "-movflags", "+faststart", "-f", "mp4"]).arg(file_url(passing));
        let (_, outcome) = ffmpeg.output(&mut command)?;
        if outcome.success {
            return Ok(());
        }
        Err(Error::Encode { path: path.to_owned(), reason: outcome.reason() })
    })
}

fn read_as(ffmpeg: &Ffmpeg, path: &Path, format: &[&str], choice: &[&str]) -> Result<Vec<(String, String)>> {
    let no_metadata = |reason: String| Error::NoMetadata { path: path.to_owned(), reason };
    File::open(path).map_err(|error| no_metadata(error.to_string()))?;
    let mut command = ffmpeg.command();
    command.args(format).arg("-i").arg(file_url(path)).args(choice);
    command.args(["-fflags", "+bitexact", "-f", "ffmetadata", "pipe:1"]);
    let (bytes, outcome) = ffmpeg.output(&mut command)?;
    if outcome.success { Ok(parse(&bytes)) } else { Err(no_metadata(outcome.reason())) }
}

/// The global section of ffmpeg's [metadata format](https://ffmpeg.org/ffmpeg-formats.html#Metadata-2): lines of
/// `key=value`, in which a backslash takes from the next byte, even a line's end, what it would mean.
fn parse(text: &[u8]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let (key, after_key) = until(rest, b"=\n");
        match (first, after_key.first()) {
            // The streams and chapters have sections of their own.
            (b'[', _) => break,
            (b';' | b'#' | b'\n', _) => rest = until(rest, b"\n").1.get(1..).unwrap_or_default(),
            (_, Some(b'=')) => {
                let (value, after_value) = until(&after_key[1..], b"\n");
                pairs.push((key, value));
                rest = after_value.get(1..).unwrap_or_default();
            }
            _ => rest = after_key.get(1..).unwrap_or_default(),
        }
    }
    pairs
}

/// The text up to the first of `ends` that no backslash stands before, without its backslashes; and the rest from
/// that end on.
fn until<'a>(text: &'a [u8], ends: &[u8]) -> (String, &'a [u8]) {
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(&byte) = text.get(index) {
        if ends.contains(&byte) {
            break;
        }
        index += usize::from(byte == b'\\');
        found.extend(text.get(index));
        index += 1;
    }
    (String::from_utf8_lossy(&found).into_owned(), text.get(index..).unwrap_or_default())
}

/// The comments of a GIF, in order. Of a file that breaks off or goes wrong, those before that place.
///
/// # Errors
/// [`Error::NoMetadata`] when the file cannot be read or is no GIF.
pub fn read_gif(path: &Path) -> Result<Vec<String>> {
    let no_metadata = |reason: String| Error::NoMetadata { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| no_metadata(error.to_string()))?;
    let mut file = BufReader::new(file);
    let mut head = [0; 13];
    if file.read_exact(&mut head).is_err() || !head.starts_with(b"GIF8") {
        return Err(no_metadata("it is no GIF".into()));
    }
    let mut comments = Vec::new();
    // Whatever ends the reading, what was found stands.
    let _ = gather(&mut file, head[10], &mut comments);
    Ok(comments.iter().map(|comment| String::from_utf8_lossy(comment).into_owned()).collect())
}

/// Goes through the blocks behind the head up to the end.
fn gather(file: &mut impl Read, flags: u8, comments: &mut Vec<Vec<u8>>) -> io::Result<()> {
    skip(file, palette(flags))?;
    let mut left = LONGEST_COMMENT;
    loop {
        match byte(file)? {
            0x21 if byte(file)? == 0xFE => {
                let mut comment = Vec::new();
                parts(file, |part| {
                    let kept = part.len().min(left);
                    left -= kept;
                    comment.extend_from_slice(&part[..kept]);
                })?;
                if !comment.is_empty() {
                    comments.push(comment);
                }
            }
            0x21 => parts(file, |_| ())?,
            0x2C => {
                let mut image = [0; 9];
                file.read_exact(&mut image)?;
                // The palette, and the byte with the size of the codes.
                skip(file, palette(image[8]) + 1)?;
                parts(file, |_| ())?;
            }
            _ => return Ok(()),
        }
        if left == 0 {
            return Ok(());
        }
    }
}

/// Bytes of the palette that a screen or an image announces.
fn palette(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Parts of up to 255 bytes, up to an empty one.
fn parts(file: &mut impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut part = [0; 255];
    loop {
        let length = usize::from(byte(file)?);
        if length == 0 {
            return Ok(());
        }
        file.read_exact(&mut part[..length])?;
        each(&part[..length]);
    }
}

fn byte(file: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn skip(file: &mut impl Read, count: u64) -> io::Result<()> {
    io::copy(&mut file.take(count), &mut io::sink()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_sections_and_remarks() {
        let text = b";FFMETADATA1\na=1\n# no=\nb\\=c=x\\\ny\\\\\\;\\#\nodd\n\nempty=\n[STREAM]\nd=2\n";
        let expected = [("a", "1"), ("b=c", "x\ny\\;#"), ("empty", "")];
        assert_eq!(parse(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_text_that_breaks_off_is_read_to_its_end() {
        for text in [&b"a"[..], b"a=", b"a=\\", b"\\", b"a\\", b"", b"\n\n"] {
            assert!(parse(text).len() <= 1);
        }
    }
}
