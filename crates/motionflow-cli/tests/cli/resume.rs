//! Runs that are stopped or killed, and go on.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    Outcome, Place, car, program, read_json, read_toml, read_video, run, same_results, text, tiny_model,
};

const KILLS: usize = 20;
const RESULTS: [&str; 10] = [
    "compare.mp4",
    "contact-sheet.png",
    "loss.svg",
    "masks",
    "masks.mp4",
    "masks.npz",
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
            kill_at(&mut command, &folder, kept);
            command = resume(&folder);
        }
        let outcome = run(&mut command).ok();
        assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
        same_results(&place.path("unbroken"), &folder);
    }
}

/// What a multistep sampler remembers is kept with the latents.
#[test]
fn a_run_of_every_sampler_goes_on_to_the_same_bytes() {
    for (sampler, interval) in [("ddim", "4"), ("dpmpp-2m", "1"), ("unipc", "1"), ("unipc", "2")] {
        let place = Place::new();
        let flags = ["--sampler", sampler, "--deepcache-interval", interval, "--guidance-interval", "0.3:9"];
        run(transfer(&place, "unbroken", "8").args(flags)).ok();
        let folder = place.path("killed");
        let mut command = transfer(&place, "killed", "8");
        command.args(flags);
        // The first three steps are guided.
        for kept in ["sampling-0002.safetensors", "sampling-0005.safetensors"] {
            kill_at(&mut command, &folder, kept);
            command = resume(&folder);
        }
        let outcome = run(&mut command).ok();
        assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
        same_results(&place.path("unbroken"), &folder);
        let record = read_toml(&folder.join("run.toml"));
        assert_eq!(record["settings"]["sampler"].as_str(), Some(sampler));
    }
}

#[test]
fn a_run_in_context_windows_goes_on_to_the_same_bytes() {
    for (sampler, mask_source) in [("ddim", "inversion"), ("dpmpp-2m", "noised")] {
        let place = Place::new();
        let flags = ["--sampler", sampler, "--mask-source", mask_source, "--deepcache-interval", "3"];
        let windows = ["--context-frames", "2", "--context-overlap", "1"];
        run(transfer(&place, "unbroken", "8").args(flags).args(windows)).ok();
        let folder = place.path("killed");
        let mut command = transfer(&place, "killed", "8");
        command.args(flags).args(windows);
        for kept in ["sampling-0002.safetensors", "sampling-0005.safetensors"] {
            kill_at(&mut command, &folder, kept);
            command = resume(&folder);
        }
        let outcome = run(&mut command).ok();
        assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
        same_results(&place.path("unbroken"), &folder);
    }
}

const MIXED: &str = "made in another --memory";

/// Kills a run once a file of its folder `.unfinished` is there.
pub(crate) fn kill_at(command: &mut Command, folder: &Path, kept: &str) {
    let mut running = start(command);
    wait_for(&folder.join(".unfinished").join(kept));
    running.kill().unwrap();
    running.wait().unwrap();
}

/// With a cache of inversions of its own.
fn cached<'a>(place: &Place, command: &'a mut Command) -> &'a mut Command {
    command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT")
}

fn entries(place: &Place) -> usize {
    fs::read_dir(place.path("cache")).map_or(0, Iterator::count)
}

fn memory_in(record: &Path) -> String {
    read_toml(record)["program"]["memory"].as_str().unwrap().to_owned()
}

fn warned(outcome: &Outcome, folder: &Path) -> bool {
    let warnings = read_json(&folder.join("run.json"))["warnings"].to_string();
    assert_eq!(outcome.stderr.contains(MIXED), warnings.contains(MIXED), "{}", outcome.stderr);
    warnings.contains(MIXED)
}

#[test]
fn a_run_goes_on_in_another_memory_and_tells_it() {
    let place = Place::new();
    let (unbroken, folder) = (place.path("unbroken"), place.path("killed"));
    run(&mut transfer(&place, "unbroken", "12")).ok();
    kill_at(&mut transfer(&place, "killed", "12"), &folder, "inversion-0002.safetensors");
    let mut other = resume(&folder);
    kill_at(cached(&place, other.args(["--memory", "low"])), &folder, "sampling-0002.safetensors");
    assert_eq!(memory_in(&folder.join(".unfinished/run.toml")), "low");

    // What was made in two memories is no inversion of either, and lies in no cache.
    let outcome = run(cached(&place, &mut resume(&folder))).ok();
    assert!(outcome.stderr.contains("generate: goes on after step"), "{}", outcome.stderr);
    assert!(warned(&outcome, &folder));
    assert_eq!(memory_in(&folder.join("run.toml")), "low");
    assert_eq!(place.names("killed"), RESULTS);
    assert_eq!(entries(&place), 0);
    let [one, other] = [&unbroken, &folder].map(|folder| read_video(&folder.join("result.mp4"), 3));
    for (one, other) in one.frames.iter().zip(&other.frames) {
        let far = one.as_raw().iter().zip(other.as_raw()).map(|(one, other)| one.abs_diff(*other)).max();
        assert!(far <= Some(8), "{far:?}");
    }
}

