//! The inputs that fuzzing has kept, through the same entry point.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

#[test]
fn configs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/configs");
    let inputs = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let preprocessors: Vec<Vec<u8>> = inputs.filter(|input| input.first() == Some(&b'p')).collect();
    assert!(!preprocessors.is_empty());
    for input in preprocessors {
        motionflow_eval::fuzzing::configs(&input);
    }
}
