//! `motionflow studio`: the server, and its page in a browser.

use anyhow::Result;
use motionflow_studio::{Options, Server};
use serde_json::json;

use crate::app::App;
use crate::args;
use crate::queue;

/// The last words of a studio.
const GOES_ON: &str = "stopped; the queue is kept, and goes on when the studio is started again";

/// Runs the command. It ends when it is asked to stop.
pub(crate) fn run(args: &args::Studio, app: &mut App) -> Result<()> {
    let queue = args.access.queue.is_some().then(|| queue::open(&args.access, false, app)).transpose()?;
    let server = Server::bind(Options {
        queue,
        host: args.host.clone(),
        port: args.port,
        runs: args.runs.clone(),
        model: args.model.clone(),
        program: app.flags.clone(),
        max_upload: args.max_upload << 20,
        ignore_memory: app.ignores_memory,
    })?;
    let url = server.url();
    app.console.row("studio", &json!({ "url": url }));
    app.console.result(&format!("the studio is at {url}"));
    if args.open
        && let Err(error) = open::that_detached(&url)
    {
        app.progress.warn(format!("no browser can be opened ({error}); open {url}"));
    }
    let _part = app.cancel.tells(|| Some(GOES_ON.to_owned()));
    server.serve()
}
