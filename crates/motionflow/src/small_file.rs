//! Reading a small file whole: never more of it than a limit, and nothing that is no file.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// For a config, in bytes. Those of published checkpoints have a few thousand.
pub const CONFIG: u64 = 1 << 20;

/// For a list of names (a vocabulary, merges, the index of shards), in bytes. CLIP's vocabulary has 1 MB.
pub const LIST: u64 = 4 << 20;

/// For a whole tokenizer in one file, in bytes. CLIP's, its merges as pairs and indented, has 4 MB; UMT5's has 16.8 MB.
pub const TOKENIZER: u64 = 32 << 20;

/// The bytes of a file that has at most `limit` of them.
///
/// # Errors
/// What the operating system says; that `path` is no file, but a folder, pipe or device; that it is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    require_file(path)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is larger than {limit} bytes, which no file of its kind needs");
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// As [`read`], of text in UTF-8, without the byte order mark that some editors put before it.
///
/// # Errors
/// As [`read`], and that it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(without_mark(read(path, limit)?))
        .map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// The bytes without a byte order mark at their front.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    bytes
}

/// To be asked before a file is opened: opening a pipe may wait for ever, and a device may have no end.
pub(crate) fn require_file(path: &Path) -> Result<()> {
    if fs::metadata(path)?.is_file() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "it is not a file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        fs::write(&path, "\u{feff}12").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12");
        fs::write(&path, b"\xff").unwrap();
        assert!(read_text(&path, 5).unwrap_err().to_string().contains("utf-8"));
    }

    #[test]
    fn opens_nothing_that_is_no_file() {
        let place = tempfile::tempdir().unwrap();
        assert!(read(place.path(), 5).unwrap_err().to_string().contains("not a file"));
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero"), 5).unwrap_err().to_string().contains("not a file"));
    }
}
