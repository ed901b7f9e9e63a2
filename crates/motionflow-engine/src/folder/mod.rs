//! A run folder: the results, the records of how they were made, and what a run that is not finished keeps.

pub(crate) mod changes;
pub mod checksums;
pub mod damage;
pub(crate) mod inputs;
pub mod inversion_file;
pub(crate) mod map_tensors;
pub(crate) mod mask_folder;
pub mod metadata;
pub(crate) mod outputs;
pub mod record;
pub(crate) mod report;
pub mod run_folder;
pub mod unfinished;
