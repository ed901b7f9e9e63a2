//! What runs of one process share: how the program talks, its threads, and the checkpoint that was loaded last.

use std::rc::Rc;

use anyhow::Result;
use motionflow::text_to_video::TextToVideo;

use crate::args;
use crate::failure::Misuse;
use crate::model::FoundModel;
use crate::progress::{Progress, Voice};
use crate::request::Program;
use crate::threads;

/// One process.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) progress: Progress,
    flags: Program,
    threads_set: bool,
    /// Identity and nets of the checkpoint that was loaded last.
    loaded: Option<(String, Rc<TextToVideo>)>,
}

impl Session {
    pub(crate) fn new(common: &args::Common) -> Self {
        let flags = Program {
            threads: common.threads,
            quiet: common.quiet.then_some(true),
            json: common.json.then_some(true),
            ..Program::default()
        };
        Self { progress: Progress::new(voice(&flags)), flags, threads_set: false, loaded: None }
    }

    /// The flags of every command, as a request says them.
    pub(crate) fn flags(&self) -> &Program {
        &self.flags
    }

    /// Does what the flags say, where there is no settings file.
    pub(crate) fn behave_as_told(&mut self) -> Result<()> {
        self.behave(&self.flags.clone())
    }

    /// Does what a request says of the program's behaviour. Threads are set once in a process.
    pub(crate) fn behave(&mut self, program: &Program) -> Result<()> {
        self.progress.set_voice(voice(program));
        if let Some(count) = program.threads.filter(|_| !self.threads_set) {
            if !(1..=1024).contains(&count) {
                return Err(Misuse(format!("--threads is {count}, but must be 1 to 1024")).into());
            }
            threads::limit(count);
            self.threads_set = true;
        }
        Ok(())
    }

    /// The nets of a checkpoint, loaded once for runs in a row.
    pub(crate) fn load(&mut self, found: &FoundModel) -> Result<Rc<TextToVideo>> {
        let identity = found.record()?.sha256;
        if let Some((_, model)) = self.loaded.as_ref().filter(|(loaded, _)| *loaded == identity) {
            return Ok(Rc::clone(model));
        }
        // The one before goes first: there may not be memory for both.
        self.loaded = None;
        let model = Rc::new(found.load(&mut self.progress)?);
        self.loaded = Some((identity, Rc::clone(&model)));
        Ok(model)
    }
}

fn voice(program: &Program) -> Voice {
    match (program.json, program.quiet) {
        (Some(true), _) => Voice::Json,
        (_, Some(true)) => Voice::Quiet,
        _ => Voice::Plain,
    }
}
