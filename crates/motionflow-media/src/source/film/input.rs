//! How ffmpeg is told to open a film.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::ffmpeg::file_url;

/// A film as ffmpeg opens it.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    /// The name of its format, where its content alone would not be believed.
    format: Option<&'static str>,
    /// A decoder for the stream of this index.
    pub(super) decoder: Option<(usize, &'static str)>,
    /// Where a link to it with a plain name lies.
    _link: Option<TempDir>,
}

impl Input {
    /// # Errors
    /// [`Error::SourceUnreadable`] when a link is needed and cannot be made.
    pub(super) fn new(path: &Path, format: Option<&'static str>) -> Result<Self> {
        let plain = Self { path: path.to_owned(), format, decoder: None, _link: None };
        if format.is_some() || !reads_as_pattern(path) {
            return Ok(plain);
        }
        let (folder, path) =
            linked(path).map_err(|source| Error::SourceUnreadable { path: path.to_owned(), source })?;
        Ok(Self { path, _link: Some(folder), ..plain })
    }

    /// The arguments that open it, from `seconds` on if that is over 0: from the key frame before, times counted from
    /// there.
    pub(super) fn arguments(&self, seconds: u64) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if seconds > 0 {
            arguments.extend(["-noaccurate_seek".into(), "-ss".into(), seconds.to_string().into()]);
        }
        if let Some((stream, decoder)) = self.decoder {
            arguments.extend([format!("-c:{stream}").into(), decoder.into()]);
        }
        if let Some(format) = self.format {
            arguments.extend(["-f".into(), format.into()]);
        }
        arguments.extend(["-i".into(), file_url(&self.path)]);
        arguments
    }
}

/// Whether ffmpeg's demuxers of images might take the path for a pattern of many files' names.
fn reads_as_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&b'%')
}

/// A link of a plain name, with the same ending, to a file.
fn linked(path: &Path) -> std::io::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let mut name = PathBuf::from("source");
    if let Some(ending) = path.extension().filter(|ending| !ending.as_encoded_bytes().contains(&b'%')) {
        name.set_extension(ending);
    }
    let link = folder.path().join(name);
    let file = std::path::absolute(path)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(file, &link)?;
    #[cfg(not(unix))]
    if std::fs::hard_link(&file, &link).is_err() {
        std::fs::copy(&file, &link)?;
    }
    Ok((folder, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_get_a_plain_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a%03d.png");
        std::fs::write(&path, "x").unwrap();
        let input = Input::new(&path, None).unwrap();
        let url = input.arguments(0).pop().unwrap().into_string().unwrap();
        assert!(url.ends_with("source.png") && !url.contains('%'), "{url}");
        assert_eq!(std::fs::read(url.strip_prefix("file:").unwrap()).unwrap(), b"x");
        let forced = Input::new(&path, Some("apng")).unwrap();
        assert!(forced.arguments(0).contains(&"apng".into()));
    }

    #[test]
    fn arguments_stand_before_the_file() {
        let mut input = Input::new(Path::new("a.webm"), None).unwrap();
        input.decoder = Some((2, "libvpx"));
        assert_eq!(
            input.arguments(7),
            ["-noaccurate_seek", "-ss", "7", "-c:2", "libvpx", "-i", "file:a.webm"].map(OsString::from)
        );
    }
}
