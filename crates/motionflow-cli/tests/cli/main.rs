//! What a user of the program `motionflow` sees: real runs on a tiny checkpoint of random weights.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod animatediff;
mod bad_input;
mod batch;
mod bench;
mod cache;
mod chaos;
mod checkpoints;
mod cluster;
#[cfg(target_os = "linux")]
mod clusters;
mod commands;
mod common;
mod doctor;
mod domain;
mod done;
mod dry_run;
mod error_table;
mod errors;
mod eval;
mod films;
mod full_queue;
mod given_motion;
mod guidance;
mod hostile;
mod hub;
mod hub_server;
mod inversions_once;
mod layer_choice;
mod machines;
mod mask_files;
mod motion_arrives;
#[path = "../../../motionflow-queue/tests/queue/server.rs"]
mod nats;
mod noised;
mod out_of_memory;
mod precision;
#[cfg(target_os = "linux")]
mod process;
mod results;
mod resume;
mod settings_file;
mod shell;
mod show;
mod sources;
mod suite;
mod sweep;
mod terminal;
mod transfer;
mod values;
mod wan;
mod windows;
