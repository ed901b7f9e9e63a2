//! The queue of `motionflow`: its two sides, `SQLite` for one machine and NATS `JetStream` for many, and the worker that
//! takes jobs from either.
//!
//! [`broker::Broker`] is what a side has to have: records with revisions, messages that are delivered again when they are not
//! acknowledged in time, and files. [`shared`] makes a [`Queue`](motionflow_engine::queue::Queue) of it, the same for both.

pub mod address;
mod broker;
mod clean;
mod jetstream;
mod keeper;
mod leases;
mod repair;
mod shared;
mod sqlite;
pub mod submission;
pub mod worker;

pub use address::{Access, Address, open};
