//! What a run is asked for: by flags, by a settings file, or by the record of an earlier run.
//!
//! `run.toml` is such a file: it has these keys, all of them filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use motionflow::compute::{MemoryUse, Precision};
use motionflow::device::DeviceChoice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::args;
use crate::failure::{Misuse, NOT_UTF8};
use crate::progress::Progress;
use crate::toml_file;

/// Settings of `motionflow`. Every key may be left out; flags go before the file, the file before what the checkpoint
/// recommends. Paths are relative to the file's folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Request {
    /// What the videos show.
    pub(crate) prompts: Prompts,
    /// The video whose motion is taken.
    pub(crate) source: Source,
    /// The new video's size.
    pub(crate) video: args::Video,
    /// The checkpoint.
    pub(crate) model: Model,
    /// The method's settings.
    pub(crate) settings: Settings,
    /// Where the files go.
    pub(crate) output: Output,
    /// How the program behaves, and which it was.
    pub(crate) program: Program,
}

/// `[prompts]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Prompts {
    /// What the source shows, its subject in brackets: "a [car] on a road"
    pub(crate) source_prompt: Option<String>,
    #[serde(flatten)]
    pub(crate) new: args::Prompts,
}

/// `[source]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Source {
    /// Video whose motion is taken: anything ffmpeg reads, or a folder of images in natural order
    pub(crate) path: Option<PathBuf>,
    /// Folder that `motionflow invert` made, instead of a source and its prompt
    pub(crate) inversion: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) cut: args::Cut,
    /// Recorded: SHA-256 of the file
    pub(crate) sha256: Option<String>,
    /// Recorded: SHA-256 of the pixels that were used
    pub(crate) frames_sha256: Option<String>,
    /// Recorded: SHA-256 of the inversion's tensors
    pub(crate) inversion_sha256: Option<String>,
    /// Recorded: frames per second of the frames that were used
    pub(crate) fps: Option<f64>,
}

/// `[model]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Model {
    #[serde(flatten)]
    pub(crate) chosen: args::Model,
    /// Recorded: where it was found
    pub(crate) path: Option<PathBuf>,
    /// Recorded: SHA-256 over the names and contents of its files
    pub(crate) sha256: Option<String>,
}

/// `[settings]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    #[serde(flatten)]
    pub(crate) preset: args::Preset,
    #[serde(flatten)]
    pub(crate) steps: args::Steps,
    #[serde(flatten)]
    pub(crate) sampling: args::Sampling,
    #[serde(flatten)]
    pub(crate) masks: args::Masks,
    #[serde(flatten)]
    pub(crate) guidance: args::Guidance,
}

/// `[output]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Output {
    /// Folder for the results
    pub(crate) folder: Option<PathBuf>,
    /// Whether a run that the folder holds is replaced
    pub(crate) force: Option<bool>,
    /// Whether prompts, settings and version go into the mp4 and GIF files
    pub(crate) metadata: Option<bool>,
}

/// `[program]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Program {
    /// Threads to compute with, 1 to 1024
    pub(crate) threads: Option<u16>,
    /// What computes: auto, cpu, cuda, or cuda:1 and so on
    #[serde(with = "crate::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) device: Option<DeviceChoice>,
    /// What the nets compute with: auto, f32, f16 or bf16
    #[serde(with = "crate::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) precision: Option<Precision>,
    /// How much memory they may take to be faster: low, balanced or fast
    #[serde(with = "crate::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) memory: Option<MemoryUse>,
    /// Whether the cache of inversions is used
    pub(crate) cache: Option<bool>,
    /// Whether nothing but an error is printed
    pub(crate) quiet: Option<bool>,
    /// Whether one JSON object a line is printed
    pub(crate) json: Option<bool>,
    /// Recorded: which command it was
    pub(crate) command: Option<String>,
    /// Recorded: the program's version
    pub(crate) version: Option<String>,
    /// Recorded: libtorch's version
    pub(crate) libtorch: Option<String>,
    /// Recorded: ffmpeg's version
    pub(crate) ffmpeg: Option<String>,
}

impl Program {
    /// That part on which the last bits of a result depend.
    pub(crate) fn of_the_bytes(&self) -> Self {
        let Self { threads, device, precision, memory, .. } = *self;
        Self { threads, device, precision, memory, ..Self::default() }
    }
}

