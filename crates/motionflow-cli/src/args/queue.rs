//! `worker`, `submit` and `queue`: runs that other processes make.
#![allow(clippy::doc_markdown, reason = "these texts are shown as they stand")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use motionflow::device::DeviceChoice;

use super::Transfer;

const WORKER_EXAMPLE: &str = "\
Example, on each machine that computes:
  motionflow worker --queue nats://queue.example:4222 --device cuda:0,cuda:1

A folder is a queue for the processes of one machine:
  motionflow worker --queue jobs --until-empty";

const SUBMIT_EXAMPLE: &str = "\
Example:
  motionflow submit --queue nats://queue.example --name panda --source car.mp4 \\
      --source-prompt \"a [car] on a road\" --prompt \"a [panda] in the snow\"
  motionflow submit --queue nats://queue.example jobs.toml
  motionflow queue fetch panda --queue nats://queue.example -o out --wait";

const QUEUE_EXAMPLE: &str = "\
Example:
  motionflow queue status --queue nats://queue.example
  motionflow queue list --state failed --queue nats://queue.example
  motionflow queue fetch panda -o out --queue nats://queue.example";

/// Which queue, and how to get in. Each file can be named by a variable of NATS's own tools instead.
#[derive(Debug, Args)]
#[command(next_help_heading = "Queue")]
pub(crate) struct QueueAccess {
    /// The queue: nats://HOST:PORT or tls://HOST:PORT of a NATS server with JetStream, or a folder on this machine
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub(crate) queue: Option<String>,
    /// File with NATS credentials [$NATS_CREDS]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true, hide_short_help = true)]
    pub(crate) creds: Option<PathBuf>,
    /// File with the seed of an nkey [$NATS_NKEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true, hide_short_help = true)]
    pub(crate) nkey: Option<PathBuf>,
    /// File with the certificate of the authority that signed the server's [$NATS_CA]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true, hide_short_help = true)]
    pub(crate) tlsca: Option<PathBuf>,
    /// File with this client's certificate [$NATS_CERT]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true, hide_short_help = true, requires = "tlskey")]
    pub(crate) tlscert: Option<PathBuf>,
    /// File with the key of that certificate [$NATS_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true, hide_short_help = true, requires = "tlscert")]
    pub(crate) tlskey: Option<PathBuf>,
    /// How long a worker may be silent until its job goes to another one, in seconds; what a queue has already stays
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true, hide_short_help = true)]
    pub(crate) lease: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "is no number of seconds".to_owned())?;
    if (1.0..=86400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be 1 to 86400 seconds".to_owned())
    }
}

fn device(text: &str) -> Result<toml::Value, String> {
    let device: Result<DeviceChoice, _> = text.parse();
    device.map(|device| toml::Value::String(device.to_string()))
}

fn any_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "must be 0 seconds or more".to_owned())
}

/// `worker`
#[derive(Debug, Args)]
#[command(after_help = WORKER_EXAMPLE)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) access: QueueAccess,
    /// Device to compute on; a process for each of several, such as cuda:0,cuda:1, of which one that dies is started again
    // In the place of the flag of every command, whose values are of this type.
    #[arg(long, value_name = "DEVICE,...", value_delimiter = ',', value_parser = device, help_heading = "Behaviour")]
    pub(crate) device: Vec<toml::Value>,
    /// Folder for what is at work [default: motionflow-work in the system's folder for temporary files]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) work: Option<PathBuf>,
    /// End when there is nothing more that this worker could do
    #[arg(long)]
    pub(crate) until_empty: bool,
    /// How often the finished steps of a run are brought to the queue, in seconds, at most
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = any_seconds)]
    pub(crate) keep_every: Duration,
}

impl Worker {
    /// The devices that were given.
    pub(crate) fn devices(&self) -> Vec<DeviceChoice> {
        self.device.iter().filter_map(toml::Value::as_str).filter_map(|device| device.parse().ok()).collect()
    }
}

/// `submit`
#[derive(Debug, Args)]
#[command(after_help = super::MORE, after_long_help = SUBMIT_EXAMPLE)]
pub(crate) struct Submit {
    /// File with [defaults] and a [[job]] for every transfer, as for `batch`; without it, flags say one transfer
    #[arg(value_name = "JOBS", value_hint = ValueHint::FilePath)]
    pub(crate) jobs: Option<PathBuf>,
    /// Name of the job and of its run folder [default: of the prompt]
    #[arg(long = "name", value_name = "NAME", conflicts_with = "jobs")]
    pub(crate) job_name: Option<String>,
    #[command(flatten)]
    pub(crate) access: QueueAccess,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

/// `queue`
#[derive(Debug, Args)]
#[command(after_help = QUEUE_EXAMPLE)]
pub(crate) struct Queue {
    #[command(subcommand)]
    pub(crate) action: QueueAction,
    #[command(flatten)]
    pub(crate) access: QueueAccess,
}

/// What can be done with a queue.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueAction {
    /// Show how many jobs there are of each state, and the workers
    Status,
    /// Show the jobs
    List {
        /// Only those in this state: queued, running, finished, failed, cancelled or dead
        #[arg(long, value_name = "STATE", value_parser = ["queued", "running", "finished", "failed", "cancelled", "dead"])]
        state: Option<String>,
    },
    /// End jobs: at once where they wait, after their step where they run
    Cancel {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Let jobs that failed, were cancelled or given up wait again; they go on from their last step
    Retry {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Write the results of jobs to folders of their names
    Fetch {
        /// Their ids; all that are finished where none is given
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Folder for the jobs' folders
        #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "out")]
        output: PathBuf,
        /// Wait until they are over
        #[arg(long, requires = "ids")]
        wait: bool,
    },
    /// Remove jobs that are over with their results, and files that nothing needs any more
    Clean {
        /// Those that have been over for so many days
        #[arg(long, value_name = "DAYS", default_value_t = 30.0)]
        older_than: f64,
        /// The oldest besides, until all files have at most this size: 500GiB
        #[arg(long, value_name = "SIZE")]
        limit: Option<String>,
    },
}
