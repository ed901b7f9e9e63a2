//! What was uploaded, or saved in the page: clips, masks and tracks, each in a folder of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use axum::http::{Method, StatusCode};
use motionflow_engine::clips;
use motionflow_engine::motion::track::Track;
use motionflow_engine::source::find_ffmpeg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clips::Clip;
use crate::place::{Place, is_video};
use crate::problem::{Code, Problem};
use crate::request::Asked;
use crate::route::{Done, Json, NoBody, NoQuery, Route, Shared, With};
use crate::studio::{Studio, now, random_id};
use crate::watch::to_bytes;

/// The file that says what an upload is.
const ABOUT: &str = "about.json";
/// Where its content is.
const CONTENT: &str = "content";
/// Frames of masks that are painted.
const MOST_FRAMES: usize = 10_000;
/// Characters of a name.
const LONGEST_NAME: usize = 100;

/// What an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UploadKind {
    /// A video.
    Clip,
    /// Masks that were painted: a folder of PNGs.
    Masks,
    /// A track that was drawn.
    Track,
    /// A mask or a track as a file.
    Motion,
}

/// What was uploaded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UploadRecord {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    kind: UploadKind,
    pub(crate) name: String,
    bytes: u64,
    /// Seconds since 1970
    created: f64,
}

/// All uploads.
#[derive(Debug, Serialize, JsonSchema)]
struct Uploads {
    uploads: Vec<UploadRecord>,
}

/// What became of an upload.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Uploaded {
    /// Of the kind clip.
    Clip(Clip),
    /// Of the kind motion.
    Motion(UploadRecord),
}

/// What is uploaded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichUpload {
    /// clip or motion
    kind: UploadKind,
    /// Its file name
    name: String,
}

/// Masks that were painted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PaintedMasks {
    name: String,
    /// base64 PNGs of one size, one a frame; null is black
    frames: Vec<Option<String>>,
}

/// A track that was drawn.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DrawnTrack {
    name: String,
    track: Track,
}

impl UploadRecord {
    fn is_clip(&self) -> bool {
        self.kind == UploadKind::Clip
    }
}

/// The file or folder of an upload, if it is there.
pub(crate) fn content_of(folder: &Path) -> Option<PathBuf> {
    let content = folder.join(CONTENT);
    let mut entries = fs::read_dir(&content).ok()?.flatten();
    let record: UploadRecord = serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()?;
    if record.kind == UploadKind::Masks { Some(content) } else { entries.next().map(|entry| entry.path()) }
}

/// All uploads, the newest first.
fn all(place: &Place) -> Vec<UploadRecord> {
    let read = |entry: fs::DirEntry| serde_json::from_slice(&fs::read(entry.path().join(ABOUT)).ok()?).ok();
    let mut all: Vec<UploadRecord> =
        fs::read_dir(place.uploads()).into_iter().flatten().flatten().filter_map(read).collect();
    all.sort_by(|one, other| other.created.total_cmp(&one.created));
    all
}

/// Shipped clips, then uploaded ones, the newest first: reference, name and file.
pub(crate) fn all_clips(place: &Place) -> Vec<(String, String, PathBuf)> {
    let shipped = place.shipped().into_iter().map(|(name, path)| (format!("clip:{name}"), name, path));
    let uploaded = all(place).into_iter().filter(UploadRecord::is_clip);
    let uploaded = uploaded.filter_map(|upload| {
        let path = place.path_of(&upload.reference).ok()?;
        Some((upload.reference, upload.name, path))
    });
    shipped.chain(uploaded).collect()
}

impl Studio {
    /// Keeps what `write` puts into a folder, all of it or nothing.
    fn keep(
        &self,
        kind: UploadKind,
        name: &str,
        write: impl FnOnce(&Path) -> Result<u64, Problem>,
    ) -> Result<UploadRecord, Problem> {
        let passing = tempfile::tempdir_in(self.place.incoming())?;
        let content = passing.path().join(CONTENT);
        fs::create_dir(&content)?;
        let bytes = write(&content)?;
        let id = random_id(8)?;
        let name: String = name.chars().filter(|sign| !sign.is_control()).take(LONGEST_NAME).collect();
        let record = UploadRecord { reference: format!("upload:{id}"), kind, name, bytes, created: now() };
        fs::write(passing.path().join(ABOUT), serde_json::to_vec(&record).unwrap_or_default())?;
        fs::rename(passing.path(), self.place.uploads().join(&id))?;
        // It is not there any more under this name.
        let _ = passing.keep();
        self.look_at_disk();
        Ok(record)
    }
}

/// A name that is fit for a file: letters, digits and the ending.
fn file_name(name: &str) -> String {
    let plain = |sign: char| if sign.is_ascii_alphanumeric() || "-_.".contains(sign) { sign } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches(['.', '-']);
    let start = name.len().saturating_sub(LONGEST_NAME);
    let name = name[start..].trim_start_matches(['.', '-']);
    if name.is_empty() { "file".to_owned() } else { name.to_owned() }
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::POST, "/api/uploads", "Uploads a clip, a mask or a track", upload),
        Route::new(&Method::GET, "/api/uploads", "What was uploaded", list),
        Route::new(&Method::DELETE, "/api/uploads/{id}", "Removes an upload", remove),
        Route::new(&Method::POST, "/api/masks", "Keeps masks that were painted", masks),
        Route::new(&Method::POST, "/api/tracks", "Keeps a track that was drawn", track),
    ]
}

