//! CLIP's byte-pair vocabulary, which a wheel carries.

use std::path::PathBuf;

use anyhow::Result;

use crate::wheels::Wheels;
use crate::workspace::Workspace;

const WHEELS: Wheels = Wheels {
    what: "CLIP's vocabulary (from open_clip_torch 3.3.0)",
    folder: "clip-vocabulary",
    requirements: include_str!("../wheels/clip-vocabulary.txt"),
    sentinel: "open_clip/bpe_simple_vocab_16e6.txt.gz",
    mebibytes: 50,
    instead: "set MOTIONFLOW_REFERENCE_BPE to a bpe_simple_vocab_16e6.txt.gz",
    check: |_| Ok(()),
};

/// The file of merges: the user's, or the wheel's.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    match std::env::var_os("MOTIONFLOW_REFERENCE_BPE") {
        Some(own) => Ok(own.into()),
        None => Ok(WHEELS.ensure(workspace)?.join(WHEELS.sentinel)),
    }
}
