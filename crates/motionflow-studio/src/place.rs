//! Where the studio's files lie, and the references by which requests name them. No reference leaves these folders.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use motionflow_engine::error::Busy;
use motionflow_engine::models::lookup::beside_program;

use crate::problem::Problem;

/// The studio's own folder in the runs folder.
const STUDIO: &str = ".studio";
/// Where the shipped clips are, beside the program.
const CLIPS: &str = "assets/clips";
/// The endings of clips.
const VIDEOS: [&str; 6] = ["mp4", "mov", "mkv", "webm", "gif", "webp"];

/// The folders.
#[derive(Debug)]
pub(crate) struct Place {
    /// While it is held, no other studio opens the folder.
    _lock: File,
    runs: PathBuf,
    clips: Option<PathBuf>,
}

/// A name for a file that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A shipped clip.
    Clip(String),
    /// What was uploaded, by its id.
    Upload(String),
    /// A run folder, or a file or folder of one.
    Run(String),
}

impl Place {
    /// Makes the folders.
    pub(crate) fn open(runs: &Path) -> Result<Self> {
        let cannot = || format!("{}: cannot be made; give another folder (--runs)", runs.display());
        fs::create_dir_all(runs).with_context(cannot)?;
        let runs = runs.canonicalize().with_context(cannot)?;
        let clips = beside_program(CLIPS).and_then(|clips| clips.canonicalize().ok());
        let given = runs.clone();
        let cannot = || format!("{}: cannot be made; give another folder (--runs)", given.display());
        let own = runs.join(STUDIO);
        fs::create_dir_all(&own).with_context(cannot)?;
        let lock = File::create(own.join("lock")).with_context(cannot)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let message = format!(
                "{}: another studio is open on it; end that one, or give another folder (--runs)",
                runs.display()
            );
            return Err(Busy(message).into());
        }
        let place = Self { _lock: lock, runs: runs.clone(), clips };
        for folder in [
            place.incoming(),
            place.uploads(),
            place.own("presets"),
            place.own("comparisons"),
            place.own("figures"),
        ] {
            fs::create_dir_all(&folder).with_context(cannot)?;
        }
        // What an upload that was broken off has left.
        for left in fs::read_dir(place.incoming()).into_iter().flatten().flatten() {
            let _ = fs::remove_file(left.path()).or_else(|_| fs::remove_dir_all(left.path()));
        }
        Ok(place)
    }

    pub(crate) fn runs(&self) -> &Path {
        &self.runs
    }

    /// Uploads on their way.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.own("incoming")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.own("uploads")
    }

    /// A file or folder of the studio itself.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.runs.join(STUDIO).join(name)
    }

    /// The shipped clips, by name.
    pub(crate) fn shipped(&self) -> Vec<(String, PathBuf)> {
        let entries = self.clips.iter().filter_map(|clips| fs::read_dir(clips).ok()).flatten().flatten();
        let mut clips: Vec<(String, PathBuf)> = entries
            .map(|entry| entry.path())
            .filter(|path| is_video(path))
            .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
            .collect();
        clips.sort();
        clips
    }

    /// What the shipped clips show, as the page beside them says it: `| `NAME.mp4` | `PROMPT` |`.
    pub(crate) fn shipped_prompts(&self) -> BTreeMap<String, String> {
        let page = self.clips.iter().find_map(|clips| fs::read_to_string(clips.join("README.md")).ok());
        let cells = |line: &str| -> Option<(String, String)> {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`')).skip(1);
            let name = cells.next()?.strip_suffix(".mp4")?;
            Some((name.to_owned(), cells.next()?.to_owned()))
        };
        page.iter().flat_map(|page| page.lines()).filter_map(cells).collect()
    }

    /// The file or folder that a reference names.
    pub(crate) fn path_of(&self, text: &str) -> Result<PathBuf, Problem> {
        let nothing = || Problem::not_found(format!("there is no \"{text}\""));
        match Reference::read(text).ok_or_else(nothing)? {
            Reference::Clip(name) => {
                let found = self.shipped().into_iter().find(|(known, _)| *known == name);
                found.map(|(_, path)| path).ok_or_else(nothing)
            }
            Reference::Upload(id) => {
                let folder = self.uploads().join(&id);
                crate::uploads::content_of(&folder).ok_or_else(nothing)
            }
            Reference::Run(name) => inside(&self.runs, &name).ok_or_else(nothing),
        }
    }

    /// A folder in the runs folder that is there.
    pub(crate) fn run(&self, name: &str) -> Result<PathBuf, Problem> {
        let found = inside(&self.runs, name).filter(|path| path.is_dir());
        found.ok_or_else(|| Problem::not_found(format!("there is no run \"{name}\"")))
    }

    /// The reference of a file that the server has; none of any other.
    pub(crate) fn reference_of(&self, path: &Path) -> Option<String> {
        let path = path.canonicalize().ok()?;
        if let Some((name, _)) = self.shipped().into_iter().find(|(_, known)| *known == path) {
            return Some(format!("clip:{name}"));
        }
        if let Ok(rest) = path.strip_prefix(self.uploads()) {
            let id = rest.components().next()?.as_os_str().to_str()?;
            return Some(format!("upload:{id}"));
        }
        let rest = path.strip_prefix(&self.runs).ok()?;
        is_plain(rest).then(|| rest.to_str().map(|rest| format!("run:{rest}"))).flatten()
    }
}

impl Reference {
    /// Reads `clip:NAME`, `upload:ID`, `run:NAME` or `run:NAME/FILE`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let is_name = !name.is_empty() && is_plain(Path::new(name)) && !name.contains(['\\', '\0']);
        match kind {
            _ if !is_name => None,
            "clip" if !name.contains('/') => Some(Self::Clip(name.to_owned())),
            "upload" if !name.contains('/') => Some(Self::Upload(name.to_owned())),
            "run" => Some(Self::Run(name.to_owned())),
            _ => None,
        }
    }
}

/// Whether a path goes down by names that are not hidden.
fn is_plain(path: &Path) -> bool {
    let is_name = |part: Component| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    path.components().next().is_some() && path.components().all(is_name)
}

/// A file or folder below a folder, if it is there and no link leads out of it, or to what is hidden in it.
pub(crate) fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    if !is_plain(Path::new(name)) || name.contains(['\\', '\0']) {
        return None;
    }
    let path = folder.join(name).canonicalize().ok()?;
    is_plain(path.strip_prefix(folder).ok()?).then_some(path)
}

pub(crate) fn is_video(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| VIDEOS.iter().any(|video| ending.eq_ignore_ascii_case(video)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        let place = Place::open(&folder.path().join("runs")).unwrap();
        fs::create_dir_all(place.runs().join("panda/masks")).unwrap();
        std::os::unix::fs::symlink(folder.path(), place.runs().join("out")).unwrap();
        std::os::unix::fs::symlink(".studio", place.runs().join("own")).unwrap();
        assert!(place.path_of("run:panda").is_ok() && place.path_of("run:panda/masks").is_ok());
        for text in [
            "run:../secret",
            "run:/etc/passwd",
            "run:out/secret",
            "run:own/uploads",
            "run:.studio",
            "run:panda/../../secret",
            "run:",
            "run:.",
            "upload:..",
            "upload:a/b",
            "clip:../x",
            "file:/etc/passwd",
            "/etc/passwd",
            "run:panda\\..",
            "run:panda/\0",
        ] {
            assert!(place.path_of(text).is_err(), "{text}");
        }
    }
}
