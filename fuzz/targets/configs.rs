#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    motionflow_fuzz::bounded(data, |data| {
        motionflow::fuzzing::configs(data);
        motionflow_eval::fuzzing::configs(data);
    });
});
