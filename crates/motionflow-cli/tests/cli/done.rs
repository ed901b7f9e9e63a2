//! What is called done is done: its files are whole, and what it was made of is what it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use motionflow_media::picture;
use serde_json::Value;

use crate::common::{
    Outcome, Place, SMALL, car, copy, motionflow, program, read_json, read_video, run, text, tree,
};

const HINT: &str = "remove that folder, or give another name or folder";

/// A batch of short transfers on a checkpoint and sources of its own, all of them done.
struct Batch(Place);

impl Batch {
    fn new(jobs: &str) -> Self {
        let place = Place::new();
        place.copied_model();
        fs::copy(car(), place.path("s.mp4")).unwrap();
        let batch = Self(place);
        batch.write(jobs);
        batch
    }

    fn write(&self, jobs: &str) {
        let defaults = "[defaults]\nsource.path = \"s.mp4\"\nprompts.source_prompt = \"a [car] on a road\"\n\
                        prompts.prompt = \"a [panda] in the snow\"\nmodel.name = \"./model\"\n\
                        video = { width = 24, height = 16, frames = 3 }\nsettings = { steps = 2, guided_steps = 1 }\n";
        fs::write(self.0.path("jobs.toml"), format!("{defaults}{jobs}")).unwrap();
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = program();
        command.args(["batch", &self.0.text("jobs.toml"), "-o", &self.0.text("out")]).args(flags);
        command
    }

    fn run(&self, flags: &[&str]) -> Outcome {
        run(&mut self.command(flags))
    }

    /// Every job must be seen to be done, and nothing else be said.
    #[track_caller]
    fn is_done(&self) {
        let outcome = self.run(&["--threads", "1"]).ok();
        assert!(self.failed().is_empty() && !outcome.stderr.contains("warning"), "{}", outcome.stderr);
        let summary = read_json(&self.0.path("out/summary.json"));
        let is_done = |job: &Value| job["ending"] == "already_done";
        assert!(summary.as_array().unwrap().iter().all(is_done), "{summary}");
    }

    /// These jobs and no others must be refused, in these words.
    #[track_caller]
    fn refuses(&self, jobs: &[&str], flags: &[&str], words: &str) {
        let outcome = self.run(flags);
        let failed = self.failed();
        let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((outcome.code, names.as_slice()), (1, jobs), "{words}: {}", outcome.stderr);
        for (_, error) in &failed {
            assert!(error.contains(words), "\"{words}\" is not in: {error}");
        }
    }

    /// Names and messages of the jobs that failed.
    fn failed(&self) -> Vec<(String, String)> {
        let summary = read_json(&self.0.path("out/summary.json"));
        let failed = summary.as_array().unwrap().iter().filter(|job| job["ending"] == "failed");
        let told = |job: &Value| ["name", "error"].map(|key| job[key].as_str().unwrap().to_owned());
        failed.map(told).map(|[name, error]| (name, error)).collect()
    }

    /// Lets a finished run look as one that was stopped after a step.
    fn unfinish(&self, job: &str) {
        let unfinished = self.0.path("out").join(job).join(".unfinished");
        fs::create_dir(&unfinished).unwrap();
        for name in ["run.toml", "asked.toml"] {
            fs::rename(self.0.path("out").join(job).join(name), unfinished.join(name)).unwrap();
        }
        fs::write(unfinished.join("inversion-0001.safetensors"), "").unwrap();
        fs::remove_file(self.0.path("out").join(job).join("run.json")).unwrap();
    }
}

