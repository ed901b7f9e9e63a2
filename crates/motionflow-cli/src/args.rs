//! The command line: what can be said, and the help for it.
//!
//! Groups of flags that a settings file has too are read from it into the same structs (see [`crate::request`]). What
//! is not said is `None`, and filled in by [`crate::resolve`].

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use motionflow::device::DeviceChoice;
use motionflow::settings::{self, Init, KeepStatistics, MaskLayers, MaskTime, SubjectMap};
use motionflow_media::Fit;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const EXAMPLE: &str = "\
Example: give the motion of a car to a panda
  motionflow transfer --source car.mp4 --source-prompt \"a [car] on a road\" \\
      --prompt \"a [panda] in the snow\" -o out/panda
Then look at out/panda/contact-sheet.png and play out/panda/compare.mp4.

`motionflow COMMAND --help` shows every flag of a command, with its default and range.";

const TRANSFER_EXAMPLE: &str = "\
Example:
  motionflow transfer --source car.mp4 --source-prompt \"a [car] on a road\" \\
      --prompt \"a [panda] in the snow\" -o out/panda

Brackets mark the subject: where the model sees it in the source, the new subject will be.
Several subjects go in order, the first gives its motion to the first:
  motionflow transfer --source two.mp4 --source-prompt \"a [dog] and a [car] on a road\" \\
      --prompt \"a [penguin] and a [red ball] in the snow\" -o out/two

One inversion, many prompts:
  motionflow invert --source car.mp4 --source-prompt \"a [car] on a road\" -o inv/car
  motionflow transfer --inversion inv/car --prompt \"a [boat] over the sea\" -o out/boat

The same again with another seed, and a run that was stopped to its end:
  motionflow transfer --config out/panda/run.toml --seed 2 -o out/panda-2
  motionflow transfer --resume out/panda";

const GENERATE_EXAMPLE: &str = "\
Example:
  motionflow generate --prompt \"a panda in the snow\" --seed 7 -o out/panda";

const INVERT_EXAMPLE: &str = "\
Example:
  motionflow invert --source car.mp4 --source-prompt \"a [car] on a road\" -o inv/car
  motionflow transfer --inversion inv/car --prompt \"a [panda] in the snow\" -o out/panda";

const INSPECT_EXAMPLE: &str = "\
Example:
  motionflow inspect --source car.mp4 --source-prompt \"a [car] on a road\" -o look/car
Then look at look/car/overview.png: the mask should cover the car, and little else.";

const MODELS_EXAMPLE: &str = "\
Example:
  motionflow models
  motionflow models fetch cerspense/zeroscope_v2_576w";

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

const CACHE_HELP: &str = "\
The folder is $MOTIONFLOW_CACHE, else motionflow/inversions in your cache folder.
It holds no more than $MOTIONFLOW_CACHE_LIMIT: 10GiB (the default), 500MB, 0 to keep nothing.";

const COMPLETIONS_EXAMPLE: &str = "\
Example, for bash:
  mkdir -p ~/.local/share/bash-completion/completions
  motionflow completions bash > ~/.local/share/bash-completion/completions/motionflow";

const MAN_EXAMPLE: &str = "\
Example:
  motionflow man ~/.local/share/man/man1
  man motionflow-transfer";

/// Move the motion of one video into another, without training.
///
/// A text-to-video model inverts the source video, shows in every frame where it sees the subject, and makes a new
/// video for a new prompt whose subject follows those places (MotionFlow, arXiv 2412.05275).
#[derive(Debug, Parser)]
#[command(name = "motionflow", version, after_help = EXAMPLE, max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How to behave.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour")]
pub(crate) struct Common {
    /// Print no progress, warnings or results: nothing but an error
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print one JSON object a line on standard output for all that happens (docs/machines.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Threads to compute with, 1 or more [default: one a core]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<u16>,
    /// What computes: auto, cpu, cuda, or cuda:1 and so on; auto takes CUDA where it is [default: auto]
    #[arg(long, global = true, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
}

/// Where the settings come from, besides the flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings from a file")]
pub(crate) struct Recall {
    /// File with settings (TOML), or the run.toml of a run to do it again; flags go before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Go on with the stopped run in this folder, from its last finished step; takes no other settings
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "config")]
    pub(crate) resume: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a run")]
