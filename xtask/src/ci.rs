//! `cargo xtask ci`: what must pass before a change is taken.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::circles::circles;
use crate::demo::run_demo;
use crate::deny::deny;
use crate::nats;
use crate::page::{check_page, install};
use crate::setup::{cargo, setup};
use crate::test::run_tests;
use crate::workspace::{Workspace, run_ok};

/// Runs every step, the cheap ones first, and stops at the first that fails.
pub fn ci(workspace: &Workspace) -> Result<ExitCode> {
    let mut report = Report(Vec::new());
    report.step("fmt", || run_ok(cargo(workspace, "fmt").args(["--all", "--check"])))?;
    report.step("circles", || circles(workspace))?;
    let environment = report.step("setup", || setup(workspace))?;
    let note = report.step("deny", || deny(workspace))?;
    report.step("clippy", || {
        let mut clippy = environment.cargo("clippy");
        run_ok(clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    report.step("page", || {
        install()?;
        check_page(workspace)
    })?;
    let tests = report.step("test", || {
        nats::install()?;
        run_tests(&environment, &[])
    })?;
    let demo = report.step("demo", || run_demo(&environment, "demo", true, &[]))?;

    tests.print();
    println!("\n{}", report.0.join("\n"));
    if let Some(note) = note {
        println!("{note}");
    }
    let passed = tests.status.success() && demo == ExitCode::SUCCESS;
    if demo != ExitCode::SUCCESS {
        println!("the demo FAILED");
    }
    println!("{}", if passed { "ci passed" } else { "ci FAILED" });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps so far with the time that each took.
struct Report(Vec<String>);

impl Report {
    fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let result = step().with_context(|| format!("ci stops at `{name}`"))?;
        self.0.push(format!("{name:8}{:5.0} s", start.elapsed().as_secs_f64()));
        Ok(result)
    }
}