/// Changes a bit of the last byte, and leaves size and time as they are. Done twice, nothing is changed.
fn flip(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn weights(model: &Path) -> PathBuf {
    model.join("unet/diffusion_pytorch_model.safetensors")
}

/// Frames of the car as a folder of images.
fn pictures(folder: &Path, count: usize) {
    fs::create_dir(folder).unwrap();
    for (index, frame) in read_video(Path::new(&car()), 16).frames.iter().take(count).enumerate() {
        picture::write_png(&folder.join(format!("{index}.png")), frame).unwrap();
    }
}

fn invert(place: &Place, output: &str, prompt: &str) {
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", prompt, "--output", &place.text(output)]);
    run(invert.args(SMALL).args(["--model", &place.text("model")])).ok();
}

fn other_source() -> PathBuf {
    tree().join("assets/clips/dog-bounce.mp4")
}

#[cfg(unix)]
#[test]
fn a_job_whose_inputs_have_changed_is_refused() {
    let batch = Batch::new(
        "[[job]]\nname = \"a\"\n\
         [[job]]\nname = \"link\"\nsource.path = \"link.mp4\"\n\
         [[job]]\nname = \"pictures\"\nsource.path = \"pictures\"\nvideo.fps = 4\n",
    );
    let (place, source) = (&batch.0, batch.0.path("s.mp4"));
    let link = |to: &Path| {
        let _ = fs::remove_file(place.path("link.mp4"));
        std::os::unix::fs::symlink(to, place.path("link.mp4")).unwrap();
    };
    link(&source);
    pictures(&place.path("pictures"), 4);
    batch.run(&["--threads", "1"]).ok();
    batch.is_done();

    // By content, not by size, time or name.
    let words = format!("the source is not the same as when the run was recorded; {HINT}");
    flip(&source);
    batch.refuses(&["a", "link"], &[], &words);
    flip(&source);
    File::options().write(true).open(&source).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    batch.is_done();
    link(&other_source());
    batch.refuses(&["link"], &[], &words);
    fs::copy(&source, place.path("copy.mp4")).unwrap();
    link(&place.path("copy.mp4"));
    batch.is_done();
    fs::rename(&source, place.path("away.mp4")).unwrap();
    batch.refuses(&["a"], &[], "s.mp4: no such file or folder");
    fs::rename(place.path("away.mp4"), &source).unwrap();

    // Of a folder the pictures that were used count.
    let frame = |index: usize| place.path(&format!("pictures/{index}.png"));
    fs::rename(frame(3), frame(9)).unwrap();
    batch.is_done();
    fs::copy(frame(2), place.path("away.png")).unwrap();
    fs::copy(frame(0), frame(2)).unwrap();
    batch.refuses(&["pictures"], &[], &words);
    fs::rename(place.path("away.png"), frame(2)).unwrap();
    fs::copy(frame(9), place.path("pictures/0a.png")).unwrap();
    batch.refuses(&["pictures"], &[], &words);
    fs::remove_file(place.path("pictures/0a.png")).unwrap();

    let weights = weights(&place.path("model"));
    flip(&weights);
    let words = "the checkpoint is not the same as when the run was recorded";
    batch.refuses(&["a", "link", "pictures"], &[], words);
    flip(&source);
    let both =
        "the checkpoint is not the same as when the run was recorded, and the source is not the same as";
    batch.run(&[]);
    assert!(batch.failed()[0].1.contains(both), "{:?}", batch.failed());
    flip(&source);
    flip(&weights);
    batch.is_done();
}

#[test]
fn a_job_whose_inversion_has_changed_is_refused() {
    let batch = Batch::new("[[job]]\nname = \"a\"\nsource.inversion = \"inv\"\n");
    let place = &batch.0;
    let jobs = fs::read_to_string(place.path("jobs.toml")).unwrap();
    let jobs = jobs.replace("source.path = \"s.mp4\"\nprompts.source_prompt = \"a [car] on a road\"\n", "");
    fs::write(place.path("jobs.toml"), jobs.replace("steps = 2, ", "").replace("video = ", "# ")).unwrap();
    invert(place, "inv", "a [car] on a road");
    invert(place, "other", "a [dog] on a road");
    batch.run(&["--threads", "1"]).ok();
    batch.is_done();
    fs::rename(place.path("inv"), place.path("kept")).unwrap();
    fs::rename(place.path("other"), place.path("inv")).unwrap();
    batch.refuses(&["a"], &[], "the inversion is not the same as when the run was recorded");
    fs::remove_dir_all(place.path("inv")).unwrap();
    batch.refuses(&["a"], &[], "holds no inversion.toml");
    fs::rename(place.path("kept"), place.path("inv")).unwrap();
    batch.is_done();
    flip(&place.path("inv/inversion.safetensors"));
    batch.refuses(&["a"], &[], "it is damaged; invert again");
}

#[test]
fn a_job_whose_settings_have_changed_is_refused_whoever_said_them() {
    let job =
        "[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\nsettings.tau = 0.3\nprompts.negative_prompt = \"x\"\n";
    let batch = Batch::new(job);
    let recommend = |text: &str| fs::write(batch.0.path("model/motionflow.toml"), text).unwrap();
    batch.run(&["--threads", "1"]).ok();
    recommend("[settings]\ntau = 0.4\n");
    batch.is_done();
    recommend("[settings]\ntau = 0.2\n");
    batch.refuses(
        &["a"],
        &[],
        &format!(
            "out/a: holds a run of other settings (settings.tau was 0.4, is 0.2; what the checkpoint recommends in its \
             motionflow.toml has changed); {HINT}"
        ),
    );
    recommend("negative_prompt = \"blurry\"\n");
    batch.refuses(&["a"], &[], "(prompts.negative_prompt was \"\", is \"blurry\"; what the checkpoint");
    fs::remove_file(batch.0.path("model/motionflow.toml")).unwrap();

    batch.refuses(&["a", "b"], &["--precision", "bf16"], "(program.precision was \"f32\", is \"bf16\")");
    // These change the last bits at most: a batch goes on in less memory than it began in.
    let told = batch.run(&["--threads", "2", "--memory", "low", "--device", "cpu"]).ok();
    let words = "warning: what is done was computed with --threads 1, not 2, --memory balanced, not low";
    assert_eq!(told.stderr.matches(words).count(), 2, "{}", told.stderr);

    // Jobs may be renamed, removed and added.
    batch.write(&job.replace("\"a\"", "\"c\""));
    batch.run(&["--threads", "1"]).ok();
    assert_eq!(read_json(&batch.0.path("out/summary.json"))[0]["ending"], "done");
    batch.write(&job.replace("0.3", "0.5"));
    batch.refuses(&["b"], &[], "(settings.tau was 0.3, is 0.5)");
    batch.write(&job.replace("negative_prompt = \"x\"", "source_prompt = \"a [car]\""));
    batch.refuses(&["b"], &[], "(prompts.negative_prompt was \"x\", is \"\"; prompts.source_prompt was \"a [car] on a road\", is \"a [car]\")");
    // Everything anew.
    batch.run(&["--threads", "1", "--force"]).ok();
    batch.is_done();
}

#[test]
fn a_job_without_all_of_its_files_is_not_done() {
    let batch = Batch::new("[[job]]\nname = \"a\"\n");
    batch.run(&["--threads", "1"]).ok();
    let mut names = batch.0.names("out/a");
    // The pictures of the masks are there to be edited.
    names.retain(|name| name != "masks");
    assert_eq!(names.len(), 10, "{names:?}");
    let damages: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "").unwrap(),
        |path| {
            let length = fs::metadata(path).unwrap().len();
            File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
        },
        flip,
    ];
    for (index, name) in names.iter().enumerate() {
        let path = batch.0.path("out/a").join(name);
        let kept = fs::read(&path).unwrap();
        for damage in damages.iter().skip(index % 2).step_by(2) {
            // Blank space at its end.
            if name == "run.json" && index % 2 == 1 && std::ptr::fn_addr_eq(*damage, damages[3]) {
                continue;
            }
            damage(&path);
            batch.refuses(
                &["a"],
                &[],
                &format!("out/a: is damaged; remove the folder, to make it anew: {name}: "),
            );
            fs::write(&path, &kept).unwrap();
        }
    }
    batch.is_done();

    let folder = batch.0.text("out/a");
    fs::remove_file(batch.0.path("out/a/masks.mp4")).unwrap();
    let shown = motionflow(&["show", &folder]).ok();
    assert!(shown.stdout.contains("damaged        masks.mp4: is missing"), "{}", shown.stdout);
    motionflow(&["transfer", "--resume", &folder]).fails(1, &["out/a: is damaged", "masks.mp4: is missing"]);
    for name in ["run.toml", "run.json"] {
        fs::remove_file(batch.0.path("out/a").join(name)).unwrap();
        batch.refuses(&["a"], &[], "out/a: is damaged; remove the folder, to make it anew: ");
    }
    fs::remove_dir_all(batch.0.path("out/a")).unwrap();
    batch.run(&["--threads", "1"]).ok();
    batch.is_done();
    // What a run before it left there is not its business.
    fs::create_dir(batch.0.path("out/a/.unfinished")).unwrap();
    fs::write(batch.0.path("out/a/.unfinished/run.toml"), "").unwrap();
    batch.is_done();
    let shown = motionflow(&["show", &folder]).ok();
    assert!(shown.stdout.contains("unfinished     another run was begun"), "{}", shown.stdout);
}

