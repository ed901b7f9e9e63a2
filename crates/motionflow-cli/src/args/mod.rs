//! The command line: what can be said, and the help for it.
//!
//! Groups of flags that a settings file has too are read from it into the same structs (see [`motionflow_engine::request::tables`]). What
//! is not said is `None`, and filled in by [`motionflow_engine::request::resolve`].

mod bench;
mod eval;
mod flags;
mod many;
mod queue;
mod request;
mod studio;
mod track;
mod video;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use motionflow_engine::hub;
use motionflow_engine::request::{
    ContextWindows, Guidance, Masks, ModelChoice, MotionOptions, NewPrompts, Preset, Resources, Sampling,
    Steps,
};

pub(crate) use bench::Bench;
pub(crate) use eval::Eval;
pub(crate) use flags::{Flags, Global};
pub(crate) use many::{Batch, Sweep};
pub(crate) use queue::{Queue, QueueAccess, QueueAction, Submit, Worker};
pub(crate) use studio::Studio;
pub(crate) use track::Track;
pub(crate) use video::{Source, Video};

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

const MORE: &str = "These are the flags that most people need. `--help` shows all, with an example.";

const MODELS_EXAMPLE: &str = "\
Example:
  motionflow models
  motionflow models fetch cerspense/zeroscope_v2_576w";

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
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) json: bool,
    /// Begin also a run that is estimated to take more memory than there is
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) ignore_memory: bool,
    #[command(flatten)]
    pub(crate) resources: Global<Resources>,
}

/// Where the settings come from, besides the flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings from a file")]
pub(crate) struct Recall {
    /// File with settings (TOML), or the run.toml of a run to do it again; flags go before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Go on with the stopped run in this folder, from its last finished step; takes no other settings, but for --memory
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
    /// Take jobs from a queue and make their runs
    Worker(Worker),
    /// Put a transfer, or a file of them, into a queue
    Submit(Submit),
    /// Show, cancel, retry, fetch or remove the jobs of a queue
    Queue(Queue),
    /// Open the studio: the whole of it in a browser, on this machine
    Studio(Studio),
    /// Draw tracks and masks as a picture, or turn one into the other
    Track(Track),
    /// Print how a result was made
    Show(Show),
    /// Recompute a parity case and print each tensor's relative error
    Verify(Verify),
    /// Time the parts of a transfer on this machine
    Bench(Bench),
    /// Show or remove the inversions that are kept for later runs
    Cache(CacheCommand),
    /// Look whether all that a run needs is there, and say what to do where it is not
    Doctor,
    /// Print a script that completes commands and flags in a shell
    Completions(Completions),
    /// Print the manual page, or write one for every command
    Man(Man),
    /// Print the JSON schema of settings files, for editors, or the reference of all settings
    Schema(Schema),
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
            Self::Bench(_) => "bench",
            Self::Cache(_) => "cache",
            Self::Doctor => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Show(_) => "show",
            Self::Studio(_) => "studio",
            Self::Worker(_) => "worker",
            Self::Submit(_) => "submit",
            Self::Queue(_) => "queue",
            Self::Track(_) => "track",
            Self::Schema(_) => "schema",
        }
    }
}

/// `transfer`
#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = TRANSFER_EXAMPLE)]
pub(crate) struct Transfer {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Folder that `motionflow invert` made, instead of a source and its prompt
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        help_heading = "Source",
        hide_short_help = true,
        conflicts_with_all = ["source", "source_prompt", "start", "every", "fit", "width", "height", "frames", "steps"]
    )]
    pub(crate) inversion: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) motion: Flags<MotionOptions>,
    #[command(flatten)]
    pub(crate) prompts: Flags<NewPrompts>,
    #[command(flatten)]
    pub(crate) recall: Recall,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: Cache,
    #[command(flatten)]
    pub(crate) model: Flags<ModelChoice>,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Flags<Preset>,
    #[command(flatten)]
    pub(crate) steps: Flags<Steps>,
    #[command(flatten)]
    pub(crate) sampling: Flags<Sampling>,
    #[command(flatten)]
    pub(crate) context: Flags<ContextWindows>,
    #[command(flatten)]
    pub(crate) masks: Flags<Masks>,
    #[command(flatten)]
    pub(crate) guidance: Flags<Guidance>,
    /// Show the settings, each prompt's tokens, and the time and memory that it would take; make nothing
    #[arg(long, help_heading = "Behaviour", conflicts_with = "resume")]
    pub(crate) dry_run: bool,
}

/// `generate`
#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = GENERATE_EXAMPLE)]
pub(crate) struct Generate {
    #[command(flatten)]
    pub(crate) prompts: Flags<NewPrompts>,
    #[command(flatten)]
    pub(crate) recall: Recall,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) model: Flags<ModelChoice>,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Flags<Preset>,
    #[command(flatten)]
    pub(crate) steps: Flags<Steps>,
    #[command(flatten)]
    pub(crate) sampling: Flags<Sampling>,
    #[command(flatten)]
    pub(crate) context: Flags<ContextWindows>,
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
    pub(crate) model: Flags<ModelChoice>,
    #[command(flatten)]
    pub(crate) video: Video,
    #[command(flatten)]
    pub(crate) preset: Flags<Preset>,
    #[command(flatten)]
    pub(crate) steps: Flags<Steps>,
    #[command(flatten)]
    pub(crate) context: Flags<ContextWindows>,
    #[command(flatten)]
    pub(crate) masks: Flags<Masks>,
}

/// `invert`
#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = INVERT_EXAMPLE)]
pub(crate) struct Invert {
    #[command(flatten)]
    pub(crate) looking: Looking,
}

/// `inspect`
#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = INSPECT_EXAMPLE)]
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
        #[arg(long, value_name = "REV", default_value = hub::REVISION)]
        revision: String,
    },
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

/// `schema`
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Print docs/settings-reference.md instead
    #[arg(long)]
    pub(crate) reference: bool,
    /// Print the schema of track files instead
    #[arg(long, conflicts_with = "reference")]
    pub(crate) track: bool,
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
    #[arg(long, hide_short_help = true)]
    pub(crate) no_metadata: bool,
}

/// Whether the cache of inversions is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour")]
pub(crate) struct Cache {
    /// Neither take the inversion from the cache nor keep it there
    #[arg(long, hide_short_help = true)]
    pub(crate) no_cache: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        super::Cli::command().debug_assert();
    }
}
