//! A request: what a run is to do, said by flags, by a settings file, or by the record of an earlier run.
//!
//! `run.toml` is such a file: it has these keys, all of them filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use motionflow::compute::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::{Misuse, NOT_UTF8};
use crate::toml_file;

use super::{
    ContextWindows, CutOptions, Guidance, Masks, ModelChoice, MotionOptions, NewPrompts, Preset, Resources,
    Sampling, Size, Steps, VideoOptions,
};

/// Settings of `motionflow`. Every key may be left out; flags go before the file, the file before what the checkpoint
/// recommends. Paths are relative to the file's folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Request {
    /// What the videos show.
    pub prompts: Prompts,
    /// The video whose motion is taken.
    pub source: Source,
    /// The motion that is given, or changed.
    pub motion: MotionOptions,
    /// The new video's size.
    pub video: VideoOptions,
    /// The checkpoint.
    pub model: Model,
    /// The method's settings.
    pub settings: SettingOptions,
    /// Where the files go.
    pub output: Output,
    /// How the program behaves, and which it was.
    pub program: Program,
    /// What the record calls files that were brought here from elsewhere, by where they are here
    #[serde(skip)]
    pub elsewhere: BTreeMap<PathBuf, PathBuf>,
}

/// `[prompts]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Prompts {
    /// What the source shows, its subject in brackets: "a [car] on a road"
    #[schemars(extend("x-setting" = { "value": "TEXT", "default": "", "common": true }))]
    pub source_prompt: Option<String>,
    /// Of the new video.
    #[serde(flatten)]
    pub new: NewPrompts,
}

/// `[source]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Source {
    /// Video whose motion is taken: anything ffmpeg reads, or a folder of images in natural order
    #[schemars(extend("x-setting" = { "value": "PATH", "flag": "source", "default": "", "common": true }))]
    pub path: Option<PathBuf>,
    /// Folder that `motionflow invert` made, instead of a source and its prompt
    #[schemars(extend("x-setting" = { "value": "DIR", "default": "" }))]
    pub inversion: Option<PathBuf>,
    /// Which part of the source.
    #[serde(flatten)]
    pub cut: CutOptions,
    /// Recorded: SHA-256 of the file
    pub sha256: Option<String>,
    /// Recorded: SHA-256 of the pixels that were used
    pub frames_sha256: Option<String>,
    /// Recorded: SHA-256 of the inversion's tensors
    pub inversion_sha256: Option<String>,
    /// Recorded: frames per second of the frames that were used
    pub fps: Option<f64>,
}

/// `[model]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Model {
    /// Which checkpoint.
    #[serde(flatten)]
    pub chosen: ModelChoice,
    /// Recorded: where it was found
    pub path: Option<PathBuf>,
    /// Recorded: where its motion adapter was found
    pub motion_adapter_path: Option<PathBuf>,
    /// Recorded: how β goes, where a motion adapter decides it and not the checkpoint's own config
    pub beta_schedule: Option<String>,
    /// Recorded: SHA-256 over the names and contents of its files, the motion adapter's too
    pub sha256: Option<String>,
}

/// `[settings]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SettingOptions {
    /// Which defaults apply.
    #[serde(flatten)]
    pub preset: Preset,
    /// How many steps.
    #[serde(flatten)]
    pub steps: Steps,
    /// How a prompt becomes a video.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// How many frames the net sees at once.
    #[serde(flatten)]
    pub context: ContextWindows,
    /// How attention becomes motion masks.
    #[serde(flatten)]
    pub masks: Masks,
    /// How the latents are guided.
    #[serde(flatten)]
    pub guidance: Guidance,
}

/// `[output]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Output {
    /// Folder for the results
    #[schemars(extend("x-setting" = { "value": "DIR", "flag": "output", "short": "o", "default": "out" }))]
    pub folder: Option<PathBuf>,
    /// Whether a run that the folder holds is replaced
    #[schemars(extend("x-setting" = { "sets": true, "default": "off" }))]
    pub force: Option<bool>,
    /// Whether prompts, settings and version go into the mp4 and GIF files
    #[schemars(extend("x-setting" = { "flag": "no-metadata", "sets": false, "default": "on" }))]
    pub metadata: Option<bool>,
}

