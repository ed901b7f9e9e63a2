//! Motion that is given, as masks of every frame: what a transfer would be led by.

use axum::http::Method;
use motionflow_engine::clips::{Gray, shrunk};
use motionflow_engine::motion::track::{Outline, Track};
use motionflow_engine::progress::Progress;
use motionflow_engine::request::MotionOptions;
use motionflow_engine::request::recommended::Video;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;

use crate::problem::{Code, Problem};
use crate::request::Asked;
use crate::route::{Json, NoBody, NoQuery, Route, Shared};
use crate::studio::Studio;
use crate::watch::of_bytes;

/// The larger side of masks, where nothing is said.
const SIDE: u32 = 128;
/// The most values that are sent.
const MOST_VALUES: u64 = 64 << 20;

/// The size of a video.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Size {
    width: u32,
    height: u32,
    frames: u32,
    fps: f64,
}

/// Motion of subjects.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Given {
    /// The table `motion` of a request
    motion: Value,
    video: Size,
    /// How many the prompt marks
    subjects: usize,
    /// The larger side of the masks
    side: Option<u32>,
}

/// Motion of one subject.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneGiven {
    /// The table `motion` of a request
    motion: Value,
    video: Size,
    #[serde(default)]
    shape: Outline,
}

/// The masks of subjects.
#[derive(Debug, Serialize, JsonSchema)]
struct MotionMasks {
    frames: u32,
    width: u32,
    height: u32,
    subjects: Vec<SubjectMasks>,
    /// base64 of uint8 [frames, height, width]
    avoid: Option<String>,
}

/// The masks of one subject.
#[derive(Debug, Serialize, JsonSchema)]
struct SubjectMasks {
    /// base64 of uint8 [frames, height, width]
    masks: String,
    /// Frames in which nothing is
    empty: Vec<usize>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/motion/{ref}", "The key frames of a track", saved_track),
        Route::new(&Method::POST, "/api/motion/masks", "What motion that is given is in every frame", masks),
        Route::new(&Method::POST, "/api/motion/track", "Key frames that follow a mask", track_of),
    ]
}

impl Size {
    fn video(&self) -> Result<Video, Problem> {
        let Self { width, height, frames, fps } = *self;
        let asked = motionflow_engine::request::VideoOptions {
            size: motionflow_engine::request::Size {
                width: Some(width),
                height: Some(height),
                frames: Some(frames),
            },
            rate: motionflow_engine::request::Rate { fps: Some(fps) },
        };
        let video = asked.resolve(&Video::default())?;
        if u64::from(width) * u64::from(height) * u64::from(frames) > 8 * MOST_VALUES {
            return Err(Problem::new(
                Code::Misuse,
                "the video is too large to be shown here; give fewer frames or pixels",
            ));
        }
        Ok(video)
    }
}

fn options(studio: &Studio, motion: Value) -> Result<MotionOptions, Problem> {
    Ok(studio.read(&Asked(json!({ "motion": motion })))?.motion)
}

fn saved_track(studio: &Shared, reference: String, _: NoQuery, _: NoBody) -> Result<Json<Track>, Problem> {
    let path = studio.place.path_of(&reference)?;
    let no_track =
        |what: &str| Problem::new(Code::Unreadable, format!("{reference} is no track of key frames: {what}"));
    if !path.is_file() || fs::metadata(&path)?.len() > 16 << 20 {
        return Err(no_track("it is no small file"));
    }
    let text = fs::read_to_string(&path).map_err(|_| no_track("it is no text"))?;
    Ok(Json(Track::parse(&text).map_err(|reason| no_track(&reason))?))
}

fn masks(
    studio: &Shared,
    (): (),
    _: NoQuery,
    Json(given): Json<Given>,
) -> Result<Json<MotionMasks>, Problem> {
    let video = given.video.video()?;
    let motion = options(studio, given.motion)?;
    let side = given.side.unwrap_or(SIDE).clamp(1, 1024);
    let shown = studio.planner.shown_motion(&motion, given.subjects, &video, &mut Progress::silent())?;
    let scale = (f64::from(side) / f64::from(video.width.max(video.height))).min(1.0);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let (width, height) = (scaled(video.width), scaled(video.height));
    let bytes = |pictures: &[Gray]| -> Vec<u8> {
        pictures.iter().flat_map(|one| shrunk(one, width, height)).collect()
    };
    let subject = |pictures: &Vec<Gray>| SubjectMasks {
        masks: of_bytes(&bytes(pictures)),
        empty: pictures
            .iter()
            .enumerate()
            .filter(|(_, picture)| picture.iter().all(|value| *value == 0))
            .map(|(frame, _)| frame)
            .collect(),
    };
    Ok(Json(MotionMasks {
        frames: video.frames,
        width,
        height,
        subjects: shown.subjects.iter().map(subject).collect(),
        avoid: shown.avoid.as_deref().map(|avoid| of_bytes(&bytes(avoid))),
    }))
}

fn track_of(
    studio: &Shared,
    (): (),
    _: NoQuery,
    Json(given): Json<OneGiven>,
) -> Result<Json<Track>, Problem> {
    let video = given.video.video()?;
    let motion = options(studio, given.motion)?;
    Ok(Json(studio.planner.track_of(&motion, &video, given.shape, &mut Progress::silent())?))
}
