//! Many transfers in one command.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use motionflow_engine::batch::shard::Shard;

const BATCH_EXAMPLE: &str = "\
Example jobs.toml:
  [defaults.source]
  path = \"car.mp4\"
  [defaults.prompts]
  source_prompt = \"a [car] on a road\"

  [[job]]
  name = \"panda\"
  prompts.prompt = \"a [panda] in the snow\"

  [[job]]
  name = \"boat\"
  prompts.prompt = \"a [boat] over the sea\"
  settings.seed = 7
Then:
  motionflow batch jobs.toml -o out/batch";

const SWEEP_EXAMPLE: &str = "\
Example:
  motionflow sweep transfer.toml --set tau=0.2,0.4,0.6 --set seed=1,2,3 -o out/tau
Then look at out/tau/grid.png.";

/// `batch`
#[derive(Debug, Args)]
#[command(after_help = BATCH_EXAMPLE)]
pub(crate) struct Batch {
    /// File with [defaults] and a [[job]] for every transfer (docs/batch.md)
    #[arg(value_name = "JOBS", value_hint = ValueHint::FilePath)]
    pub(crate) jobs: PathBuf,
    /// Folder for the jobs' folders
    #[arg(long, short, value_name = "DIR", default_value = "out", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Do the jobs of one part alone: of N parts the I-th, counted from 1
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Do again what is done already
    #[arg(long)]
    pub(crate) force: bool,
}

/// `sweep`
#[derive(Debug, Args)]
#[command(after_help = SWEEP_EXAMPLE)]
pub(crate) struct Sweep {
    /// File with the settings of a transfer, as for `transfer --config`
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// A setting and its values: tau=0.2,0.4; give it again for each setting. Texts with commas go into a TOML list:
    /// 'prompt=["a [cat], asleep", "a [dog]"]'
    #[arg(long, value_name = "KEY=VALUE,...", required = true)]
    pub(crate) set: Vec<String>,
    /// Folder for the grid
    #[arg(long, short, value_name = "DIR", default_value = "out", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) access: super::QueueAccess,
}
