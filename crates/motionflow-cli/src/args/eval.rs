//! What measures results, and what is measured.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};
use motionflow_engine::batch::shard::Shard;
use motionflow_engine::eval::judges::Judges;

use super::Flags;

/// `eval`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("known").args(["truth", "suite"]), mut_arg("detector", |flag| flag.requires("known")),
    mut_arg("queue", |flag| flag.requires("suite").conflicts_with("shard")))]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) judges: Flags<Judges>,
    #[command(flatten)]
    pub(crate) suite: Suite,
    #[command(flatten)]
    pub(crate) access: super::QueueAccess,
}

/// The two videos that `eval` compares.
#[derive(Debug, Args)]
#[command(next_help_heading = "One result")]
pub(crate) struct Pair {
    /// Video whose motion was taken: anything ffmpeg reads, or a folder of images
    #[arg(long, value_name = "PATH", required_unless_present = "suite")]
    pub(crate) source: Option<PathBuf>,
    /// Video that was made of it, or the folder of the run that made it
    #[arg(long, value_name = "PATH", required_unless_present = "suite")]
    pub(crate) result: Option<PathBuf>,
    /// What the result shows, its subjects in brackets where they are to be looked for; without, what needs it is left out
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Where the source's subjects are, frame by frame: npz (docs/eval.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires_all = ["detector", "prompt"], conflicts_with = "suite")]
    pub(crate) truth: Option<PathBuf>,
    /// Tracks in the source that another program has made, npz or safetensors (docs/eval.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "result_tracks", conflicts_with = "suite")]
    pub(crate) source_tracks: Option<PathBuf>,
    /// Tracks in the result, made in the same way
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "source_tracks", conflicts_with = "suite")]
    pub(crate) result_tracks: Option<PathBuf>,
}

/// Many results.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many results")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Suite {
    /// File with the clips, prompts and variants of an experiment (docs/suite.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["source", "result", "prompt"])]
    pub(crate) suite: Option<PathBuf>,
    /// Folder for the report [default: report]
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["source", "result", "prompt"])]
    pub(crate) output: Option<PathBuf>,
    /// Do the transfers of one part alone: of N parts the I-th, counted from 1 [default: 1/1]
    #[arg(long, value_name = "I/N", conflicts_with_all = ["source", "result", "prompt"])]
    pub(crate) shard: Option<Shard>,
}
