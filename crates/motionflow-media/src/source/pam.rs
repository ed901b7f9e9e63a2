//! The stream in which ffmpeg hands frames over: one PAM picture after the other, each saying its own size.
//!
//! The format: <https://netpbm.sourceforge.net/doc/pam.html>.

use std::io::{self, BufRead, Read};

use image::RgbaImage;

/// Reads the next picture of 8-bit RGBA, or `None` at the end of the stream.
pub(crate) fn next(stream: &mut impl BufRead) -> io::Result<Option<RgbaImage>> {
    let Some(magic) = line(stream)? else { return Ok(None) };
    if magic != "P7" {
        return Err(malformed("no P7 at its beginning"));
    }
    let (mut width, mut height) = (0, 0);
    loop {
        let header = line(stream)?.ok_or_else(|| malformed("it ends in a header"))?;
        let (key, value) = header.split_once(' ').unwrap_or((&header, ""));
        let number = || value.trim().parse::<u32>().map_err(|_| malformed("a header without a number"));
        match key {
            "WIDTH" => width = number()?,
            "HEIGHT" => height = number()?,
            "DEPTH" if number()? != 4 => return Err(malformed("not four channels")),
            "MAXVAL" if number()? != 255 => return Err(malformed("not 8 bits a channel")),
            "ENDHDR" => break,
            _ => {}
        }
    }
    let mut bytes = vec![0; width as usize * height as usize * 4];
    stream.read_exact(&mut bytes)?;
    match RgbaImage::from_raw(width, height, bytes) {
        Some(picture) if width > 0 && height > 0 => Ok(Some(picture)),
        _ => Err(malformed("a picture without size")),
    }
}

/// The next line without its end, `None` at the end of the stream.
fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let count = stream.by_ref().take(256).read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim_end().to_owned()))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected picture stream from ffmpeg: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n";

    #[test]
    fn pictures_follow_each_other() {
        let mut stream = [HEADER.as_bytes(), b"abcdefgh", HEADER.as_bytes(), b"\n\n\n\n\n\n\n\n"].concat();
        let mut reader = &stream[..];
        assert_eq!(next(&mut reader).unwrap().unwrap().as_raw(), b"abcdefgh");
        assert_eq!(next(&mut reader).unwrap().unwrap().dimensions(), (2, 1));
        assert!(next(&mut reader).unwrap().is_none());
        stream.pop();
        let mut reader = &stream[..];
        next(&mut reader).unwrap();
        assert!(next(&mut reader).is_err(), "a picture that breaks off");
    }

    #[test]
    fn other_streams_are_refused() {
        assert!(next(&mut &b"P6\n1 1\n255\nabc"[..]).is_err());
        assert!(next(&mut HEADER.replace("DEPTH 4", "DEPTH 3").as_bytes()).is_err());
        assert!(next(&mut HEADER.replace("WIDTH 2", "WIDTH x").as_bytes()).is_err());
    }
}
