//! Values of many transfers, compared with their ranges before the first of them runs.

use anyhow::Result;
use motionflow::settings::Settings;

use crate::engine::Engine;
use crate::error::{self, ErrorKind, Misuse};
use crate::folder::inversion_file::SavedInversion;
use crate::models::found::SHIPPED;
use crate::models::lookup::{CHECKPOINT, MOTION_ADAPTER, is_local};
use crate::progress::Progress;
use crate::request::Steps;
use crate::request::prompts;
use crate::request::recommended::Video;
use crate::request::resolve;
use crate::request::tables::{Request, required};

/// More steps than any schedule has, where a transfer's schedule is not known yet.
const MANY_STEPS: usize = 100_000;

/// Keys that exclude each other.
const PAIRS: [(&str, &str); 14] = [
    ("motion.mask", "motion.track"),
    ("motion.mask", "motion.subject"),
    ("motion.track", "motion.subject"),
    ("settings.step_size", "settings.step_norm"),
    ("source.inversion", "source.path"),
    ("source.inversion", "prompts.source_prompt"),
    ("source.inversion", "source.start"),
    ("source.inversion", "source.every"),
    ("source.inversion", "source.fit"),
    ("source.inversion", "video.width"),
    ("source.inversion", "video.height"),
    ("source.inversion", "video.frames"),
    ("source.inversion", "settings.steps"),
    ("source.inversion", "settings.subject_map"),
];

/// Says which keys cannot be set together, if any.
pub(crate) fn contradiction(is_set: impl Fn(&str) -> bool) -> Option<String> {
    let (one, other) = PAIRS.iter().find(|(one, other)| is_set(one) && is_set(other))?;
    Some(format!("{one} and {other} cannot be set together; leave one out"))
}

/// As [`contradiction`] of what one part of a file asks for. A record of a run has all keys, and says how they were meant.
pub(crate) fn contradiction_in(request: &Request) -> Result<Option<String>> {
    if request.program.version.is_some() {
        return Ok(None);
    }
    let keys = request.keys()?;
    Ok(contradiction(|key| keys.contains_key(key)))
}

/// Checks every value whose range is known without fetching, loading or reading a source. The error says which value is
/// out of its range.
pub(crate) fn check(request: &Request, engine: &Engine, progress: &mut Progress) -> Result<(), String> {
    match in_range(request, engine, progress) {
        Err(error) if ErrorKind::of(&error).exit_code() == ErrorKind::Misuse.exit_code() => {
            Err(error::message(&error))
        }
        // What else is wrong, as with a broken checkpoint, is reported at the transfer's turn.
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Engine {
    /// Checks what is known of a transfer without fetching, loading or reading a source: its prompts, what contradicts, and
    /// every value's range.
    ///
    /// # Errors
    /// A [`Misuse`] that says which value cannot be.
    pub fn check_values(&self, request: &Request, progress: &mut Progress) -> Result<()> {
        if let Some(what) = contradiction_in(request)? {
            return Err(Misuse(what).into());
        }
        let text = required(request.prompts.new.prompt.as_ref(), prompts::PROMPT_MISSING)?;
        let prompt = prompts::parse("--prompt", &text)?;
        let gives_all = request.motion.gives_all();
        if request.source.inversion.is_none() && !gives_all {
            required(request.source.path.as_ref(), prompts::SOURCE_MISSING)?;
            let source = required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
            let guidance = &request.settings.guidance;
            if guidance.updates != Some(false) && guidance.guided_steps != Some(0) {
                prompts::check_pair(&prompts::parse("--source-prompt", &source)?, &prompt)?;
            }
        } else if gives_all {
            prompts::with_subject("the prompt", &prompt)?;
        }
        check(request, self, progress).map_err(|what| Misuse(what).into())
    }
}

fn in_range(request: &Request, engine: &Engine, progress: &mut Progress) -> Result<()> {
    resolve::threads(request.program.resources.threads)?;
    request.source.cut.resolve()?;
    let inverted = request.source.inversion.as_ref();
    let mut requested = request.settings.clone();
    if let Some(inversion) = inverted {
        let steps = SavedInversion::open(inversion).map_or(MANY_STEPS, |saved| saved.record.steps);
        requested.steps = Steps { steps: Some(steps) };
    }
    let chosen = &request.model.chosen;
    let is_here = is_local(chosen.name.as_deref().unwrap_or(SHIPPED), CHECKPOINT)
        && chosen.motion_adapter.as_deref().is_none_or(|name| is_local(name, MOTION_ADAPTER));
    let found = if is_here { engine.find(&request.model, progress).ok() } else { None };
    let Some(found) = found else {
        let recommended = Settings { steps: MANY_STEPS, ..Settings::default() };
        let settings = requested.resolve(&recommended);
        request.video.resolve(&Video::default())?;
        return resolve::in_range(&settings, MANY_STEPS);
    };
    let settings = requested.resolve(&found.recommended.settings);
    let video = request.video.resolve(&found.recommended.video)?;
    if inverted.is_some() {
        let schedule = found.schedule()?;
        resolve::in_range(&settings, MANY_STEPS)?;
        resolve::noised_in_range(&settings, &schedule)?;
    } else {
        found.check_settings(&settings)?;
    }
    found.check_blocks(&settings)?;
    if inverted.is_none() {
        found.check_size(&video, settings.context())?;
    }
    Ok(())
}
