//! What runs of one process share: how the program talks, its threads, and the checkpoint that was loaded last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use motionflow::compute::{Compute, MemoryUse, Precision};
use motionflow::device::DeviceChoice;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;
use motionflow::text_to_video::TextToVideo;
use motionflow_media::Ffmpeg;
use tch::Device;

use crate::args;
use crate::estimate::Task;
use crate::event::{self, Event};
use crate::failure::{FAULT, Misuse};
use crate::hashes::Hashes;
use crate::model::FoundModel;
use crate::progress::{Progress, Voice};
use crate::recommended::Video;
use crate::record::{RunRecord, VideoRecord};
use crate::request::{self, Program};
use crate::resolve::Cut;
use crate::source::{self, SourceClip, find_ffmpeg};
use crate::stop;
use crate::threads;

const WITHOUT_CUDA: &str = "--device cpu computes without it; docs/devices.md says what CUDA takes";

/// One process.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) progress: Progress,
    command: &'static str,
    flags: Program,
    /// Whether also a run is begun that is foretold not to fit.
    ignores_memory: bool,
    /// The threads that are taken where no number is given.
    own_threads: i32,
    device: DeviceChoice,
    precision: Precision,
    memory: MemoryUse,
    /// The checkpoints that were found, and as what. None is read twice for its hash.
    found: Vec<(request::Model, Rc<FoundModel>)>,
    /// Hashes of files.
    hashes: Hashes,
    /// The checkpoint that was loaded last, how it computes, and its nets.
    loaded: Option<(Rc<FoundModel>, Compute, Rc<TextToVideo>)>,
    /// What it has made of prompts.
    encoded: HashMap<Prompt, Rc<EncodedPrompt>>,
    ffmpeg: Option<Ffmpeg>,
    /// The source that was read last, and what of it.
    source: Option<((PathBuf, Cut, Video), Rc<SourceClip>)>,
}

impl Session {
    pub(crate) fn new(command: &'static str, common: &args::Common) -> Self {
        let flags = Program {
            threads: common.threads,
            device: common.device,
            precision: common.precision,
            memory: common.memory,
            quiet: common.quiet.then_some(true),
            json: common.json.then_some(true),
            ..Program::default()
        };
        let own_threads = threads::by_default();
        let voice = voice(&flags);
        let progress = Progress::new(Voice::Plain);
        let mut session = Self {
            progress,
            command,
            flags,
            ignores_memory: common.ignore_memory,
            own_threads,
            device: DeviceChoice::default(),
            precision: Precision::default(),
            memory: MemoryUse::default(),
            found: Vec::new(),
            hashes: Hashes::default(),
            loaded: None,
            encoded: HashMap::new(),
            ffmpeg: None,
            source: None,
        };
        session.set_voice(voice);
        session
    }

    /// A program that listens is told first of all what it listens to.
    fn set_voice(&mut self, voice: Voice) {
        let told = self.progress.voice() == Voice::Json;
        self.progress.set_voice(voice);
        stop::has_listener(voice == Voice::Json);
        if !told {
            self.progress.event(&Event::Started {
                format: event::FORMAT,
                command: self.command,
                version: env!("CARGO_PKG_VERSION"),
            });
        }
    }

    /// The flags of every command, as a request says them.
    pub(crate) fn flags(&self) -> &Program {
        &self.flags
    }

    /// Talks as the flags say again.
    pub(crate) fn speak_as_told(&mut self) {
        self.set_voice(voice(&self.flags.clone()));
    }

