//! The engine of `motionflow`: everything between a request and a run folder, for any front end.
//!
//! A front end fills in a [`request::Request`], opens it ([`runs::open::OpenRun`]), and gives it to an [`engine::Engine`]:
//!
//! ```no_run
//! use motionflow_engine::engine::Engine;
//! use motionflow_engine::progress::Progress;
//! use motionflow_engine::request::Request;
//! use motionflow_engine::runs::open::OpenRun;
//! use motionflow_engine::runs::transfer::TransferOptions;
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut request = Request::default();
//! request.source.path = Some("car.mp4".into());
//! request.prompts.source_prompt = Some("a [car] on a road".into());
//! request.prompts.new.prompt = Some("a [panda] in the snow".into());
//! request.output.folder = Some("out/panda".into());
//! let mut progress = Progress::silent();
//! let run = OpenRun::claim(request, &progress)?;
//! Engine::new().transfer(run, &TransferOptions::default(), &mut progress)?;
//! # Ok(())
//! # }
//! ```
//!
//! - What a run tells arrives as [`event::Event`]s at the observer of its [`progress::Progress`]; nothing is printed.
//! - A [`cancel::CancelToken`] stops it after the step that is running. What is done is kept for `resume`.
//! - [`error::ErrorKind::of`] says of which kind an error is, for exit codes or HTTP statuses.
//! - An engine can be shared between threads. Runs on one device wait for each other, and the checkpoint that was loaded
//!   last stays loaded from run to run.
//!
//! The settings of a request, with their ranges and defaults, can be listed: [`request::setting::settings_of`].

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the descriptions of settings are shown as they stand, and have brackets of prompts"
)]

pub mod batch;
pub mod cache;
pub mod cancel;
pub mod clips;
pub mod columns;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod eval;
pub mod event;
pub mod experiment;
pub mod folder;
pub mod folder_name;
mod hashes;
mod home;
pub mod hub;
pub mod libtorch_version;
pub mod models;
pub mod motion;
pub mod out_of_memory;
pub mod plan;
pub mod progress;
pub mod queue;
pub mod request;
pub mod runs;
pub mod schema;
pub mod shell;
pub mod source;
pub mod threads;
pub mod toml_file;
pub mod units;