impl Request {
    /// Reads a settings file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
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
        self.program.precision.get_or_insert(Precision::F32);
        Ok(())
    }

    /// Lets relative paths start at `folder`.
    pub(crate) fn paths_from(&mut self, folder: &Path) {
        for path in [&mut self.source.path, &mut self.source.inversion, &mut self.output.folder] {
            *path = path.take().map(|path| folder.join(path));
        }
        let model = &mut self.model.chosen.model;
        let beside = model.as_ref().map(|name| folder.join(name)).filter(|folder| folder.is_dir());
        if let Some(beside) = beside.and_then(|folder| Some(folder.to_str()?.to_owned())) {
            *model = Some(beside);
        }
    }

    /// What this request says, and `file` where it says nothing.
    pub(crate) fn over(&self, mut file: Self) -> Result<Self> {
        if let Some(inversion) = &file.source.inversion {
            self.leaves_inversion_alone(inversion)?;
        }
        file.forget_what_contradicts(self);
        let mut table = Table::try_from(file)?;
        merge(&mut table, self.said()?);
        Ok(table.try_into()?)
    }

    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        Ok(self.said()?.is_empty())
    }

    /// What is asked, as text that is the same wherever it is asked from. Where the files go and how the program behaves
    /// are no part of it, as far as no byte depends on them.
    pub(crate) fn to_text(&self) -> Result<String> {
        let mut request = self.clone();
        let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
        for path in [&mut request.source.path, &mut request.source.inversion].into_iter().flatten() {
            *path = whole(path)?;
        }
        let model = &mut request.model.chosen.model;
        if let Some(name) = model.as_mut().filter(|name| Path::new(name).is_dir()) {
            *name = whole(Path::new(name))?.display().to_string();
        }
        request.to_text_as_said()
    }

    /// As [`Request::to_text`] with its paths as they are, so that they may be relative to a file that is moved along.
    pub(crate) fn to_text_as_said(&self) -> Result<String> {
        let mut request = self.clone();
        request.output = Output { metadata: self.output.metadata, ..Output::default() };
        request.program = self.program.of_the_bytes();
        Ok(toml::to_string(&request.said()?)?)
    }

    /// The keys that have a value, each with its table: `settings.tau`.
    pub(crate) fn keys(&self) -> Result<BTreeMap<String, Value>> {
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
    pub(crate) fn forget_generates_guidance(&mut self) {
        if self.program.command.as_deref() == Some("generate") {
            let guidance = &mut self.settings.guidance;
            (guidance.init, guidance.updates, guidance.guided_steps) = (None, None, None);
        }
    }

    fn forget_what_contradicts(&mut self, flags: &Self) {
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
            self.settings.steps = args::Steps::default();
            self.settings.masks.subject_map = None;
            self.video = args::Video { fps: self.video.fps, ..args::Video::default() };
        } else if flags.source.path.is_some() {
            self.source.inversion = None;
        }
        let cut = &flags.source.cut;
        let other_cut = cut.start.is_some() || cut.every.is_some() || cut.fit.is_some();
        let other_size = flags.video.size != args::Size::default();
        if flags.source.path.is_some() || other_cut || other_size {
            self.source.frames_sha256 = None;
        }
        if flags.source.path.is_some() || cut.every.is_some() {
            (self.source.sha256, self.source.fps) = (None, None);
        }
        if flags.model.chosen.model.is_some() {
            self.model = Model::default();
        } else if flags.model.chosen.revision.is_some() {
            (self.model.path, self.model.sha256) = (None, None);
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

/// `motionflow schema`
pub(crate) fn print_schema(progress: &Progress) -> Result<()> {
    progress.product("schema", &serde_json::to_string_pretty(&toml_file::schema::<Request>())?);
    Ok(())
}

/// What is told of something that neither flags nor file say.
pub(crate) fn required<T: Clone>(said: Option<&T>, missing: &str) -> Result<T> {
    said.cloned().ok_or_else(|| Misuse(missing.to_owned()).into())
}

impl args::Output {
    fn request(&self) -> Output {
        Output {
            folder: self.output.clone(),
            force: self.force.then_some(true),
            metadata: self.no_metadata.then_some(false),
        }
    }
}

impl args::Generate {
    pub(crate) fn request(&self) -> Request {
        Request {
            prompts: Prompts { source_prompt: None, new: self.prompts.clone() },
            video: self.video.clone(),
            model: Model { chosen: self.model.clone(), ..Model::default() },
            settings: Settings {
                preset: self.preset,
                steps: self.steps.clone(),
                sampling: self.sampling.clone(),
                ..Settings::default()
            },
            output: self.output.request(),
            ..Request::default()
        }
    }
}

impl args::Looking {
    pub(crate) fn request(&self) -> Request {
        Request {
            prompts: Prompts { source_prompt: self.source.source_prompt.clone(), ..Prompts::default() },
            source: self.source.request(None),
            video: self.video.clone(),
            model: Model { chosen: self.model.clone(), ..Model::default() },
            settings: Settings {
                preset: self.preset,
                steps: self.steps.clone(),
                masks: self.masks.clone(),
                ..Settings::default()
            },
            output: self.output.request(),
            program: Program { cache: self.cache.no_cache.then_some(false), ..Program::default() },
        }
    }
}

impl args::Transfer {
    pub(crate) fn request(&self) -> Request {
        let updates = self.guidance.no_updates.then_some(false);
        Request {
            prompts: Prompts { source_prompt: self.source.source_prompt.clone(), new: self.prompts.clone() },
            source: self.source.request(self.inversion.as_deref()),
            video: self.video.clone(),
            model: Model { chosen: self.model.clone(), ..Model::default() },
            settings: Settings {
                preset: self.preset,
                steps: self.steps.clone(),
                sampling: self.sampling.clone(),
                masks: self.masks.clone(),
                guidance: args::Guidance { updates, ..self.guidance.clone() },
            },
            output: self.output.request(),
            program: Program { cache: self.cache.no_cache.then_some(false), ..Program::default() },
        }
    }
}

impl args::Source {
    fn request(&self, inversion: Option<&Path>) -> Source {
        Source {
            path: self.source.clone(),
            inversion: inversion.map(Path::to_owned),
            cut: self.cut.clone(),
            ..Source::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precision(text: &str) -> Option<Precision> {
        let mut request: Request = toml_file::parse(text, "run.toml").unwrap();
        request.fill_in_record().unwrap();
        request.program.precision
    }

    #[test]
    fn a_record_from_before_there_was_a_choice_was_made_in_float32() {
        assert_eq!(precision("program.version = \"0.1.0\""), Some(Precision::F32));
        assert_eq!(precision("program.threads = 1"), None);
        let bf16 = "[program]\nversion = \"0.1.0\"\nprecision = \"bf16\"";
        assert_eq!(precision(bf16), Some(Precision::Bf16));
    }
}
