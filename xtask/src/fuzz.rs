//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, on stable Rust.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::arguments::Arguments;
use crate::setup::setup;
use crate::workspace::{Workspace, run_ok};

const TARGETS: [&str; 5] = ["pickle", "torch_file", "safetensors", "configs", "prompt"];

/// What libFuzzer needs to see of the code. `cargo fuzz` sets the same, but for the address sanitizer, which only
/// nightly Rust has.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The longest input in bytes, the longest time for it in seconds, the most memory of the process in MB.
const LIMITS: [&str; 3] = ["-max_len=4096", "-timeout=5", "-rss_limit_mb=2048"];

/// For so long each target runs where nothing is said.
const SECONDS: &str = "-max_total_time=60";

/// Builds the targets and runs one or all of them. What they learn is kept below `target/fuzz/`.
pub fn fuzz(workspace: &Workspace, mut arguments: Arguments) -> Result<ExitCode> {
    let mut targets = TARGETS.to_vec();
    let mut end = SECONDS.to_owned();
    while let Some(argument) = arguments.next() {
        let flag = match argument.as_str() {
            "--seconds" => "-max_total_time",
            "--runs" => "-runs",
            name => {
                let known = TARGETS.iter().find(|target| **target == name);
                let Some(target) = known else {
                    bail!("there is no fuzz target `{name}`; there are: {}", TARGETS.join(", "))
                };
                targets = vec![target];
                continue;
            }
        };
        let count = arguments.next().and_then(|count| count.parse::<u32>().ok()).filter(|count| *count > 0);
        end = format!("{flag}={}", count.with_context(|| format!("{argument} needs a number, 1 or more"))?);
    }

    let triple = host()?;
    let folder = workspace.join("target/fuzz");
    let mut build = setup(workspace)?.cargo("build");
    build.args(["--release", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--target", &triple]);
    run_ok(build.arg("--target-dir").arg(&folder).env("RUSTFLAGS", COVERAGE.join(" ")))?;
    for target in targets {
        let (corpus, found) = (folder.join("corpus").join(target), folder.join("found").join(target));
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut fuzzer = Command::new(folder.join(&triple).join("release").join(target));
        fuzzer.current_dir(workspace.root()).args(LIMITS).args([&end, "-print_final_stats=1"]);
        // A panic beyond the bound on memory could not print a backtrace, and would hang.
        fuzzer.env("RUST_BACKTRACE", "0");
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        fuzzer.arg(format!("-dict=fuzz/dictionaries/{target}.dict"));
        run_ok(fuzzer.arg(corpus).arg(format!("fuzz/corpus/{target}")))
            .with_context(|| format!("what it found is in {}", workspace.show(&found)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What this machine is called. With `--target`, the flags above leave build scripts alone.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say for which machine it is")
}

#[cfg(test)]
mod tests {
    /// `fuzz/` is no member of the workspace, so nothing else brings its lock file up to date.
    #[test]
    fn the_lock_file_has_what_the_library_needs() {
        let manifest = include_str!("../../crates/motionflow/Cargo.toml");
        let (_, needed) = manifest.split_once("[dependencies]\n").unwrap();
        let needed: Vec<&str> =
            needed.lines().map_while(|line| Some(line.split_once(['.', ' '])?.0)).collect();
        assert!(needed.contains(&"tch"), "{needed:?}");
        let lock = include_str!("../../fuzz/Cargo.lock");
        let (_, ours) = lock.split_once("name = \"motionflow\"\n").unwrap();
        let (ours, _) = ours.split_once("\n\n").unwrap();
        let known =
            |name: &str| ours.contains(&format!("\"{name}\"")) || ours.contains(&format!("\"{name} "));
        let missing: Vec<&&str> = needed.iter().filter(|name| !known(name)).collect();
        assert!(missing.is_empty(), "`cargo tree --manifest-path fuzz/Cargo.toml` adds {missing:?}");
    }
}