pub(crate) enum Command {
    /// Move the motion of a source video into a new video for a new prompt
    Transfer(Transfer),
    /// Make a video from a prompt alone
    Generate(Generate),
    /// Do the first half of a transfer alone, to be reused with `transfer --inversion`
    Invert(Invert),
    /// Show where the model sees the subject in a source video, per step and layer
    Inspect(Inspect),
    /// List the checkpoints that are known and those that are here, or fetch one
    Models(Models),
    /// Make many transfers from one file of jobs
    Batch(Batch),
    /// Measure how well the motion of a source arrived in a result, or in the many results of a suite
    Eval(Eval),
    /// Make a transfer with every combination of some settings, and lay the results side by side
    Sweep(Sweep),
    /// Print how a result was made
    Show(Show),
    /// Recompute a parity case and print each tensor's relative error
    Verify(Verify),
    /// Show or remove the inversions that are kept for later runs
    Cache(CacheCommand),
    /// Look whether all that a run needs is there, and say what to do where it is not
    Doctor,
    /// Print a script that completes commands and flags in a shell
    Completions(Completions),
    /// Print the manual page, or write one for every command
    Man(Man),
    /// Print the JSON schema of settings files, for editors
    Schema,
}

impl Command {
    /// As it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Transfer(_) => "transfer",
            Self::Generate(_) => "generate",
            Self::Invert(_) => "invert",
            Self::Inspect(_) => "inspect",
            Self::Models(_) => "models",
            Self::Batch(_) => "batch",
            Self::Eval(_) => "eval",
            Self::Sweep(_) => "sweep",
            Self::Verify(_) => "verify",
            Self::Cache(_) => "cache",
            Self::Doctor => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Show(_) => "show",
            Self::Schema => "schema",
        }
    }
}

/// `transfer`
#[derive(Debug, Args)]
#[command(after_help = TRANSFER_EXAMPLE)]
pub(crate) struct Transfer {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Folder that `motionflow invert` made, instead of a source and its prompt
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        help_heading = "Source",
        conflicts_with_all = ["source", "source_prompt", "start", "every", "fit", "width", "height", "frames", "steps"]
    )]
    pub(crate) inversion: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) prompts: Prompts,
    #[command(flatten)]
    pub(crate) recall: Recall,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: Cache,
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Preset,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    #[command(flatten)]
    pub(crate) masks: Masks,
    #[command(flatten)]
    pub(crate) guidance: Guidance,
    /// Show the settings, each prompt's tokens, and the time and memory that it would take; make nothing
    #[arg(long, help_heading = "Behaviour", conflicts_with = "resume")]
    pub(crate) dry_run: bool,
}

/// `generate`
#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLE)]
pub(crate) struct Generate {
    #[command(flatten)]
    pub(crate) prompts: Prompts,
    #[command(flatten)]
    pub(crate) recall: Recall,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Preset,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

/// What `invert` and `inspect` take: a source, and the model to look at it with.
#[derive(Debug, Args)]
pub(crate) struct Looking {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) recall: Recall,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: Cache,
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Preset,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) masks: Masks,
}

/// `invert`
#[derive(Debug, Args)]
#[command(after_help = INVERT_EXAMPLE)]
pub(crate) struct Invert {
    #[command(flatten)]
    pub(crate) looking: Looking,
}

/// `inspect`
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLE)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) looking: Looking,
}

/// `models`
#[derive(Debug, Args)]
#[command(after_help = MODELS_EXAMPLE)]
pub(crate) struct Models {
    #[command(subcommand)]
    pub(crate) action: Option<ModelsAction>,
}

/// What `models` does besides listing.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// Fetch a checkpoint from the hub, or bring what is here of it up to date
    Fetch {
        /// Its name on the hub
        #[arg(value_name = "OWNER/NAME")]
        name: String,
        /// Branch, tag or commit
        #[arg(long, value_name = "REV", default_value = crate::hub::REVISION)]
        revision: String,
    },
}

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

