//! What the commands of one process share: the engine, how the program talks, and the flags of every command.

use motionflow_engine::cancel::CancelToken;
use motionflow_engine::engine::Engine;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::tables::Program;

use crate::args::Common;
use crate::console::{Console, OutputMode};

/// One process.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) console: Console,
    pub(crate) cancel: CancelToken,
    pub(crate) progress: Progress,
    /// The flags of every command, as a request says them.
    pub(crate) flags: Program,
    /// Whether runs are begun that are estimated to take more memory than there is.
    pub(crate) ignores_memory: bool,
}

impl App {
    pub(crate) fn new(command: &'static str, common: &Common) -> Self {
        let flags = Program {
            resources: common.resources.0.clone(),
            quiet: common.quiet.then_some(true),
            json: common.json.then_some(true),
            ..Program::default()
        };
        let console = Console::new(command, OutputMode::of(&flags));
        let cancel = CancelToken::default();
        let progress = Progress::new(console.observer(), cancel.clone());
        let engine = Engine::new().ignoring_memory(common.ignore_memory);
        Self { engine, console, cancel, progress, flags, ignores_memory: common.ignore_memory }
    }
}
