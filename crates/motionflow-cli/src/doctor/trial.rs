//! A trial: a small computation, and a small video written and read back.

use std::path::Path;

use anyhow::{Result, ensure};
use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::{Ffmpeg, ReadOptions, source, video};
use tch::{Device, Kind, Tensor};

use super::Finding;
use motionflow_engine::source::find_ffmpeg;

pub(super) fn run() -> Vec<Finding> {
    let mut findings = vec![match compute() {
        Ok(()) => Finding::ok("libtorch computes, gradients too"),
        Err(error) => Finding::missing(
            format!("libtorch does not compute as it should: {error:#}"),
            "run `cargo xtask setup` and build again, or set LIBTORCH to another libtorch 2.11",
        ),
    }];
    // Without an ffmpeg, its own part has said so.
    if let Ok(ffmpeg) = find_ffmpeg() {
        findings.push(film(&ffmpeg));
    }
    findings
}

/// Σᵢ (Σⱼ xⱼ)² at x = 1 has the gradient 2n².
fn compute() -> Result<()> {
    const SIDE: i64 = 64;
    let x = Tensor::ones([SIDE], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let sums = Tensor::ones([SIDE, SIDE], (Kind::Float, Device::Cpu)).matmul(&x);
    let loss = sums.square().sum(Kind::Float);
    loss.backward();
    let (loss, gradient) = (loss.int64_value(&[]), x.grad().mean(Kind::Float).int64_value(&[]));
    let (right_loss, right_gradient) = (SIDE.pow(3), 2 * SIDE.pow(2));
    ensure!(loss == right_loss, "a sum is {loss}, not {right_loss}");
    ensure!(gradient == right_gradient, "a gradient is {gradient}, not {right_gradient}");
    Ok(())
}

fn film(ffmpeg: &Ffmpeg) -> Finding {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            let what = format!("no video was tried, for want of a temporary folder: {error}");
            return Finding::warning(what, "set TMPDIR to a folder that you may write to");
        }
    };
    match write_and_read(ffmpeg, &folder.path().join("trial.mp4")) {
        Ok(()) => Finding::ok("ffmpeg writes a video, and reads it back"),
        Err(error) => Finding::missing(
            format!("ffmpeg could not write a video and read it back: {error:#}"),
            "install a full ffmpeg, or set MOTIONFLOW_FFMPEG to one",
        ),
    }
}

fn write_and_read(ffmpeg: &Ffmpeg, path: &Path) -> Result<()> {
    const SIDE: u32 = 32;
    const CLOSE: u8 = 16;
    let frames = [[200, 40, 30], [30, 60, 180]].map(|colour| RgbImage::from_pixel(SIDE, SIDE, Rgb(colour)));
    video::write_mp4(ffmpeg, path, &frames, 8.0, &[])?;
    let clip = source::read(ffmpeg, path, &ReadOptions::new(frames.len(), SIDE, SIDE))?;
    for (written, read) in frames.iter().zip(&clip.frames) {
        let pixels = written.as_raw().iter().zip(read.as_raw());
        let furthest = pixels.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(u8::MAX);
        ensure!(furthest <= CLOSE, "its colours come back off by {furthest} of 255");
    }
    Ok(())
}
