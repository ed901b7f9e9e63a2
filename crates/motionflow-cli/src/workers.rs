//! A worker a device, each a process of its own: one that dies takes no other one with it, and is started again.

use std::ffi::OsString;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use motionflow::device::DeviceChoice;
use motionflow_engine::error::Stopped;

use crate::app::App;

/// How often it is looked at them.
const LOOK: Duration = Duration::from_millis(200);
/// One that dies sooner is not started again at once.
const SOON: Duration = Duration::from_secs(5);

/// Runs them until all have ended.
pub(crate) fn run(devices: &[DeviceChoice], app: &App) -> Result<()> {
    let _part = app.cancel.by_step(|| None);
    let mut running = Vec::new();
    for device in devices {
        running.push((device, begin(*device)?, Instant::now()));
    }
    let (mut failed, mut is_told) = (0, false);
    while !running.is_empty() {
        if app.cancel.is_cancelled() && !is_told {
            is_told = true;
            for (_, child, _) in &running {
                stop(child);
            }
        }
        let mut left = Vec::new();
        for (device, mut child, since) in running {
            match child.try_wait()? {
                None => left.push((device, child, since)),
                Some(status) if status.success() || app.cancel.is_cancelled() => {}
                // It said itself why.
                Some(status) if status.code().is_some() => failed += 1,
                Some(status) => {
                    app.progress
                        .note(&format!("the worker on {device} ended ({status}) and is started again"));
                    thread::sleep(SOON.saturating_sub(since.elapsed()));
                    left.push((device, begin(*device)?, Instant::now()));
                }
            }
        }
        running = left;
        thread::sleep(LOOK);
    }
    if app.cancel.is_cancelled() {
        return Err(Stopped("stopped; jobs that were at work are given back".to_owned()).into());
    }
    if failed > 0 { Err(anyhow!("{failed} of {} workers failed", devices.len())) } else { Ok(()) }
}

/// The same command for one device.
fn begin(device: DeviceChoice) -> Result<Child> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        if argument == "--device" {
            given.next();
        } else if !argument.to_string_lossy().starts_with("--device=") {
            arguments.push(argument);
        }
    }
    arguments.push(format!("--device={device}").into());
    let program = std::env::current_exe().context("the program does not find itself")?;
    Command::new(program).args(arguments).spawn().context("a worker cannot be started")
}

#[cfg(unix)]
fn stop(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
}

#[cfg(not(unix))]
fn stop(_child: &Child) {}
