//! Every committed parity case, recomputed: equal to diffusers and to the reference of the method.

use std::fs;
use std::path::{Path, PathBuf};

use motionflow::parity::verify;
use tch::Device;

const TOLERANCE: f64 = 1e-4;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    cases.retain(|path| path.join("case.json").is_file());
    cases.sort();
    cases
}

#[test]
fn every_tensor_of_every_case_is_that_of_diffusers() {
    let cases = cases();
    assert!(cases.len() >= 4, "expected several cases, found {cases:?}");
    for case in cases {
        let comparisons = verify(&case, Device::Cpu, TOLERANCE).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        assert!(comparisons.len() > 20, "{case:?} has too few tensors to mean anything");
        let off: Vec<_> = comparisons.iter().filter(|comparison| !comparison.ok).collect();
        assert!(off.is_empty(), "{case:?} is off in {off:#?}");
    }
}
