//! Starting the program, and what it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use motionflow_media::{Clip, Ffmpeg, ReadOptions, source};

use crate::error_table::assert_told_in_docs;

/// What the program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The run must have worked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        assert_told_in_docs(self.code, &self.stderr);
        self
    }

    /// The run must have ended with this code, one message that has all of `parts`, and nothing that only a programmer
    /// understands. The message must be in docs/errors.md.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        assert!(self.stdout.is_empty(), "{}", self.stdout);
        assert_eq!(self.stderr.matches("error:").count(), 1, "{}", self.stderr);
        assert_told_in_docs(code, &self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "\"{part}\" is not in:\n{}", self.stderr);
        }
        for word in ["panicked", "backtrace", "unwrap", "Exception raised from", ".cpp", "src/"] {
            assert!(!self.stderr.contains(word), "\"{word}\" is in:\n{}", self.stderr);
        }
        self
    }
}

/// The program, its surroundings set so that runs are alike everywhere.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motionflow"));
    command.env("OMP_WAIT_POLICY", "PASSIVE").env_remove("NO_COLOR").env_remove("MOTIONFLOW_MODELS");
    // Nothing is kept from one test for another.
    command.env("MOTIONFLOW_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-cache"));
    command.env("MOTIONFLOW_CACHE_LIMIT", "0");
    command
}

pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same command in an address space of so many KiB. With one malloc arena: by default glibc reserves 64 MiB of it for
/// every thread that allocates, so that what is left depends on how many threads run at once.
pub(crate) fn in_memory(command: &Command, kibibytes: u32) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -v {kibibytes} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args()).env("MALLOC_ARENA_MAX", "1");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

pub(crate) fn motionflow(arguments: &[&str]) -> Outcome {
    run(program().args(arguments))
}

/// The root of the source tree.
pub(crate) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A checkpoint of random weights; videos of even sides, 8 pixels or more.
pub(crate) fn tiny_model() -> String {
    text(&tree().join("crates/motionflow/tests/cases/tiny/model"))
}

/// Sixteen frames of 128×128, 8 a second.
pub(crate) fn car() -> String {
    text(&tree().join("assets/clips/car-arc.mp4"))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Flags that make a run on the tiny checkpoint short.
pub(crate) const SMALL: [&str; 10] =
    ["--width", "24", "--height", "16", "--frames", "3", "--steps", "3", "--threads", "1"];

/// Asserts that two run folders have the same results, byte for byte.
#[track_caller]
pub(crate) fn same_results(one: &Path, other: &Path) {
    for name in
        ["result.mp4", "result.gif", "compare.mp4", "masks.mp4", "contact-sheet.png", "loss.svg", "run.toml"]
    {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
}

/// A place for a test's files, with short ways to name what is in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// The names of all that lies in the place, or in a folder of it.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A copy of the tiny checkpoint, to be broken.
    pub(crate) fn copied_model(&self) -> PathBuf {
        let model = self.path("model");
        copy(Path::new(&tiny_model()), &model);
        model
    }

    /// A transfer of the car with these flags besides, into the folder `out`.
    pub(crate) fn transfer(&self, flags: &[&str]) -> Outcome {
        run(self.transfer_command().args(flags))
    }

    /// As [`Place::transfer`], not started yet.
    pub(crate) fn transfer_command(&self) -> Command {
        self.transfer_to("out")
    }

    /// As [`Place::transfer_command`], into a folder of this name.
    pub(crate) fn transfer_to(&self, output: &str) -> Command {
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
        command.args(["--prompt", "a [panda] in the snow", "--output", &self.text(output)]);
        command.args(SMALL).args(["--guided-steps", "2", "--model", &tiny_model()]);
        command
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// The same ffmpeg that the program finds.
pub(crate) fn ffmpeg() -> Ffmpeg {
    Ffmpeg::find(Some(&tree().join(".native/ffmpeg"))).unwrap()
}

/// Reads all of a video at its own size; it must have exactly so many frames.
#[track_caller]
pub(crate) fn read_video(path: &Path, frames: usize) -> Clip {
    let ffmpeg = ffmpeg();
    let size = source::probe(&ffmpeg, path, 8.0).unwrap();
    let more = ReadOptions::new(frames + 1, size.width, size.height);
    let shortage = source::read(&ffmpeg, path, &more).unwrap_err().to_string();
    assert!(shortage.contains("too few frames"), "{shortage}");
    source::read(&ffmpeg, path, &ReadOptions { frames, ..more }).unwrap()
}

pub(crate) fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn read_toml(path: &Path) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}