    /// Does something of which a person need not hear.
    pub(crate) fn quietly<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let voice = self.progress.voice();
        if voice == Voice::Plain {
            self.progress.set_voice(Voice::Quiet);
        }
        let outcome = work(self);
        self.progress.set_voice(voice);
        outcome
    }

    /// Does what the flags say, where there is no settings file.
    pub(crate) fn behave_as_told(&mut self) -> Result<()> {
        self.behave(&self.flags.clone())
    }

    /// Does what a request says of the program's behaviour.
    pub(crate) fn behave(&mut self, program: &Program) -> Result<()> {
        self.set_voice(voice(program));
        let threads = program.threads.map_or(self.own_threads, i32::from);
        if !(1..=threads::MOST).contains(&threads) {
            return Err(Misuse(format!("--threads is {threads}, but must be 1 to 1024")).into());
        }
        threads::check(threads)?;
        if threads != tch::get_num_threads() {
            threads::limit(threads);
        }
        self.device = program.device.unwrap_or_default();
        self.precision = program.precision.unwrap_or_default();
        self.memory = program.memory.unwrap_or_default();
        Ok(())
    }

    /// What computes.
    pub(crate) fn device(&self) -> Result<Device> {
        self.device
            .open()
            .map_err(|error| Misuse(format!("--device {}: {error}; {WITHOUT_CUDA}", self.device)).into())
    }

    /// On what a model computes, as what, and in how much memory.
    pub(crate) fn compute(&self) -> Result<Compute> {
        let device = self.device()?;
        Ok(Compute { device, kind: self.precision.kind(device), memory: self.memory })
    }

    /// How much memory the nets may take.
    pub(crate) fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// Refuses, before the weights are loaded, what would not fit into memory.
    pub(crate) fn check_memory(&self, task: &Task, video: &Video) -> Result<()> {
        match task.refusal(video) {
            Some(refusal) if !self.ignores_memory => Err(Misuse(refusal).into()),
            _ => Ok(()),
        }
    }

    /// Finds the checkpoint that a request names, and fetches it if need be; once for runs in a row.
    pub(crate) fn find(&mut self, asked: &request::Model) -> Result<Rc<FoundModel>> {
        if let Some((_, found)) = self.found.iter().find(|(before, _)| before == asked) {
            return Ok(Rc::clone(found));
        }
        let found = Rc::new(FoundModel::find(asked, &mut self.progress)?);
        self.found.push((asked.clone(), Rc::clone(&found)));
        Ok(found)
    }

    /// The nets of a checkpoint, loaded once for runs in a row.
    pub(crate) fn load(&mut self, found: &Rc<FoundModel>) -> Result<Rc<TextToVideo>> {
        let compute = self.compute()?;
        if let Some((loaded, as_what, model)) = &self.loaded
            && *as_what == compute
            && (Rc::ptr_eq(loaded, found) || loaded.record()?.sha256 == found.record()?.sha256)
        {
            return Ok(Rc::clone(model));
        }
        // The one before goes first: there may not be memory for both.
        self.loaded = None;
        self.encoded.clear();
        stop::check()?;
        let model = Rc::new(found.load(compute, &mut self.progress)?);
        stop::check()?;
        self.loaded = Some((Rc::clone(found), compute, Rc::clone(&model)));
        Ok(model)
    }

    /// What the checkpoint that was loaded last makes of a prompt, once for runs in a row.
    pub(crate) fn encode(&mut self, model: &TextToVideo, prompt: &Prompt) -> Result<Rc<EncodedPrompt>> {
        if let Some(encoded) = self.encoded.get(prompt) {
            return Ok(Rc::clone(encoded));
        }
        let encoded = Rc::new(model.encode_prompt(prompt)?);
        self.encoded.insert(prompt.clone(), Rc::clone(&encoded));
        Ok(encoded)
    }

    /// The ffmpeg to use, found once.
    pub(crate) fn ffmpeg(&mut self) -> Result<Ffmpeg> {
        if let Some(found) = &self.ffmpeg {
            return Ok(found.clone());
        }
        let found = find_ffmpeg()?;
        self.ffmpeg = Some(found.clone());
        Ok(found)
    }

    /// SHA-256 of a file, in hex; a file that has not changed since is read once.
    pub(crate) fn sha256_of(&mut self, path: &Path) -> Result<String> {
        self.hashes.sha256_of(path)
    }

    /// Frames of a source, read once for runs in a row.
    pub(crate) fn read(&mut self, path: &Path, cut: Cut, video: &Video) -> Result<Rc<SourceClip>> {
        let asked = (path.to_owned(), cut, video.clone());
        let known = self.source.as_ref().filter(|(before, _)| *before == asked);
        if let Some(source) = known.map(|(_, source)| Rc::clone(source)) {
            source::tell(path, &source.notices, &mut self.progress);
            return Ok(source);
        }
        let ffmpeg = self.ffmpeg()?;
        let source = Rc::new(SourceClip::read(&ffmpeg, path, cut, video, &mut self.progress)?);
        self.source = Some((asked, Rc::clone(&source)));
        Ok(source)
    }

    /// The frames that a run was made of; `path` is where the source is by now.
    pub(crate) fn read_recorded(
        &mut self,
        record: &RunRecord,
        path: Option<&Path>,
    ) -> Result<Rc<SourceClip>> {
        let source = record.source.as_ref().context("the run has no source")?;
        if let Some((_, last)) = &self.source
            && last.record.frames_sha256 == source.frames_sha256
        {
            return Ok(Rc::clone(last));
        }
        let VideoRecord { width, height, frames, fps } = record.video;
        let fit = source.fit.parse().map_err(|error| anyhow!("{FAULT}: {error}"))?;
        let cut = Cut { start: source.start, every: source.every, fit };
        self.read(path.unwrap_or(Path::new(&source.path)), cut, &Video { width, height, frames, fps })
    }
}

fn voice(program: &Program) -> Voice {
    match (program.json, program.quiet) {
        (Some(true), _) => Voice::Json,
        (_, Some(true)) => Voice::Quiet,
        _ => Voice::Plain,
    }
}
