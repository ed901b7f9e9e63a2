//! What others see of the studio: the program is started as a program, and asked over HTTP.

// Links and the memory of processes are Linux's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod cluster;
mod comparing;
mod events;
mod hostile;
mod interrupted;
mod jobs;
mod load;
mod looking;
mod results;
mod server;
mod story;