/// `eval`
#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) judges: Judges,
    #[command(flatten)]
    pub(crate) suite: Suite,
}

/// The two videos that `eval` compares.
#[derive(Debug, Args)]
#[command(next_help_heading = "One result")]
pub(crate) struct Pair {
    /// Video whose motion was taken: anything ffmpeg reads, or a folder of images
    #[arg(long, value_name = "PATH", required_unless_present = "suite")]
    pub(crate) source: Option<PathBuf>,
    /// Video that was made of it
    #[arg(long, value_name = "PATH", required_unless_present = "suite")]
    pub(crate) result: Option<PathBuf>,
    /// What the result shows, its subjects in brackets where they are to be looked for
    #[arg(long, short, value_name = "TEXT", required_unless_present = "suite")]
    pub(crate) prompt: Option<String>,
    /// Where the source's subjects are, frame by frame: npz (docs/eval.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "detector", conflicts_with = "suite")]
    pub(crate) truth: Option<PathBuf>,
    /// Tracks in the source that another program has made, npz or safetensors (docs/eval.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "result_tracks", conflicts_with = "suite")]
    pub(crate) source_tracks: Option<PathBuf>,
    /// Tracks in the result, made in the same way
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "source_tracks", conflicts_with = "suite")]
    pub(crate) result_tracks: Option<PathBuf>,
}

/// What measures.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Measured with")]
pub(crate) struct Judges {
    /// CLIP model for text similarity and temporal consistency: name of a shipped one, folder, or OWNER/NAME on the hub;
    /// none to do without [default: openai/clip-vit-base-patch32]
    #[arg(long, value_name = "NAME|DIR|OWNER/NAME|none")]
    pub(crate) clip: Option<String>,
    /// Detector for the subjects of results whose source's truth is known: name of a shipped one (demo-detector), or folder
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) detector: Option<String>,
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

/// `show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A video or gif that motionflow made, or the folder of a run
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) path: PathBuf,
    /// Print the whole record as TOML
    #[arg(long)]
    pub(crate) toml: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Folder with case.json, inputs.safetensors, expected.safetensors and model/
    #[arg(value_name = "CASE_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) case: PathBuf,
    /// Largest relative L2 error that passes, more than 0
    #[arg(long, value_name = "ERROR", default_value_t = 1e-4)]
    pub(crate) tolerance: f64,
}

/// `cache`
#[derive(Debug, Args)]
#[command(after_help = CACHE_HELP)]
pub(crate) struct CacheCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) action: CacheAction,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show what is cached, the last used first
    List,
    /// Remove what is cached, but for what a process is using
    Clear(CacheClear),
}

/// `cache clear`
#[derive(Debug, Args)]
pub(crate) struct CacheClear {
    /// Only what was not used for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) older_than: Option<u32>,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLE)]
pub(crate) struct Completions {
    /// The shell that the script is for
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLE)]
pub(crate) struct Man {
    /// Folder for a page of every command; without it, the main page is printed
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// The video whose motion is taken.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Source {
    /// Video whose motion is taken: anything ffmpeg reads, or a folder of images in natural order
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<PathBuf>,
    /// What the source shows, its subject in brackets: "a [car] on a road"
    #[arg(long, value_name = "TEXT")]
    pub(crate) source_prompt: Option<String>,
    #[command(flatten)]
    pub(crate) cut: Cut,
}

/// Which part of the source is used, and how it is brought to size.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Cut {
    /// Where to begin in the source, in seconds, 0 or more [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) start: Option<f64>,
    /// Keep one frame of so many, 1 to 100000 [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) every: Option<u32>,
    /// How the source is brought to the video's size [default: crop]
    #[arg(long, value_name = "HOW", value_parser = fit_parser())]
    #[serde(with = "crate::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["crop", "pad", "stretch"]))]
    pub(crate) fit: Option<Fit>,
}

/// What the new video shows.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "New video")]
pub(crate) struct Prompts {
    /// What the new video shows; for a transfer its subject in brackets: "a [panda] in the snow"
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// What it must not show [default: the checkpoint's recommendation, else empty]
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) negative_prompt: Option<String>,
}

