//! `studio`

use std::path::PathBuf;

use clap::{Args, ValueHint};

const EXAMPLE: &str = "\
Example:
  motionflow studio --open
  motionflow studio --runs out --port 7860

Only this machine can open it. With --host it listens at another address, and asks for the token that is printed:
  motionflow studio --host 192.168.1.20";

/// The least and the largest size of uploads, in MiB.
const UPLOADS: std::ops::RangeInclusive<u64> = 1..=1 << 20;

/// `studio`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Studio {
    /// Port to listen at; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 7860)]
    pub(crate) port: u16,
    /// Address, or a name for it, to listen at; at another one than this machine's own a token is asked for
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Folder of the run folders, the queue and what is uploaded
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// Checkpoint of jobs that name none: a shipped one, a folder, or OWNER/NAME on the Hugging Face hub [default: demo]
    #[arg(long, short, value_name = "NAME|DIR|OWNER/NAME", value_hint = ValueHint::DirPath)]
    pub(crate) model: Option<String>,
    /// The largest upload, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(UPLOADS))]
    pub(crate) max_upload: u64,
    /// Open the page in a browser
    #[arg(long)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) access: super::QueueAccess,
}
