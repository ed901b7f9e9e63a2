//! Where ffmpeg is: the user's, or the one inside a pinned wheel in `.native/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::wheels::Wheels;
use crate::workspace::{Workspace, on_path};

const BINARY: &str = "imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v7.0.2";

const WHEELS: Wheels = Wheels {
    what: "ffmpeg 7.0.2",
    folder: "ffmpeg-site",
    requirements: include_str!("../wheels/ffmpeg.txt"),
    sentinel: BINARY,
    mebibytes: 250,
    instead: "install ffmpeg with its H.264 encoder (libx264)",
    check: |site| encodes_h264(&site.join(BINARY)),
};

/// Finds ffmpeg, or fetches it.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    for variable in ["MOTIONFLOW_FFMPEG", "FFMPEG"] {
        if let Some(own) = std::env::var_os(variable).filter(|own| !own.is_empty()).map(PathBuf::from) {
            encodes_h264(&own).with_context(|| format!("{variable} is set to {}", own.display()))?;
            eprintln!("ffmpeg: {} ({variable} is set)", own.display());
            return Ok(own);
        }
    }
    if let Some(found) = on_path("ffmpeg") {
        match encodes_h264(&found) {
            Ok(()) => {
                eprintln!("ffmpeg: {} (on PATH)", found.display());
                return Ok(found);
            }
            Err(error) => eprintln!("ffmpeg: {} will not do: {error:#}", found.display()),
        }
    }
    let binary = WHEELS.ensure(workspace)?.join(BINARY);
    let link = link(workspace)?;
    eprintln!("ffmpeg: 7.0.2 in {}", workspace.show(&binary));
    Ok(link)
}

/// `.native/ffmpeg`, where the built program and tests look when they are started without xtask.
fn link(workspace: &Workspace) -> Result<PathBuf> {
    let link = workspace.native().join("ffmpeg");
    let target = Path::new(WHEELS.folder).join(BINARY);
    if fs::read_link(&link).is_ok_and(|old| old == target) {
        return Ok(link);
    }
    let new = workspace.native().join(format!("ffmpeg.{}", std::process::id()));
    symlink(&target, &new)
        .and_then(|()| fs::rename(&new, &link))
        .with_context(|| format!("cannot write {}", link.display()))?;
    Ok(link)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into()) // the pinned wheel is for Linux only
}

/// Whether the program runs and has the encoder that results are written with.
fn encodes_h264(program: &Path) -> Result<()> {
    let output = Command::new(program)
        .args(["-hide_banner", "-encoders"])
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    if !String::from_utf8_lossy(&output.stdout).contains("libx264") {
        bail!("it has no H.264 encoder (libx264)");
    }
    Ok(())
}