/// Where the files go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Output {
    /// Folder for the results; it is made, and must not hold another run [default: out]
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the run that the folder holds
    #[arg(long)]
    pub(crate) force: bool,
    /// Leave prompts, settings and version out of the mp4 and GIF files
    #[arg(long)]
    pub(crate) no_metadata: bool,
}

/// Whether the cache of inversions is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour")]
pub(crate) struct Cache {
    /// Neither take the inversion from the cache nor keep it there
    #[arg(long)]
    pub(crate) no_cache: bool,
}

/// Which checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Model")]
pub(crate) struct Model {
    /// Name of a shipped checkpoint, a folder in the diffusers text-to-video layout, or OWNER/NAME on the Hugging Face
    /// hub; `motionflow models` lists some [default: demo]
    #[arg(long, short, value_name = "NAME|DIR|OWNER/NAME", value_hint = ValueHint::DirPath)]
    #[serde(rename = "name")]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit of a checkpoint from the hub [default: main]
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
}

/// The video's size.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Video size")]
pub(crate) struct Video {
    /// Width in pixels, 1 to 8192 [default: the checkpoint's recommendation, else 576]
    #[arg(long, short = 'W', value_name = "PIXELS")]
    pub(crate) width: Option<u32>,
    /// Height in pixels, 1 to 8192 [default: the checkpoint's recommendation, else 320]
    #[arg(long, short = 'H', value_name = "PIXELS")]
    pub(crate) height: Option<u32>,
    /// Number of frames, 1 to 10000 [default: the checkpoint's recommendation, else 24]
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<u32>,
    /// Frames per second, over 0 up to 1000 [default: those of the source, else the checkpoint's recommendation]
    #[arg(long, value_name = "RATE")]
    pub(crate) fps: Option<f64>,
}

/// Where the settings begin.
#[derive(Debug, Clone, Copy, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Preset {
    /// What stands where nothing else is said: the checkpoint's recommendation (default), or the paper's own settings
    /// whatever the checkpoint recommends (paper) [default: default]
    #[arg(long, value_name = "WHAT", value_parser = named::<settings::Preset>(&["default", "paper"]))]
    #[schemars(with = "String", extend("enum" = ["default", "paper"]))]
    pub(crate) preset: Option<settings::Preset>,
}

/// How finely the noise is taken away, and where it comes from.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Steps {
    /// Steps of the inversion and of the sampling, 1 or more [default: the checkpoint's recommendation, else 50]
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
}

/// How a prompt is turned into a video.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Sampling {
    /// Classifier-free guidance, 0 or more, 1 is off [default: the checkpoint's recommendation, else 9]
    #[arg(long, visible_alias = "cfg-scale", value_name = "SCALE")]
    pub(crate) guidance_scale: Option<f64>,
    /// Seed of the noise, where there is any; 0 to 2^63 - 1 [default: 0]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
}

/// How attention becomes motion masks.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Motion masks")]
pub(crate) struct Masks {
    /// A place belongs to the subject where its attention exceeds TAU times the frame's maximum; 0 or more, below 1
    /// [default: the checkpoint's recommendation, else 0.4]
    #[arg(long, value_name = "TAU")]
    pub(crate) tau: Option<f64>,
    /// Whose attention shows the subject: its words', or the end-of-text token's, which finds a single subject even
    /// where its words do not [default: the checkpoint's recommendation, else word]
    #[arg(long, value_name = "WHOSE", value_parser = named::<SubjectMap>(&["word", "end"]))]
    #[schemars(with = "String", extend("enum" = ["word", "end"]))]
    pub(crate) subject_map: Option<SubjectMap>,
    /// A mask is made of its own step's map, or of the average over all guided steps [default: the checkpoint's
    /// recommendation, else step]
    #[arg(long, value_name = "WHICH", value_parser = named::<MaskTime>(&["step", "average"]))]
    #[schemars(with = "String", extend("enum" = ["step", "average"]))]
    pub(crate) mask_time: Option<MaskTime>,
    /// A mask is made of its own layer's map, or of the finest layers' [default: the checkpoint's recommendation, else
    /// own]
    #[arg(long, value_name = "WHICH", value_parser = named::<MaskLayers>(&["own", "finest"]))]
    #[schemars(with = "String", extend("enum" = ["own", "finest"]))]
    pub(crate) mask_layers: Option<MaskLayers>,
    /// Of several subjects, a place belongs to the strongest there alone; `--mask-apart=false` turns a recommended one
    /// off
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) mask_apart: Option<bool>,
}

