//! A transfer from Rust: `cargo run -p motionflow-engine --example transfer -- car.mp4 out/panda`.

use std::sync::Arc;

use anyhow::{Context, Result};
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::engine::Engine;
use motionflow_engine::event::Event;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::Request;
use motionflow_engine::runs::open::OpenRun;
use motionflow_engine::runs::transfer::TransferOptions;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut request = Request::default();
    request.source.path = Some(arguments.next().context("give a video")?.into());
    request.output.folder = Some(arguments.next().context("give a folder for the results")?.into());
    transfer(request)
}

/// Gives the motion of a car to a panda.
#[allow(clippy::print_stderr, reason = "it is a program")]
pub(crate) fn transfer(mut request: Request) -> Result<()> {
    request.prompts.source_prompt = Some("a [car] on a road".to_owned());
    request.prompts.new.prompt = Some("a [panda] in the snow".to_owned());
    let observer = |event: &Event<'_>| match event {
        Event::Progress { stage, done, of, .. } => eprintln!("{stage}: {done} of {of}"),
        Event::Warning { message } => eprintln!("warning: {message}"),
        Event::Finished { folder, .. } => eprintln!("made {folder}"),
        _ => {}
    };
    let mut progress = Progress::new(Arc::new(observer), CancelToken::default());
    let run = OpenRun::claim(request, &progress)?;
    Engine::new().transfer(run, &TransferOptions::default(), &mut progress)
}