#[test]
fn other_commands_leave_runs_that_are_seen_to_be_damaged() {
    let place = Place::new();
    place.copied_model();
    invert(&place, "inv", "a [car]");
    let mut generate = program();
    generate.args(["generate", "--prompt", "a panda", "--output", &place.text("new")]).args(SMALL);
    run(generate.args(["--model", &place.text("model")])).ok();
    let mut inspect = program();
    inspect.args([
        "inspect",
        "--source",
        &car(),
        "--source-prompt",
        "a [car]",
        "--output",
        &place.text("look"),
    ]);
    run(inspect.args(SMALL).args(["--model", &place.text("model")])).ok();
    for (command, folder, file) in [
        ("invert", "inv", "inversion.safetensors"),
        ("generate", "new", "result.gif"),
        ("inspect", "look", "overview.png"),
    ] {
        let folder = place.text(folder);
        let resume = || motionflow(&[command, "--resume", &folder]);
        assert!(resume().ok().stderr.contains("finished already"));
        flip(&Path::new(&folder).join(file));
        resume().fails(1, &["is damaged", &format!("{file}: its checksum is wrong")]);
        fs::write(Path::new(&folder).join(file), "").unwrap();
        assert!(motionflow(&["show", &folder]).ok().stdout.contains(&format!("{file}: has 0 bytes, not ")));
    }
}