/// `[program]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Program {
    /// What the run computes with.
    #[serde(flatten)]
    pub resources: Resources,
    /// Whether the cache of inversions is used
    #[schemars(extend("x-setting" = { "flag": "no-cache", "sets": false, "default": "on" }))]
    pub cache: Option<bool>,
    /// Whether nothing but an error is printed
    #[schemars(extend("x-setting" = { "sets": true, "short": "q", "default": "off" }))]
    pub quiet: Option<bool>,
    /// Whether one JSON object a line is printed
    #[schemars(extend("x-setting" = { "sets": true, "default": "off" }))]
    pub json: Option<bool>,
    /// Recorded: which command it was
    pub command: Option<String>,
    /// Recorded: the program's version
    pub version: Option<String>,
    /// Recorded: libtorch's version
    pub libtorch: Option<String>,
    /// Recorded: ffmpeg's version
    pub ffmpeg: Option<String>,
}

impl Program {
    /// That part on which the last bits of a result depend.
    #[must_use]
    pub fn of_the_bytes(&self) -> Self {
        Self { resources: self.resources.clone(), ..Self::default() }
    }
}

impl Request {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has a key that is not known.
    pub fn read(path: &Path) -> Result<Self> {
        let mut request: Self = toml_file::read(path)?;
        request.fill_in_record()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        request.paths_from(folder);
        Ok(request)
    }

    /// What the record of an earlier version has no key for was as it is by default, whatever a checkpoint recommends now.
    fn fill_in_record(&mut self) -> Result<()> {
        if self.program.version.is_none() {
            return Ok(());
        }
        let mut settings = Table::try_from(motionflow::settings::Settings::default())?;
        merge(&mut settings, Table::try_from(&self.settings)?);
        self.settings = settings.try_into()?;
        self.program.resources.precision.get_or_insert(Precision::F32);
        Ok(())
    }

    /// Lets relative paths start at `folder`.
    pub fn paths_from(&mut self, folder: &Path) {
        for path in [&mut self.source.path, &mut self.source.inversion, &mut self.output.folder] {
            *path = path.take().map(|path| folder.join(path));
        }
        for path in self.motion.paths_mut() {
            *path = folder.join(&*path);
        }
        for name in self.model.chosen.names().into_iter().flatten() {
            let beside = Some(folder.join(&name)).filter(|folder| folder.is_dir());
            if let Some(beside) = beside.as_ref().and_then(|folder| folder.to_str()) {
                beside.clone_into(name);
            }
        }
    }

