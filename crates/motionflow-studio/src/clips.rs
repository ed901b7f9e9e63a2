//! Clips and their frames: as pictures one by one, or all in one sheet for quick scrubbing.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use motionflow_engine::clips::{self, Tiling, Wanted};
use motionflow_engine::request::CutOptions;
use motionflow_engine::source::find_ffmpeg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::problem::{Code, Problem};
use crate::route::{Blob, Json, NoBody, NoQuery, Route, Shared};
use crate::studio::Studio;
use crate::uploads;

/// The largest side of a tile, where nothing is said.
const SIDE: u32 = 256;
/// The largest side of a poster.
const POSTER: u32 = 160;
/// Frames of a clip where nothing is said.
const FRAMES: usize = 256;
/// Pixels of a sheet; tiles are made smaller until it has no more.
const SHEET: u64 = 24 << 20;
/// Bytes of pictures that are kept.
const KEPT: usize = 32 << 20;

/// A clip.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Clip {
    #[serde(rename = "ref")]
    reference: String,
    name: String,
    width: u32,
    height: u32,
    fps: f64,
    bytes: u64,
    /// Shipped clips have one
    source_prompt: Option<String>,
    /// Address of a JPEG
    poster: String,
}

/// All clips.
#[derive(Debug, Serialize, JsonSchema)]
struct Clips {
    clips: Vec<Clip>,
}

/// Which frames, and how large.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cut {
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) frames: Option<u32>,
    pub(crate) start: Option<f64>,
    pub(crate) every: Option<u32>,
    pub(crate) fit: Option<String>,
    /// The largest side of a tile
    pub(crate) side: Option<u32>,
}

/// Frames in a sheet.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Frames {
    #[serde(rename = "ref")]
    reference: String,
    /// As the model gets them
    width: u32,
    height: u32,
    frames: usize,
    fps: f64,
    /// Address of a JPEG
    pub(crate) sheet: String,
    tile_width: u32,
    tile_height: u32,
    columns: u32,
    rows: u32,
    notices: Vec<String>,
}

/// Pictures that were made last.
#[derive(Debug, Default)]
pub(crate) struct ClipStore {
    kept: Mutex<VecDeque<Arc<Made>>>,
    /// Held while a clip is decoded: one at a time is enough, and takes least memory.
    decoding: Mutex<()>,
}

/// What was made of a clip.
#[derive(Debug)]
struct Made {
    key: (PathBuf, Option<SystemTime>, String),
    bytes: Vec<u8>,
    frames: usize,
    fps: f64,
    tile: (u32, u32),
    notices: Vec<String>,
}

/// What is made of a clip.
enum Product {
    Sheet,
    Frame(usize),
}

/// The address of a clip's poster.
pub(crate) fn poster(reference: &str) -> String {
    format!("/api/clips/{}/poster", encoded(reference))
}

/// As one segment of an address.
pub(crate) fn encoded(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
    }
    all
}

impl Cut {
    /// As a part of an address.
    fn query(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            parts.extend(value.map(|value| format!("{name}={}", encoded(&value))));
        };
        add("width", self.width.map(|value| value.to_string()));
        add("height", self.height.map(|value| value.to_string()));
        add("frames", self.frames.map(|value| value.to_string()));
        add("start", self.start.map(|value| value.to_string()));
        add("every", self.every.map(|value| value.to_string()));
        add("fit", self.fit.clone());
        add("side", self.side.map(|value| value.to_string()));
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }

    /// The same in the engine's terms, for a clip of a size.
    fn wanted(&self, own: (u32, u32)) -> Result<(Wanted, (u32, u32)), Problem> {
        let fit = self.fit.as_deref().map(str::parse).transpose();
        let fit = fit.map_err(|error| Problem::new(Code::Misuse, format!("fit: {error}")))?;
        let cut = CutOptions { start: self.start, every: self.every, fit }.resolve()?;
        let (width, height) = (self.width.unwrap_or(own.0), self.height.unwrap_or(own.1));
        let within = |name: &str, value: u32, most: u32| match value {
            1.. if value <= most => Ok(value),
            _ => Err(Problem::new(Code::Misuse, format!("{name} is {value}, but must be 1 to {most}"))),
        };
        within("width", width, 8192)?;
        within("height", height, 8192)?;
        let frames = self.frames.map(|frames| within("frames", frames, 10_000)).transpose()?;
        let wanted = Wanted {
            width,
            height,
            frames: frames.map_or(FRAMES, |frames| frames as usize),
            all: frames.is_some(),
            start: cut.start,
            every: cut.every as usize,
            fit: cut.fit,
        };
        let side = within("side", self.side.unwrap_or(SIDE), 1024)?;
        Ok((wanted, tile((width, height), side, wanted.frames)))
    }
}

