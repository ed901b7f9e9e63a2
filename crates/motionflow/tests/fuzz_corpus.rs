//! The inputs that fuzzing has kept, through the same entry points.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failing test shows what it has printed")]

use std::fs;
use std::path::Path;

use motionflow::fuzzing;

#[track_caller]
fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{} has {} files", folder.display(), files.len());
    for file in files {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn pickle() {
    replay("pickle", fuzzing::pickle);
}

#[test]
fn torch_file() {
    replay("torch_file", fuzzing::torch_file);
}

#[test]
fn safetensors() {
    replay("safetensors", fuzzing::safetensors);
}

#[test]
fn configs() {
    replay("configs", fuzzing::configs);
}

#[test]
fn prompt() {
    replay("prompt", fuzzing::prompt);
}
