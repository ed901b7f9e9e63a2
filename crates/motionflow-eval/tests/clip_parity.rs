//! The committed parity case of CLIP, recomputed: equal to transformers.

use std::path::Path;

use motionflow_eval::clip::parity::{is_clip_case, verify};
use tch::Device;

const TOLERANCE: f64 = 1e-4;

#[test]
fn clip_is_that_of_transformers() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../motionflow/tests/clip-cases/clip-tiny");
    assert!(is_clip_case(&case));
    let comparisons = verify(&case, Device::Cpu, TOLERANCE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(comparisons.len(), 3);
    assert!(comparisons.iter().all(|comparison| comparison.ok), "{comparisons:#?}");
}
