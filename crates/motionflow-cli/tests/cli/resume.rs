//! Runs that are stopped or killed, and go on.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, car, program, run, same_results, text, tiny_model};

const KILLS: usize = 20;
const RESULTS: [&str; 8] = [
    "compare.mp4",
    "contact-sheet.png",
    "loss.svg",
    "masks.mp4",
    "result.gif",
    "result.mp4",
    "run.json",
    "run.toml",
];

fn transfer(place: &Place, output: &str, steps: &str) -> Command {
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
    command.args(["--prompt", "a [panda] in the snow", "--output", &place.text(output)]);
    command.args(["--model", &tiny_model(), "-W", "24", "-H", "16", "--frames", "3", "--threads", "1"]);
    command.args([
        "--steps",
        steps,
        "--guided-steps",
        "3",
        "--init",
        "noise",
        "--step-norm",
        "0.03",
        "--no-cache",
    ]);
    command
}

fn resume(folder: &Path) -> Command {
    let mut command = program();
    command.args(["transfer", "--resume", &text(folder)]);
    command
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let began = Instant::now();
    run(&mut transfer(&place, "unbroken", "6")).ok();
    let whole = began.elapsed();
    let random = || RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    let (mut kills, mut after_a_step) = (0, 0);
    let folder = place.path("killed");
    while kills < KILLS {
        let mut running = start(&mut transfer(&place, "killed", "6"));
        loop {
            // Later runs have less left to do, so that all parts of a run are hit.
            std::thread::sleep(Duration::from_secs_f64(random() * whole.as_secs_f64()));
            if running.try_wait().unwrap().is_some() {
                break;
            }
            running.kill().unwrap();
            running.wait().unwrap();
            kills += 1;
            let unfinished = folder.join(".unfinished");
            after_a_step += usize::from(unfinished.join("inversion-0001.safetensors").exists());
            let recorded = unfinished.join("run.toml").exists() || folder.join("run.toml").exists();
            running = start(&mut if recorded { resume(&folder) } else { transfer(&place, "killed", "6") });
        }
        run(&mut resume(&folder)).ok();
        assert_eq!(place.names("killed"), RESULTS);
        same_results(&place.path("unbroken"), &folder);
        fs::remove_dir_all(&folder).unwrap();
    }
    assert!(after_a_step > 0, "no run was killed after its first step");
}

/// What is between the steps is float32, and whole in the files. The weight makes the gradient of the loss more than
/// float16 can hold at first.
#[test]
fn a_run_in_half_precision_goes_on_to_the_same_bytes() {
    for flags in [["--precision", "f16", "--lambda-cross", "1e5"], ["--precision", "bf16", "--memory", "low"]]
    {
        let place = Place::new();
        run(transfer(&place, "unbroken", "12").args(flags)).ok();
        let folder = place.path("killed");
        let mut command = transfer(&place, "killed", "12");
        command.args(flags);
        for kept in ["inversion-0002.safetensors", "sampling-0002.safetensors"] {
            let mut running = start(&mut command);
            wait_for(&folder.join(".unfinished").join(kept));
            running.kill().unwrap();
            running.wait().unwrap();
            command = resume(&folder);
        }
        let outcome = run(&mut command).ok();
        assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
        same_results(&place.path("unbroken"), &folder);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_between_steps_and_says_how_to_go_on() {
    let place = Place::new();
    run(&mut transfer(&place, "unbroken", "40")).ok();
    let folder = place.path("stopped");
    let mut stops = 0;
    let mut command = transfer(&place, "stopped", "40");
    // Once in the inversion, once in the sampling.
    for kept in ["inversion-0002.safetensors", "sampling-0002.safetensors"] {
        let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&folder.join(".unfinished").join(kept));
        send_int(&running.id().to_string());
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        let how = format!("motionflow transfer --resume {}", folder.display());
        assert!(said.contains("stopping after this step") && said.contains(&how), "{said}");
        assert!(!said.contains("error"), "{said}");
        assert_eq!(place.names("stopped"), [".unfinished"]);
        stops += 1;
        command = resume(&folder);
    }
    assert_eq!(stops, 2);
    // Another run is not put over it, and its folder is not shared.
    run(&mut transfer(&place, "stopped", "40")).fails(2, &["unfinished run", "--resume", "--force"]);
    let outcome = run(&mut command).ok();
    assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
    same_results(&place.path("unbroken"), &folder);
    assert_eq!(place.names("stopped"), RESULTS);
    let again = run(&mut resume(&folder)).ok();
    assert!(again.stderr.contains("finished already"), "{}", again.stderr);
}

#[test]
fn a_step_that_cannot_be_written_ends_the_run_and_it_goes_on() {
    let place = Place::new();
    run(&mut transfer(&place, "unbroken", "40")).ok();
    let folder = place.path("stopped");
    let running =
        transfer(&place, "stopped", "40").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&folder.join(".unfinished/inversion-0001.safetensors"));
    let in_the_way = folder.join(".unfinished/sampling-0035.safetensors");
    fs::create_dir(&in_the_way).unwrap();
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("sampling-0035.safetensors: cannot be written: a folder is in its place"),
        "{said}"
    );
    assert!(said.contains(&format!("motionflow transfer --resume {}", folder.display())), "{said}");
    fs::remove_dir(&in_the_way).unwrap();
    let outcome = run(&mut resume(&folder)).ok();
    assert!(outcome.stderr.contains("generate: goes on after step 34 of 40"), "{}", outcome.stderr);
    same_results(&place.path("unbroken"), &folder);
}

fn wait_for(path: &Path) {
    let patience = Instant::now();
    while !path.exists() {
        assert!(patience.elapsed() < Duration::from_secs(120), "{} never appears", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(unix)]
fn send_int(to: &str) {
    assert!(Command::new("kill").args(["-INT", "--", to]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    let place = Place::new();
    let folder = place.path("a folder");
    let mut command = transfer(&place, "a folder", "40");
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&folder.join(".unfinished/inversion-0002.safetensors"));
    send_int(&running.id().to_string());
    // The first may have been enough.
    let _ = Command::new("kill").args(["-INT", &running.id().to_string()]).stderr(Stdio::null()).status();
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(!said.contains("error"), "{said}");
    // How to go on is said as a shell takes it.
    let again = run(&mut transfer(&place, "a folder", "40")).fails(2, &["--resume"]);
    assert!(again.stderr.contains(&format!("--resume '{}'", folder.display())), "{}", again.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_a_terminal_does_not_spoil_files_that_are_being_written() {
    use std::os::unix::process::CommandExt;
    let place = Place::new();
    let mut command = transfer(&place, "out", "3");
    // A terminal signals the whole group, ffmpeg too if it were in it.
    command.process_group(0);
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place.path("out/.unfinished/files"));
    send_int(&format!("-{}", running.id()));
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(place.names("out"), RESULTS);
}

#[test]
fn only_what_was_begun_goes_on() {
    let place = Place::new();
    run(&mut resume(&place.path("nothing"))).fails(2, &["holds no unfinished run"]);
    run(resume(&place.path("nothing")).args(["--tau", "0.3"])).fails(2, &["--resume", "leave out the other"]);
    assert!(place.names(".").is_empty());
}
