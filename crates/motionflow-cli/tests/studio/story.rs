//! The whole story in a headless Chromium: `cargo xtask test` makes ready for it, or says why it is skipped.

use std::process::Command;

use crate::server::{Studio, tree};

/// Set where npm's packages and a Chromium are there.
const READY: &str = "MOTIONFLOW_STUDIO_STORY";

#[test]
fn a_person_makes_a_transfer_in_a_browser() {
    if std::env::var_os(READY).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::of_the_demo(&folder.path().join("runs"));
    let told = Command::new("node")
        .args(["e2e/story.mjs", &studio.url, "--steps", "3"])
        .current_dir(tree().join("crates/motionflow-studio/page"))
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
}