#[test]
fn the_memory_that_it_began_in_changes_nothing() {
    let place = Place::new();
    let folder = place.path("killed");
    run(&mut transfer(&place, "unbroken", "12")).ok();
    kill_at(&mut transfer(&place, "killed", "12"), &folder, "sampling-0001.safetensors");
    // What ends before a step in the other memory leaves none.
    let mut low = resume(&folder);
    run(low.args(["--memory", "low"]).env("MOTIONFLOW_CACHE_LIMIT", "lots")).fails(2, &["CACHE_LIMIT"]);
    assert_eq!(memory_in(&folder.join(".unfinished/run.toml")), "low");
    let mut again = resume(&folder);
    let outcome = run(cached(&place, again.args(["--memory", "balanced"]))).ok();
    assert!(!warned(&outcome, &folder));
    same_results(&place.path("unbroken"), &folder);
    assert_eq!(entries(&place), 1);
}

#[test]
fn a_cached_inversion_is_found_again_in_another_memory() {
    let place = Place::new();
    let cache = |output: &str| {
        let mut command = place.transfer_to(output);
        cached(&place, &mut command);
        command
    };
    run(&mut cache("first")).ok();
    let folder = place.path("second");
    kill_at(cache("second").args(["--seed", "2"]), &folder, "sampling-0001.safetensors");
    let mut low = resume(&folder);
    let outcome = run(cached(&place, low.args(["--memory", "low"]))).ok();
    assert!(outcome.stderr.contains("taken from the cache"), "{}", outcome.stderr);
    assert!(warned(&outcome, &folder));
    assert_eq!(entries(&place), 1);
}

/// Elsewhere nothing is refused.
#[cfg(target_os = "linux")]
#[test]
fn what_goes_on_in_less_memory_is_estimated_so() {
    let place = Place::new();
    let record = place.path("huge/.unfinished/run.toml");
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    let request = format!(
        "[program]\ncommand = \"generate\"\nmemory = \"balanced\"\n[prompts]\nprompt = \"a panda\"\n\
         [video]\nwidth = 8192\nheight = 8192\nframes = 10000\n[model]\nname = {:?}\n",
        tiny_model()
    );
    fs::write(&record, &request).unwrap();
    let need = |flags: &[&str]| {
        let mut command = program();
        command.args(["generate", "--resume", &place.text("huge")]).args(flags);
        let told = run(&mut command).fails(2, &["this run would take about"]).stderr;
        let (_, need) = told.split_once("take about ").unwrap();
        need.split(" of memory").next().unwrap().to_owned()
    };
    assert_eq!(need(&[]), need(&["--memory", "balanced"]));
    assert_ne!(need(&[]), need(&["--memory", "low"]));
    // What was refused has changed nothing.
    assert_eq!(fs::read_to_string(&record).unwrap(), request);
}

#[test]
fn every_command_goes_on_in_another_memory() {
    let place = Place::new();
    let size = ["-W", "24", "-H", "16", "--frames", "3", "--steps", "12", "--threads", "1"];
    for (name, step) in
        [("invert", "inversion-0001"), ("inspect", "inversion-0001"), ("generate", "sampling-0001")]
    {
        let (folder, mut command) = (place.path(name), program());
        command.args([name, "--model", &tiny_model(), "--output", &place.text(name)]).args(size);
        if name == "generate" {
            command.args(["--prompt", "a panda"]);
        } else {
            command.args(["--source", &car(), "--source-prompt", "a [car]"]);
        }
        kill_at(&mut command, &folder, &format!("{step}.safetensors"));
        let low = run(program().args([name, "--resume", &text(&folder), "--memory", "low"])).ok();
        assert!(low.stderr.contains(MIXED), "{}", low.stderr);
        assert_eq!(memory_in(&folder.join("run.toml")), "low");
    }
}

#[test]
fn a_batch_goes_on_with_its_jobs_in_another_memory() {
    let place = Place::new();
    run(&mut transfer(&place, "done", "12")).ok();
    let defaults = fs::read_to_string(place.path("done/run.toml")).unwrap().replace("\n[", "\n[defaults.");
    fs::write(place.path("jobs.toml"), format!("{defaults}\n[[job]]\nname = \"a\"\n")).unwrap();
    let batch = || {
        let mut command = program();
        command.args(["batch", &place.text("jobs.toml"), "-o", &place.text("batch"), "--threads", "1"]);
        command
    };
    let folder = place.path("batch/a");
    kill_at(&mut batch(), &folder, "inversion-0002.safetensors");
    let outcome = run(batch().args(["--memory", "low"])).ok();
    assert!(outcome.stderr.contains("goes on after step") && warned(&outcome, &folder), "{}", outcome.stderr);
    assert_eq!(memory_in(&folder.join("run.toml")), "low");
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
    for other in [["--tau", "0.3"], ["--precision", "f16"], ["--device", "cpu"], ["--threads", "2"]] {
        run(resume(&place.path("nothing")).args(other).args(["--memory", "low"]))
            .fails(2, &["--resume", "leave out the other"]);
    }
    assert!(place.names(".").is_empty());
}