#[test]
fn a_job_that_was_begun_goes_on_only_where_nothing_has_changed() {
    let batch = Batch::new("[[job]]\nname = \"a\"\n");
    let place = &batch.0;
    batch.run(&["--threads", "1"]).ok();
    batch.unfinish("a");
    flip(&place.path("s.mp4"));
    let anew = "so it cannot go on; bring the old one back, or remove that folder";
    batch.refuses(&["a"], &[], &format!("the source is not the same as when the run was recorded, {anew}"));
    flip(&place.path("s.mp4"));
    flip(&weights(&place.path("model")));
    batch.refuses(&["a"], &[], "the checkpoint is not the same as when the run was recorded, so it");
    flip(&weights(&place.path("model")));
    assert!(place.path("out/a/.unfinished").is_dir());

    // Of other settings by now: it is begun anew, which is reported.
    fs::write(place.path("model/motionflow.toml"), "[settings]\ntau = 0.2\n").unwrap();
    let outcome = batch.run(&["--threads", "1"]).ok();
    let words = "out/a: the unfinished run was of other settings (settings.tau was 0.4, is 0.2; what the";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(fs::read_to_string(place.path("out/a/run.toml")).unwrap().contains("tau = 0.2"));
    batch.unfinish("a");
    let outcome = batch.run(&["--threads", "1", "--precision", "bf16"]).ok();
    assert!(
        outcome.stderr.contains("(program.precision was \"f32\", is \"bf16\"); it is begun anew"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_run_that_goes_on_tells_what_has_changed() {
    let batch = Batch::new("[[job]]\nname = \"a\"\n");
    let place = &batch.0;
    batch.run(&["--threads", "1"]).ok();
    batch.unfinish("a");
    let recommended = "negative_prompt = \"\"\n[settings]\ntau = 0.4\n";
    fs::write(place.path("out/a/.unfinished/recommended.toml"), recommended).unwrap();
    let folder = place.text("out/a");
    let resume = || motionflow(&["transfer", "--resume", &folder]);
    flip(&weights(&place.path("model")));
    resume().fails(2, &["the checkpoint is not the same as when the run was recorded, so it cannot go on"]);
    flip(&weights(&place.path("model")));
    fs::rename(place.path("s.mp4"), place.path("kept.mp4")).unwrap();
    fs::copy(other_source(), place.path("s.mp4")).unwrap();
    resume().fails(2, &["the source is not the same as when the run was recorded, so it cannot go on"]);
    fs::rename(place.path("kept.mp4"), place.path("s.mp4")).unwrap();
    fs::write(place.path("model/motionflow.toml"), "negative_prompt = \"blurry\"\n").unwrap();
    let outcome = resume().ok();
    let words = "warning: the recommendation of the checkpoint is not the same as when the run was recorded \
                 (negative_prompt was \"\", is \"blurry\"; ";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the run goes on as it began"), "{}", outcome.stderr);
    assert!(fs::read_to_string(place.path("out/a/run.toml")).unwrap().contains("negative_prompt = \"\""));
}

#[test]
fn a_job_is_named_when_nothing_else_is_said() {
    let batch = Batch::new("[[job]]\nname = \"the panda\"\nsource.path = \"nowhere.mp4\"\n");
    let quiet = batch.run(&["-q"]);
    assert!(quiet.stderr.starts_with("error: job the panda: --source: "), "{}", quiet.stderr);
    let json = batch.run(&["--json"]);
    assert!(json.stdout.contains("\"message\":\"job the panda: --source: "), "{}", json.stdout);
    assert!(batch.failed()[0].1.starts_with("--source: "), "the table has the name already");
}

#[test]
fn names_of_jobs_do_for_folders_everywhere() {
    let batch = Batch::new("");
    let refused = |names: &[&str], words: &str| {
        let jobs: Vec<String> = names.iter().map(|name| format!("[[job]]\nname = '{name}'\n")).collect();
        batch.write(&jobs.concat());
        batch.run(&[]).fails(2, &[words]);
        assert!(!batch.0.path("out").exists());
    };
    for (one, other) in
        [("A", "a"), ("\u{e9}", "e\u{301}"), ("\u{c9}t", "e\u{301}T"), ("stra\u{df}e", "STRASSE")]
    {
        refused(&[one, other], &format!("two jobs are named \"{other}\", or nearly so"));
    }
    let long = "a".repeat(256);
    for name in [
        "con",
        "Nul.mp4",
        "COM1",
        "a.",
        "a ",
        " a",
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "/a",
        "Summary.JSON",
        &long,
    ] {
        refused(&[name], "its name must do for a folder");
    }
    // As in sweeps.
    fs::write(batch.0.path("one.toml"), "prompts.prompt = \"x\"").unwrap();
    let set = "prompt=[\"a [caf\u{e9}]\", \"a [cafe\u{301}]\"]";
    motionflow(&["sweep", &batch.0.text("one.toml"), "--set", set, "-o", &batch.0.text("out")])
        .fails(2, &["is there twice, or nearly so"]);
}

#[test]
fn two_processes_share_a_batch() {
    let batch = Batch::new(
        &["a", "b", "c", "d"]
            .map(|name| format!("[[job]]\nname = \"{name}\"\nsettings.steps = 12\n"))
            .concat(),
    );
    let start =
        || batch.command(&["--threads", "1"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let running = [start(), start()];
    let told = running.map(|running| running.wait_with_output().unwrap()).map(|output| {
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !told.contains("error"), "{told}");
        told
    });
    let made: usize = told.iter().map(|told| told.matches("generate: 12 steps").count()).sum();
    assert_eq!(made, 4, "none is made twice: {told:?}");
    batch.is_done();

    // One that is held by another process is waited for.
    let lock = batch.0.path("out/a/.unfinished/lock");
    fs::create_dir(lock.parent().unwrap()).unwrap();
    let held = File::create(&lock).unwrap();
    held.lock().unwrap();
    let mut waiting =
        batch.command(&["--threads", "1"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(waiting.try_wait().unwrap().is_none());
    drop(held);
    let output = waiting.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(told.matches("a: another process is at work on it").count(), 1, "{told}");
}

fn suite(place: &Place) -> String {
    let clip = text(&tree().join("assets/clips/dog-bounce.mp4"));
    let suite = format!(
        "[measure]\nclip = \"./judge\"\n[defaults]\nmodel.name = \"./model\"\n\
         video = {{ width = 24, height = 16, frames = 3 }}\nsettings = {{ steps = 2, guided_steps = 1 }}\n\
         [[clip]]\nname = \"dog\"\nsource = \"{clip}\"\nsource_prompt = \"a [dog] on the grass\"\n\
         prompts = [\"a [panda] in a forest\"]\n\
         [[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\nsettings.tau = 0.2\n"
    );
    fs::write(place.path("suite.toml"), suite).unwrap();
    place.text("suite.toml")
}

#[test]
fn a_cell_of_a_suite_is_done_as_a_job_is() {
    let place = Place::new();
    place.copied_model();
    copy(&tree().join("models/demo-clip"), &place.path("judge"));
    let suite = suite(&place);
    let eval = || {
        let mut command = program();
        command
            .args(["eval", "--suite", &suite, "-o", "report", "--threads", "1"])
            .current_dir(place.path("."));
        run(&mut command)
    };
    eval().ok();
    let is_done = || {
        let outcome = eval().ok();
        assert!(outcome.stderr.contains("2 of 2 transfers are done"), "{}", outcome.stderr);
    };
    is_done();
    let endings = || {
        let results = read_json(&place.path("report/results.json"));
        results["cells"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cell| cell["ending"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    // What the checkpoint recommends, where the variant does not say it.
    fs::write(place.path("model/motionflow.toml"), "[settings]\ntau = 0.3\n").unwrap();
    let outcome = eval();
    assert_eq!(
        (outcome.code, endings()),
        (1, vec!["failed".to_owned(), "done".to_owned()]),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stderr
            .contains("--one: holds a run of other settings (settings.tau was 0.4, is 0.3; what the")
    );
    fs::remove_file(place.path("model/motionflow.toml")).unwrap();

    let weights = weights(&place.path("model"));
    flip(&weights);
    let outcome = eval();
    assert_eq!((outcome.code, endings()), (1, vec!["failed".to_owned(); 2]));
    assert!(outcome.stderr.contains("the checkpoint is not the same as when the run was recorded"));
    flip(&weights);

    let result = place.path("report/cells/dog--a-panda-in-a-forest--two/result.mp4");
    let kept = fs::read(&result).unwrap();
    fs::remove_file(&result).unwrap();
    let outcome = eval();
    assert_eq!((outcome.code, endings()), (1, vec!["done".to_owned(), "failed".to_owned()]));
    assert!(
        outcome
            .stderr
            .contains("--two: is damaged; remove the folder, to make it anew: result.mp4: is missing")
    );
    fs::write(&result, kept).unwrap();
    is_done();

    // Another judge under the same name measures again, and nothing is transferred.
    let config = place.path("judge/preprocessor_config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n")).unwrap();
    let outcome = eval().ok();
    assert!(outcome.stderr.contains("0 of 2 transfers are done"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("done before").count(), 2, "{}", outcome.stderr);
    is_done();
}

#[test]
fn a_cell_of_a_sweep_is_done_as_a_job_is() {
    let batch = Batch::new("");
    let place = &batch.0;
    let jobs = fs::read_to_string(place.path("jobs.toml")).unwrap();
    fs::write(place.path("one.toml"), jobs.replace("[defaults]\n", "")).unwrap();
    let sweep = |flags: &[&str]| {
        let mut command = program();
        command.args(["sweep", &place.text("one.toml"), "--set", "tau=0.2,0.6", "-o", &place.text("out")]);
        run(command.args(flags))
    };
    sweep(&["--threads", "1"]).ok();
    assert!(sweep(&["--threads", "1"]).ok().stderr.contains("2 of 2 transfers are done"));
    let told = sweep(&["--threads", "2"]).ok().stderr;
    assert_eq!(
        told.matches("warning: what is done was computed with --threads 1, not 2").count(),
        1,
        "{told}"
    );
    for (flags, words) in [
        (&["--precision", "bf16"][..], "(program.precision was \"f32\", is \"bf16\")"),
        (&["-q", "--precision", "f16"], "error: job tau-0.2: "),
    ] {
        let outcome = sweep(flags);
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains(words) && outcome.stderr.contains("2 of 2 jobs failed"),
            "{}",
            outcome.stderr
        );
    }
    flip(&place.path("s.mp4"));
    let outcome = sweep(&[]);
    assert_eq!(
        outcome.stderr.matches("the source is not the same as when the run was recorded").count(),
        2,
        "{}",
        outcome.stderr
    );
}
