//! Telling a PNG that is a film from a single picture.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// What a PNG file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Png {
    /// One picture.
    Picture,
    /// An animation: several frames are announced before the first pixel.
    Animation,
    /// One picture after another.
    Stream,
}

/// Goes through the chunks of a file up to the end of its first picture. One that is cut off is a picture.
pub(super) fn look(path: &Path) -> io::Result<Png> {
    match chunks(&mut BufReader::new(File::open(path)?)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Png::Picture),
        found => found,
    }
}

fn chunks(file: &mut BufReader<File>) -> io::Result<Png> {
    let mut signature = [0; 8];
    file.read_exact(&mut signature)?;
    let mut has_pixels = false;
    loop {
        let (mut length, mut name) = ([0; 4], [0; 4]);
        file.read_exact(&mut length)?;
        file.read_exact(&mut name)?;
        // A sum follows the content.
        file.seek_relative(i64::from(u32::from_be_bytes(length)) + 4)?;
        match &name {
            b"acTL" if !has_pixels => return Ok(Png::Animation),
            b"IDAT" => has_pixels = true,
            b"IEND" => break,
            _ => {}
        }
    }
    file.read_exact(&mut signature)?;
    Ok(if signature == SIGNATURE { Png::Stream } else { Png::Picture })
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    fn look_at(bytes: &[u8]) -> Png {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        look(file.path()).unwrap()
    }

    #[test]
    fn films_are_told_from_pictures() {
        let mut bytes = io::Cursor::new(Vec::new());
        RgbImage::new(9, 5).write_to(&mut bytes, ImageFormat::Png).unwrap();
        let one = bytes.into_inner();
        assert_eq!(look_at(&one), Png::Picture);
        assert_eq!(look_at(&[&one[..], &one].concat()), Png::Stream);
        assert_eq!(look_at(&[&one[..], b"something else behind it"].concat()), Png::Picture);
        assert_eq!(look_at(&one[..one.len() / 2]), Png::Picture);
        let control = b"\0\0\0\x08acTL\0\0\0\x02\0\0\0\0sum!";
        let header = 8 + 25;
        assert_eq!(look_at(&[&one[..header], control, &one[header..]].concat()), Png::Animation);
    }
}
