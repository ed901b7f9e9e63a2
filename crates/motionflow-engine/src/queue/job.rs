//! A job of a queue, as it is kept there.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::queue::Needs;
use crate::source::hex;

/// The longest id.
const LONGEST: usize = 80;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Its result is there.
    Finished,
    /// It ended with an error.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// Its workers ended without a word too often: it is not given to another one.
    Dead,
}

impl State {
    /// To read.
    pub fn words(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A file that the queue keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its path in the folder that it belongs to, with `/`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
    /// Where the queue has it.
    pub object: String,
}

/// What a run reads, besides its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Where it was on the machine that submitted the job; the record of the run tells this path.
    pub path: PathBuf,
    /// The file; of a folder, a list of its files.
    pub file: FileRef,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// The transfer that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// A settings file (TOML); its paths are those of `inputs`.
    pub request: String,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What a batch or an experiment asks for, word for word, which stays with the results.
    pub requested: Option<String>,
    /// Whether it leaves the most important files alone.
    pub quick: bool,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Letters, digits, `-` and `_`.
    pub id: String,
    /// Of its run folder.
    pub name: String,
    /// What is to be done.
    pub task: Task,
    /// What a worker must have for it.
    pub needs: Needs,
    /// How far it is.
    pub state: State,
    /// Seconds since 1970.
    pub created: f64,
    /// When it was taken first.
    pub started: Option<f64>,
    /// When it was over.
    pub finished: Option<f64>,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// The lease of that worker.
    pub lease: Option<String>,
    /// Which delivery the lease is on.
    pub delivery: u64,
    /// How often it was taken.
    pub takes: u32,
    /// How many workers in a row ended without a word, and without having kept a step.
    pub deaths: u32,
    /// Whether it is to be stopped.
    pub cancel: bool,
    /// From what another worker can go on.
    pub kept: Vec<FileRef>,
    /// What came out.
    pub result: Vec<FileRef>,
    /// Why it failed or was given up.
    pub error: Option<String>,
}

impl Job {
    /// A job that waits.
    pub fn new(id: String, name: String, task: Task, needs: Needs, now: f64) -> Self {
        Self {
            id,
            name,
            task,
            needs,
            state: State::Queued,
            created: now,
            started: None,
            finished: None,
            worker: None,
            lease: None,
            delivery: 0,
            takes: 0,
            deaths: 0,
            cancel: false,
            kept: Vec::new(),
            result: Vec::new(),
            error: None,
        }
    }

    /// The same for jobs that do the same: a hash (hex) of the task with the contents of its inputs, and of the checkpoint.
    pub fn identity(&self) -> String {
        let text = serde_json::to_vec(&(&self.task, &self.needs)).unwrap_or_default();
        hex(&Sha256::digest(text))
    }
}

/// The id of a job of this name: the name itself where it is plain, else a plain one that is different for another name.
pub fn id_of(name: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
    if !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let plain: String =
        name.chars().map(|sign| if is_plain(sign) { sign } else { '-' }).take(LONGEST - 9).collect();
    format!("{plain}-{}", &hex(&Sha256::digest(name))[..8])
}

/// Whether a text may be an id.
pub fn is_id(text: &str) -> bool {
    id_of(text) == text
}

impl FileRef {
    /// Whether it leads nowhere but where it belongs: what a queue says is not trusted with other places.
    pub fn is_inside(&self) -> bool {
        let mut parts = Path::new(&self.name).components();
        let is_named = !self.name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)));
        let is_hash = self.sha256.len() == 64 && self.sha256.bytes().all(|sign| sign.is_ascii_hexdigit());
        is_named && is_hash && !self.object.contains(['/', '\\'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_differ() {
        assert_eq!(id_of("panda_2-a"), "panda_2-a");
        let (dot, space) = (id_of("tau 0.4"), id_of("tau-0.4"));
        assert!(dot != space && is_id(&dot) && is_id(&space), "{dot} {space}");
        let long = id_of(&"ü".repeat(300));
        assert!(is_id(&long) && !is_id("") && !is_id("a.b") && is_id(&id_of("")), "{long}");
    }

    #[test]
    fn jobs_that_do_the_same_have_one_identity() {
        let job = |source: &str, checkpoint: &str| {
            let (name, object) = ("a.mp4".to_owned(), format!("input.{source}"));
            let file = FileRef { name, bytes: 1, sha256: source.to_owned(), object };
            let inputs = vec![Input { path: "/a.mp4".into(), file, is_folder: false }];
            let task = Task { request: String::new(), inputs, requested: None, quick: false };
            let (model, sha256) = ("tiny".to_owned(), Some(checkpoint.to_owned()));
            let needs = Needs { model, motion_adapter: None, sha256, size: String::new() };
            Job::new("a".to_owned(), "a".to_owned(), task, needs, 0.0)
        };
        let known = job("1", "1").identity();
        assert_eq!(Job { created: 9.0, ..job("1", "1") }.identity(), known);
        assert!(job("2", "1").identity() != known && job("1", "2").identity() != known);
    }

    #[test]
    fn a_file_stays_in_its_folder() {
        let file = |name: &str, sha256: &str, object: &str| {
            let (name, sha256, object) = (name.to_owned(), sha256.to_owned(), object.to_owned());
            FileRef { name, bytes: 0, sha256, object }.is_inside()
        };
        let hash = "0f".repeat(32);
        let inside = |name: &str| file(name, &hash, "input.0f");
        assert!(!file("a", "../a", "input.0f") && !file("a", &hash, "../../etc/passwd"));
        assert!(
            inside("masks/a.png") && !inside("../a") && !inside("/a") && !inside("") && !inside("a/../b")
        );
    }
}
