//! Many transfers in one command.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueHint};

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

/// One of several parts of the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Of so many jobs in a row those of this part, one after the other.
    pub(crate) fn range(self, jobs: usize) -> Range<usize> {
        (self.number - 1) * jobs / self.of..self.number * jobs / self.of
    }

    /// Whether there are other parts.
    pub(crate) fn is_part(self) -> bool {
        self.of > 1
    }

    /// Whether the job at `index` is this part's.
    pub(crate) fn has(self, index: usize) -> bool {
        index % self.of + 1 == self.number
    }

    /// The file that its summary is written into.
    pub(crate) fn summary_name(self) -> String {
        match self {
            Self { of: 1, .. } => "summary.json".to_owned(),
            Self { number, of } => format!("summary-{number}-of-{of}.json"),
        }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if 1 <= number && number <= of => Ok(Self { number, of }),
            _ => Err("must be two numbers like 2/8, the first from 1 to the second".to_owned()),
        }
    }
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
}
