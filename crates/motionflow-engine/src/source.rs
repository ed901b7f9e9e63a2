//! The source video: its frames as pictures, and as the model wants them.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use motionflow::clip::Clip;
use motionflow_media::image::RgbImage;
use motionflow_media::source::{self, Notice};
use motionflow_media::{Ffmpeg, ReadOptions};
use sha2::{Digest, Sha256};

use crate::error::{FAULT, Misuse, NOT_UTF8};
use crate::folder::record::{RunRecord, SourceRecord, VideoRecord};
use crate::models::lookup::beside_program;
use crate::progress::Progress;
use crate::request::prompts;
use crate::request::recommended::Video;
use crate::request::resolve::Cut;
use crate::request::tables::{Request, required};

/// Frames of a source at the video's size.
#[derive(Debug)]
pub struct SourceClip {
    /// At the video's size.
    pub frames: Vec<RgbImage>,
    /// Where they came from.
    pub record: SourceRecord,
    /// What was done to the source, or found in it; to be told in each run.
    pub(crate) notices: Vec<Notice>,
}

impl SourceClip {
    /// Reads as many frames as the video shall have.
    pub(crate) fn read(
        ffmpeg: &Ffmpeg,
        path: &Path,
        cut: Cut,
        video: &Video,
        progress: &mut Progress,
    ) -> Result<Self> {
        let stage = progress.stage("read", 1);
        let options = ReadOptions {
            start: cut.start,
            every: cut.every as usize,
            fit: cut.fit,
            image_fps: video.fps,
            ..ReadOptions::new(video.frames as usize, video.width, video.height)
        };
        let clip = source::read(ffmpeg, path, &options).context("--source")?;
        let record = SourceRecord {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
            sha256: if path.is_file() { Some(sha256_of_file(path)?) } else { None },
            frames_sha256: sha256_of_frames(&clip.frames),
            start: cut.start,
            every: cut.every,
            fit: cut.fit.to_string(),
            fps: clip.fps,
            inversion: None,
            inversion_sha256: None,
        };
        stage.finish();
        tell(path, &clip.notices, progress);
        Ok(Self { frames: clip.frames, record, notices: clip.notices })
    }

    /// The frames for the model.
    pub(crate) fn clip(&self) -> Clip {
        clip_of(&self.frames)
    }
}

/// The source that was read last stays, and ffmpeg is found once.
#[derive(Debug, Default)]
pub struct SourceStore {
    ffmpeg: Option<Ffmpeg>,
    /// The source that was read last, and what of it.
    last: Option<((PathBuf, Cut, Video), Arc<SourceClip>)>,
}

impl SourceStore {
    /// The ffmpeg to use.
    ///
    /// # Errors
    /// As [`find_ffmpeg`].
    pub fn ffmpeg(&mut self) -> Result<Ffmpeg> {
        if let Some(found) = &self.ffmpeg {
            return Ok(found.clone());
        }
        let found = find_ffmpeg()?;
        self.ffmpeg = Some(found.clone());
        Ok(found)
    }

    /// Frames of a source, read once for runs in a row.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        cut: Cut,
        video: &Video,
        progress: &mut Progress,
    ) -> Result<Arc<SourceClip>> {
        let wanted = (path.to_owned(), cut, video.clone());
        let known = self.last.as_ref().filter(|(before, _)| *before == wanted);
        if let Some(source) = known.map(|(_, source)| Arc::clone(source)) {
            tell(path, &source.notices, progress);
            return Ok(source);
        }
        let ffmpeg = self.ffmpeg()?;
        let source = Arc::new(SourceClip::read(&ffmpeg, path, cut, video, progress)?);
        self.last = Some((wanted, Arc::clone(&source)));
        Ok(source)
    }

    /// The frames that a run was made of; `path` is where the source is by now.
    pub(crate) fn read_recorded(
        &mut self,
        record: &RunRecord,
        path: Option<&Path>,
        progress: &mut Progress,
    ) -> Result<Arc<SourceClip>> {
        let source = record.source.as_ref().context("the run has no source")?;
        if let Some((_, last)) = &self.last
            && last.record.frames_sha256 == source.frames_sha256
        {
            return Ok(Arc::clone(last));
        }
        let VideoRecord { width, height, frames, fps } = record.video;
        let fit = source.fit.parse().map_err(|error| anyhow!("{FAULT}: {error}"))?;
        let cut = Cut { start: source.start, every: source.every, fit };
        let video = Video { width, height, frames, fps };
        self.read(path.unwrap_or(Path::new(&source.path)), cut, &video, progress)
    }
}

/// Warns of what was done to a video, or found in it.
pub(crate) fn tell(path: &Path, notices: &[Notice], progress: &mut Progress) {
    for notice in notices {
        progress.warn(format!("{}: {notice}", path.display()));
    }
}

/// The source that a request names. It must be there, before a checkpoint is fetched for it.
pub(crate) fn source_path(request: &Request) -> Result<PathBuf> {
    let path = required(request.source.path.as_ref(), prompts::SOURCE_MISSING)?;
    check_utf8("--source", &path)?;
    if path.exists() {
        return Ok(path);
    }
    Err(motionflow_media::Error::SourceMissing { path }).context("--source")
}

/// Checks that a path can stand in a run's record, which is text and has the whole of it.
pub(crate) fn check_utf8(flag: &str, path: &Path) -> Result<()> {
    if std::path::absolute(path).is_ok_and(|whole| whole.to_str().is_none()) {
        return Err(Misuse(format!("{flag}: {NOT_UTF8}: {}", path.display())).into());
    }
    Ok(())
}

/// The ffmpeg to use: the user's, else the one that `cargo xtask setup` brought.
///
/// # Errors
/// When there is none that runs.
pub fn find_ffmpeg() -> Result<Ffmpeg> {
    Ok(Ffmpeg::find(beside_program(Path::new(".native").join("ffmpeg")).as_deref())?)
}

/// Pictures of one size -> clip
pub(crate) fn clip_of(frames: &[RgbImage]) -> Clip {
    let (width, height) = frames.first().map_or((0, 0), RgbImage::dimensions);
    let bytes: Vec<&[u8]> = frames.iter().map(|frame| frame.as_raw().as_slice()).collect();
    Clip::from_rgb(&bytes, i64::from(height), i64::from(width))
}

/// Clip -> pictures
pub(crate) fn pictures_of(clip: &Clip) -> Vec<RgbImage> {
    let (height, width) = clip.size();
    let picture = |rgb| RgbImage::from_raw(width as u32, height as u32, rgb);
    clip.to_rgb().into_iter().filter_map(picture).collect()
}

/// SHA-256 of a file, in hex; the error says which file.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String> {
    sha256_at(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_at(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    io::copy(&mut file, &mut digest)?;
    Ok(hex(&digest.finalize()))
}

/// SHA-256, in hex, over the pixels of frames of one size.
pub(crate) fn sha256_of_frames(frames: &[RgbImage]) -> String {
    let mut digest = Sha256::new();
    for frame in frames {
        digest.update(frame.as_raw());
    }
    hex(&digest.finalize())
}

/// Bytes as lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_survive_the_way_to_a_clip_and_back() {
        let picture = |seed: u8| RgbImage::from_fn(5, 3, |x, y| [x as u8 * 40, y as u8 * 60, seed].into());
        let frames = vec![picture(0), picture(9)];
        assert_eq!(pictures_of(&clip_of(&frames)), frames);
    }

    #[test]
    fn the_hash_is_sha256() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(&path).unwrap(), expected);
    }
}