fn upload(
    studio: &Shared,
    (): (),
    which: WhichUpload,
    file: crate::route::Upload,
) -> Result<With<Uploaded>, Problem> {
    if !matches!(which.kind, UploadKind::Clip | UploadKind::Motion) {
        return Err(Problem::malformed(
            "kind is clip or motion; masks and tracks have addresses of their own",
        ));
    }
    let name = file_name(&which.name);
    if file.0.as_file().metadata()?.len() == 0 {
        return Err(Problem::new(Code::Unreadable, format!("{name}: is empty")));
    }
    let record = studio.keep(which.kind, &which.name, |content| {
        let path = content.join(&name);
        let bytes = fs::copy(file.0.path(), &path)?;
        let is_data = !is_video(&path);
        match which.kind {
            UploadKind::Clip => {
                clips::facts(&find_ffmpeg()?, &path)
                    .map_err(|error| Problem::unreadable(&error).without(content))?;
            }
            _ if is_data && name.to_lowercase().ends_with(".json") => {
                let text = fs::read_to_string(&path)?;
                Track::parse(&text).map_err(|reason| {
                    Problem::new(Code::Unreadable, format!("{name}: is no track: {reason}"))
                })?;
            }
            _ => {}
        }
        Ok(bytes)
    })?;
    let answer = if which.kind == UploadKind::Clip {
        let path = studio.place.path_of(&record.reference)?;
        Uploaded::Clip(studio.clip(&record.reference, &path, record.name)?)
    } else {
        Uploaded::Motion(record)
    };
    Ok(With(StatusCode::CREATED, answer))
}

fn list(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Uploads>, Problem> {
    Ok(Json(Uploads { uploads: all(&studio.place) }))
}

fn remove(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Done, Problem> {
    let reference = format!("upload:{id}");
    studio.place.path_of(&reference)?;
    let _alone = studio.changing();
    for job in studio.queue.all()?.into_iter().filter(|job| !job.state.is_over()) {
        if Asked::kept(&job.request).references().contains(&reference) {
            return Err(Problem::busy(format!("job \"{}\" takes it; remove the job first", job.id)));
        }
    }
    fs::remove_dir_all(studio.place.uploads().join(&id))?;
    Ok(Done)
}

fn masks(
    studio: &Shared,
    (): (),
    _: NoQuery,
    Json(painted): Json<PaintedMasks>,
) -> Result<With<UploadRecord>, Problem> {
    let unreadable = |what: String| Problem::new(Code::Unreadable, what);
    if painted.frames.len() > MOST_FRAMES {
        return Err(unreadable(format!("there are more than {MOST_FRAMES} frames")));
    }
    let mut size = None;
    let mut frames = Vec::new();
    for (index, frame) in painted.frames.iter().enumerate() {
        let bytes = match frame {
            None => None,
            Some(text) => {
                let bytes =
                    to_bytes(text).ok_or_else(|| unreadable(format!("frame {index} is no base64")))?;
                let found = clips::png_size(&bytes)
                    .map_err(|error| unreadable(format!("frame {index} is no PNG: {error}")))?;
                if *size.get_or_insert(found) != found {
                    return Err(unreadable(format!("frame {index} is of another size than the first")));
                }
                Some(bytes)
            }
        };
        frames.push(bytes);
    }
    let (width, height) = size.ok_or_else(|| unreadable("nothing is painted in any frame".to_owned()))?;
    let black = clips::black_png(width, height)?;
    let record = studio.keep(UploadKind::Masks, &painted.name, |content| {
        let mut all = 0;
        for (index, frame) in frames.iter().enumerate() {
            let bytes = frame.as_ref().unwrap_or(&black);
            fs::File::create(content.join(format!("{:05}.png", index + 1)))?.write_all(bytes)?;
            all += bytes.len() as u64;
        }
        Ok(all)
    })?;
    Ok(With(StatusCode::CREATED, record))
}

fn track(
    studio: &Shared,
    (): (),
    _: NoQuery,
    Json(drawn): Json<DrawnTrack>,
) -> Result<With<UploadRecord>, Problem> {
    let text = serde_json::to_string_pretty(&drawn.track)
        .map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    Track::parse(&text)
        .map_err(|reason| Problem::new(Code::Unreadable, format!("the track cannot be: {reason}")))?;
    let record = studio.keep(UploadKind::Track, &drawn.name, |content| {
        fs::write(content.join("track.json"), &text)?;
        Ok(text.len() as u64)
    })?;
    Ok(With(StatusCode::CREATED, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_fit_for_files() {
        assert_eq!(file_name("my car.mp4"), "my-car.mp4");
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("…"), "file");
        let long = file_name(&format!("{}.mp4", "x".repeat(500)));
        assert_eq!((long.len(), &long[LONGEST_NAME - 4..]), (LONGEST_NAME, ".mp4"));
    }
}