/// The size of a tile: no side longer than `side`, and no more pixels than a sheet may have.
fn tile((width, height): (u32, u32), side: u32, frames: usize) -> (u32, u32) {
    let longest = f64::from(width.max(height));
    let by_side = (f64::from(side) / longest).min(1.0);
    let pixels = f64::from(width) * f64::from(height) * frames as f64;
    let by_pixels = (SHEET as f64 / pixels).sqrt().min(1.0);
    let scale = by_side.min(by_pixels);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

impl Studio {
    /// What a clip is like.
    pub(crate) fn clip(&self, reference: &str, path: &Path, name: String) -> Result<Clip, Problem> {
        let ffmpeg = find_ffmpeg()?;
        let facts = clips::facts(&ffmpeg, path).map_err(|error| Problem::unreadable(&error))?;
        let source_prompt =
            reference.strip_prefix("clip:").and_then(|name| self.place.shipped_prompts().remove(name));
        Ok(Clip {
            reference: reference.to_owned(),
            name,
            width: facts.width,
            height: facts.height,
            fps: facts.fps,
            bytes: fs::metadata(path).map_or(0, |metadata| metadata.len()),
            source_prompt,
            poster: poster(reference),
        })
    }

    /// The frames of a clip in a sheet.
    pub(crate) fn frames(
        &self,
        reference: &str,
        path: &Path,
        cut: &Cut,
        sheet: String,
    ) -> Result<Frames, Problem> {
        let (made, (width, height)) = self.made(path, cut, &Product::Sheet)?;
        let Tiling { columns, rows } = Tiling::of(made.frames);
        Ok(Frames {
            reference: reference.to_owned(),
            width,
            height,
            frames: made.frames,
            fps: made.fps,
            sheet,
            tile_width: made.tile.0,
            tile_height: made.tile.1,
            columns,
            rows,
            notices: made.notices.clone(),
        })
    }

    /// The sheet itself.
    pub(crate) fn sheet(&self, path: &Path, cut: &Cut) -> Result<Blob, Problem> {
        let (made, _) = self.made(path, cut, &Product::Sheet)?;
        Ok(Blob { content_type: "image/jpeg", bytes: made.bytes.clone(), is_lasting: false })
    }

    fn made(&self, path: &Path, cut: &Cut, product: &Product) -> Result<(Arc<Made>, (u32, u32)), Problem> {
        let ffmpeg = find_ffmpeg()?;
        let unreadable = |error: anyhow::Error| Problem::unreadable(&error);
        let own = match (cut.width, cut.height) {
            (Some(width), Some(height)) => (width, height),
            _ => clips::facts(&ffmpeg, path).map(|facts| (facts.width, facts.height)).map_err(unreadable)?,
        };
        let (wanted, tile) = cut.wanted(own)?;
        let size = (wanted.width, wanted.height);
        let what = match product {
            Product::Sheet => format!("{wanted:?} {tile:?}"),
            Product::Frame(number) => format!("{wanted:?} frame {number}"),
        };
        let changed = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let key = (path.to_owned(), changed, what);
        let known = || {
            let kept = self.clips.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().find(|made| made.key == key).cloned()
        };
        if let Some(made) = known() {
            return Ok((made, size));
        }
        let _one = self.clips.decoding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known() {
            return Ok((made, size));
        }
        let wanted = match product {
            Product::Sheet => Wanted { width: tile.0, height: tile.1, ..wanted },
            Product::Frame(number) if *number >= wanted.frames => {
                return Err(Problem::not_found(format!("there is no frame {number}")));
            }
            Product::Frame(number) => Wanted { frames: number + 1, all: true, ..wanted },
        };
        let frames = clips::read(&ffmpeg, path, &wanted).map_err(unreadable)?;
        let bytes = match product {
            Product::Sheet => clips::jpeg(&clips::sheet(&frames.pictures)),
            Product::Frame(_) => frames.pictures.last().map_or_else(|| Ok(Vec::new()), clips::png),
        };
        let made = Arc::new(Made {
            key,
            bytes: bytes?,
            frames: frames.pictures.len(),
            fps: frames.fps,
            tile,
            notices: frames.notices,
        });
        let mut kept = self.clips.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::clone(&made));
        while kept.len() > 1 && kept.iter().map(|made| made.bytes.len()).sum::<usize>() > KEPT {
            kept.pop_front();
        }
        Ok((made, size))
    }
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/clips", "Shipped and uploaded clips", list),
        Route::new(&Method::GET, "/api/clips/{ref}", "A clip's frames", frames),
        Route::new(&Method::GET, "/api/clips/{ref}/sheet", "All frames in one picture", sheet)
            .gives("image/jpeg"),
        Route::new(&Method::GET, "/api/clips/{ref}/frames/{n}", "One frame", frame).gives("image/png"),
        Route::new(&Method::GET, "/api/clips/{ref}/poster", "The first frame, small", poster_of)
            .gives("image/jpeg"),
        Route::raw("/api/clips/{ref}/file", "The file itself", "video/mp4", file),
    ]
}

