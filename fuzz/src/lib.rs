//! What the fuzz targets have in common. Each hands its bytes to a function of `motionflow::fuzzing`, which checks what
//! must hold for all bytes; here the memory that it may take is bounded by the size of the input.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What any input may take, in bytes.
const BASE: usize = 4 << 20;

/// What an input may take besides for each of its bytes.
const PER_BYTE: usize = 256;

/// Runs `target` on `data`; taking more memory than such an input may ends the process.
pub fn bounded(data: &[u8], target: impl FnOnce(&[u8])) {
    let allowed = BASE + PER_BYTE * data.len();
    // A limit that something else, libFuzzer's own bookkeeping, has already passed says nothing.
    let _ = MEMORY.set_limit(MEMORY.allocated().saturating_add(allowed));
    target(data);
    let _ = MEMORY.set_limit(usize::MAX);
}

/// The entry point that libFuzzer calls.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::bounded(data, motionflow::fuzzing::$name));
    };
}
