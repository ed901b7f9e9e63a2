//! Telling a stream of JPEG pictures, a film, from a single one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Whether a file is one JPEG picture after another, of one size, as a raw Motion JPEG stream is.
///
/// Pictures that carry another one for cameras and screens (a preview, a second view, a map of brightness) are single
/// ones: what they carry lies in a segment, is announced by one of the name `MPF`, or has another size.
pub(super) fn is_film(path: &Path) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let mut next = || match picture(&mut file) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    };
    let Some(first) = next()? else { return Ok(false) };
    if first.has_others {
        return Ok(false);
    }
    Ok(next()?.is_some_and(|second| second.size == first.size && !second.has_others))
}

/// What is known of a picture when the file stands behind it.
struct Picture {
    /// Height and width, as the file has them.
    size: Option<[u8; 4]>,
    /// Whether it announces other pictures in the same file.
    has_others: bool,
}

/// Goes through a picture from its first to its last marker, zeros before it left out; `None` where there is none.
fn picture(file: &mut BufReader<File>) -> io::Result<Option<Picture>> {
    let mut byte = read_byte(file)?;
    while byte == 0 {
        byte = read_byte(file)?;
    }
    if [byte, read_byte(file)?] != [0xFF, 0xD8] {
        return Ok(None);
    }
    let mut picture = Picture { size: None, has_others: false };
    loop {
        match marker(file)? {
            0xD9 => return Ok(Some(picture)),
            // Markers without content.
            0x01 | 0xD0..=0xD7 => {}
            0xD8 => return Ok(None),
            name => segment(file, name, &mut picture)?,
        }
    }
}

/// The next marker, what lies before it left out: in a scan, the coded picture.
fn marker(file: &mut BufReader<File>) -> io::Result<u8> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let found = buffer.iter().position(|byte| *byte == 0xFF);
        let skipped = found.map_or(buffer.len(), |at| at + 1);
        file.consume(skipped);
        if found.is_none() {
            continue;
        }
        let mut name = read_byte(file)?;
        while name == 0xFF {
            name = read_byte(file)?;
        }
        // 0xFF as such, within a scan.
        if name != 0 {
            return Ok(name);
        }
    }
}

fn segment(file: &mut BufReader<File>, name: u8, picture: &mut Picture) -> io::Result<()> {
    let mut length = [0; 2];
    file.read_exact(&mut length)?;
    let mut rest = usize::from(u16::from_be_bytes(length)).saturating_sub(2);
    let is_frame = matches!(name, 0xC0..=0xCF) && !matches!(name, 0xC4 | 0xC8 | 0xCC);
    if (is_frame || name == 0xE2) && rest >= 5 {
        let mut head = [0; 5];
        file.read_exact(&mut head)?;
        rest -= head.len();
        if is_frame {
            let [_, size @ ..] = head;
            picture.size = Some(size);
        } else if head.starts_with(b"MPF\0") {
            picture.has_others = true;
        }
    }
    let rest = i64::try_from(rest).map_err(io::Error::other)?;
    file.seek_relative(rest)
}

fn read_byte(file: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = io::Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(width, height, |x, y| [(x * 37) as u8, (y * 91) as u8, 200].into());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    fn is_film_of(bytes: &[u8]) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        is_film(file.path()).unwrap()
    }

    #[test]
    fn films_are_told_from_pictures() {
        let (large, small) = (jpeg(64, 48), jpeg(16, 12));
        assert!(is_film_of(&[&large[..], &large].concat()));
        assert!(is_film_of(&[&large[..], &[0; 9], &large, &small].concat()));
        assert!(!is_film_of(&large));
        assert!(
            !is_film_of(&[&large[..], b"\0\0\0\x18ftypmp42"].concat()),
            "a picture with a film behind it"
        );
        assert!(!is_film_of(&[&large[..], &small].concat()), "a picture with a map of brightness behind it");
        assert!(!is_film_of(&[&large[..], &large[..large.len() / 2]].concat()), "the second one is cut off");
        // A preview within a segment.
        let mut app1 = vec![0xFF, 0xD8, 0xFF, 0xE1];
        app1.extend(u16::try_from(large.len() + 2).unwrap().to_be_bytes());
        let preview = [&app1[..], &large, &large[2..]].concat();
        assert!(!is_film_of(&preview));
        assert!(is_film_of(&[&preview[..], &preview].concat()));
        // Two views of one scene.
        let mpf = [&[0xFF, 0xD8, 0xFF, 0xE2, 0, 8][..], b"MPF\0\0\0", &large[2..]].concat();
        assert!(!is_film_of(&[&mpf[..], &mpf].concat()));
    }
}
