//! The motion of subjects as pictures of masks: out of a run, and into one.

pub(crate) mod mask_files;
