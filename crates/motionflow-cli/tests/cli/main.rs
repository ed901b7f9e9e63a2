//! What a user of the program `motionflow` sees: real runs on a tiny checkpoint of random weights.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod bad_input;
mod commands;
mod common;
mod hostile;
mod sources;
mod terminal;
mod transfer;