    /// Every path of what it reads, besides a checkpoint, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let source = [&mut self.source.path, &mut self.source.inversion].into_iter().flatten();
        source.chain(self.motion.paths_mut())
    }

    /// What this request says, and `file` where it says nothing.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn over(&self, mut file: Self) -> Result<Self> {
        if let Some(inversion) = &file.source.inversion {
            self.leaves_inversion_alone(inversion)?;
        }
        file.forget_what_contradicts(self);
        let mut table = Table::try_from(file)?;
        merge(&mut table, self.said()?);
        Ok(table.try_into()?)
    }

    /// Whether nothing is asked.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.said()?.is_empty())
    }

    /// What is asked, as text that is the same wherever it is asked from. Where the files go and how the program behaves
    /// are no part of it, as far as no byte depends on them.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_text(&self) -> Result<String> {
        let mut request = self.clone();
        let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
        for path in [&mut request.source.path, &mut request.source.inversion].into_iter().flatten() {
            *path = whole(path)?;
        }
        for path in request.motion.paths_mut() {
            *path = whole(path)?;
        }
        for name in request.model.chosen.names().into_iter().flatten().filter(|name| Path::new(name).is_dir())
        {
            *name = whole(Path::new(name))?.display().to_string();
        }
        request.to_text_as_said()
    }

    /// As [`Request::to_text`] with its paths as they are, so that they may be relative to a file that is moved along.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_text_as_said(&self) -> Result<String> {
        let mut request = self.clone();
        request.output = Output { metadata: self.output.metadata, ..Output::default() };
        request.program = self.program.of_the_bytes();
        Ok(toml::to_string(&request.said()?)?)
    }

    /// The keys that have a value, each with its table: `settings.tau`.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn keys(&self) -> Result<BTreeMap<String, Value>> {
        let mut keys = BTreeMap::new();
        for (place, value) in self.said()? {
            match value {
                Value::Table(table) => {
                    keys.extend(table.into_iter().map(|(key, value)| (format!("{place}.{key}"), value)));
                }
                value => {
                    keys.insert(place, value);
                }
            }
        }
        Ok(keys)
    }

    /// The keys that have a value.
    fn said(&self) -> Result<Table> {
        let mut table = Table::try_from(self).map_err(|error| Misuse(format!("{NOT_UTF8}: {error}")))?;
        table.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
        Ok(table)
    }

    /// Checks that nothing is said that only another inversion could follow.
    fn leaves_inversion_alone(&self, inversion: &Path) -> Result<()> {
        if self.source.path.is_some() || self.source.inversion.is_some() {
            return Ok(());
        }
        let (cut, size) = (&self.source.cut, &self.video.size);
        let said = [
            ("source_prompt", self.prompts.source_prompt.is_some()),
            ("start", cut.start.is_some()),
            ("every", cut.every.is_some()),
            ("fit", cut.fit.is_some()),
            ("width", size.width.is_some()),
            ("height", size.height.is_some()),
            ("frames", size.frames.is_some()),
            ("steps", self.settings.steps.steps.is_some()),
        ];
        let Some((name, _)) = said.into_iter().find(|(_, said)| *said) else { return Ok(()) };
        let message = format!(
            "{name} cannot be changed: the settings file names the inversion {}, which has its own; give a source too \
             (--source) to invert anew",
            inversion.display()
        );
        Err(Misuse(message).into())
    }

    /// Forgets what a run of `generate` has recorded of guidance: it has none, and nobody asked for that.
    pub fn forget_generates_guidance(&mut self) {
        if self.program.command.as_deref() == Some("generate") {
            let guidance = &mut self.settings.guidance;
            (guidance.init, guidance.updates, guidance.guided_steps) = (None, None, None);
        }
    }

    fn forget_what_contradicts(&mut self, flags: &Self) {
        self.motion.forget_what_contradicts(&flags.motion);
        let guidance = &flags.settings.guidance;
        if guidance.step_size.is_some() || guidance.step_norm.is_some() {
            self.settings.guidance.step_size = None;
            self.settings.guidance.step_norm = None;
        }
        if flags.settings.steps.steps.is_some() {
            self.settings.guidance.guided_steps = None;
        }
        if flags.source.inversion.is_some() {
            self.source = Source::default();
            self.prompts.source_prompt = None;
            self.settings.steps = Steps::default();
            self.settings.masks.subject_map = None;
            self.video = VideoOptions { rate: self.video.rate.clone(), ..VideoOptions::default() };
        } else if flags.source.path.is_some() {
            self.source.inversion = None;
        }
        let cut = &flags.source.cut;
        let other_cut = cut.start.is_some() || cut.every.is_some() || cut.fit.is_some();
        let other_size = flags.video.size != Size::default();
        if flags.source.path.is_some() || other_cut || other_size {
            self.source.frames_sha256 = None;
        }
        if flags.source.path.is_some() || cut.every.is_some() {
            (self.source.sha256, self.source.fps) = (None, None);
        }
        if flags.model.chosen.name.is_some() {
            self.model = Model::default();
        } else if flags.model.chosen != ModelChoice::default() {
            self.model = Model { chosen: self.model.chosen.clone(), ..Model::default() };
        }
    }
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// The message about something that neither flags nor file say.
///
/// # Errors
/// A [`Misuse`] with `missing` where nothing is said.
pub fn required<T: Clone>(said: Option<&T>, missing: &str) -> Result<T> {
    said.cloned().ok_or_else(|| Misuse(missing.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precision(text: &str) -> Option<Precision> {
        let mut request: Request = toml_file::parse(text, "run.toml").unwrap();
        request.fill_in_record().unwrap();
        request.program.resources.precision
    }

    #[test]
    fn a_record_from_before_there_was_a_choice_was_made_in_float32() {
        assert_eq!(precision("program.version = \"0.1.0\""), Some(Precision::F32));
        assert_eq!(precision("program.threads = 1"), None);
        let bf16 = "[program]\nversion = \"0.1.0\"\nprecision = \"bf16\"";
        assert_eq!(precision(bf16), Some(Precision::Bf16));
    }
}