/// The method's own settings.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Motion guidance")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Guidance {
    /// Sampling steps, from the first on, that are guided; 0 to the number of steps [default: the recommended share of
    /// the steps, else 20 of 50]
    #[arg(long, value_name = "N")]
    pub(crate) guided_steps: Option<usize>,
    /// Updates in each guided step, 1 to 1000 [default: the checkpoint's recommendation, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) updates_per_step: Option<usize>,
    /// An update moves the latents by ALPHA times the loss's gradient; 0 or more [default: the checkpoint's
    /// recommendation, else 5]
    #[arg(long, value_name = "ALPHA", conflicts_with = "step_norm")]
    pub(crate) step_size: Option<f64>,
    /// An update moves the latents by RATIO times their own norm along the gradient instead; 0 or more, 0.04 is much
    #[arg(long, value_name = "RATIO")]
    pub(crate) step_norm: Option<f64>,
    /// Let the step fall to zero over the guided steps; `--step-decay=false` turns a recommended decay off
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) step_decay: Option<bool>,
    /// Weight of the loss on the subject's attention, 0 or more [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_cross: Option<f64>,
    /// Weight of the loss on attention within a frame, 0 or more [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_self: Option<f64>,
    /// Weight of the loss on attention between frames, 0 or more [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_temporal: Option<f64>,
    /// Weight of the loss on the subject's attention outside the mask and its lack inside, 0 or more [default: the
    /// checkpoint's recommendation, else 0]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_outside: Option<f64>,
    /// Of several subjects: weight of the loss on attention in the others' masks, 0 or more [default: the checkpoint's
    /// recommendation, else 0]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_other: Option<f64>,
    /// A guided step's updates end when the loss is under L; 0 or more, 0 makes them all [default: the checkpoint's
    /// recommendation, else 0]
    #[arg(long, value_name = "L")]
    pub(crate) loss_threshold: Option<f64>,
    /// What an update leaves the latents of how they were: nothing, their norm, or each channel's mean and deviation
    /// [default: the checkpoint's recommendation, else none]
    #[arg(long, value_name = "WHAT", value_parser = named::<KeepStatistics>(&["none", "norm", "channels"]))]
    #[schemars(with = "String", extend("enum" = ["none", "norm", "channels"]))]
    pub(crate) keep_statistics: Option<KeepStatistics>,
    /// Take losses from these blocks alone, such as `up_blocks.1` [default: the checkpoint's recommendation, else all
    /// guidance blocks]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) guidance_layers: Option<Vec<String>>,
    /// Scale the attention to the new subject's words by W; 0 or more, 1 is off [default: the checkpoint's
    /// recommendation, else 1]
    #[arg(long, value_name = "W")]
    pub(crate) token_weight: Option<f64>,
    /// Start from the source's inverted latents (its layout and scene come along), or from noise (the motion alone)
    /// [default: the checkpoint's recommendation, else inverted]
    #[arg(long, value_name = "WHAT", value_parser = named::<Init>(&["inverted", "noise"]))]
    #[schemars(with = "String", extend("enum" = ["inverted", "noise"]))]
    pub(crate) init: Option<Init>,
    /// Make no guided updates: the plain sampling, to compare with
    #[arg(long)]
    #[serde(skip)]
    pub(crate) no_updates: bool,
    /// Whether there are guided updates
    #[arg(skip)]
    pub(crate) updates: Option<bool>,
}

fn fit_parser() -> impl TypedValueParser<Value = Fit> {
    PossibleValuesParser::new(Fit::ALL.map(Fit::name)).try_map(|name| name.parse::<Fit>())
}

/// Reads a setting that has names for values.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(name.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        super::Cli::command().debug_assert();
    }
}