fn list(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Clips>, Problem> {
    let all = uploads::all_clips(&studio.place).into_iter();
    let clips = all.filter_map(|(reference, name, path)| studio.clip(&reference, &path, name).ok());
    Ok(Json(Clips { clips: clips.collect() }))
}

fn frames(studio: &Shared, reference: String, cut: Cut, _: NoBody) -> Result<Json<Frames>, Problem> {
    let path = studio.place.path_of(&reference)?;
    let sheet = format!("/api/clips/{}/sheet{}", encoded(&reference), cut.query());
    Ok(Json(studio.frames(&reference, &path, &cut, sheet)?))
}

fn sheet(studio: &Shared, reference: String, cut: Cut, _: NoBody) -> Result<Blob, Problem> {
    studio.sheet(&studio.place.path_of(&reference)?, &cut)
}

fn frame(
    studio: &Shared,
    (reference, number): (String, usize),
    cut: Cut,
    _: NoBody,
) -> Result<Blob, Problem> {
    let path = studio.place.path_of(&reference)?;
    let (made, _) = studio.made(&path, &cut, &Product::Frame(number))?;
    Ok(Blob { content_type: "image/png", bytes: made.bytes.clone(), is_lasting: false })
}

fn poster_of(studio: &Shared, reference: String, _: NoQuery, _: NoBody) -> Result<Blob, Problem> {
    let path = studio.place.path_of(&reference)?;
    studio.sheet(&path, &Cut { frames: Some(1), side: Some(POSTER), ..Cut::default() })
}

async fn file(studio: Shared, request: Request<Body>) -> Response {
    let segment = files::segment(request.uri().path(), 2);
    match segment
        .ok_or_else(|| Problem::not_found("there is nothing of this name"))
        .and_then(|name| studio.place.path_of(&name))
    {
        Ok(path) => files::serve(&path, request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_their_shape_and_sheets_their_size() {
        assert_eq!(tile((128, 128), 256, 16), (128, 128));
        assert_eq!(tile((832, 480), 256, 81), (256, 148));
        let (width, height) = tile((1920, 1080), 1024, 10_000);
        assert!(u64::from(width) * u64::from(height) * 10_000 < SHEET + SHEET / 10 && width > height);
        assert_eq!(encoded("run:a b/c.mp4"), "run:a%20b%2Fc.mp4");
    }
}
