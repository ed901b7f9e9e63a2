//! What a run reads: its results replace and remove none of it, by whatever name it is reached.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::Misuse;
use crate::folder::inversion_file::SavedInversion;
use crate::folder::run_folder::is_of_a_run;
use crate::folder::unfinished;
use crate::request::tables::Request;

/// The files and folders that a run reads.
#[derive(Debug, Default)]
pub(crate) struct Inputs(Vec<Input>);

#[derive(Debug)]
struct Input {
    /// In words.
    what: &'static str,
    path: PathBuf,
}

impl Inputs {
    /// What a request names, and the source that its inversion was made of.
    pub(crate) fn of(request: &Request) -> Self {
        let inversion = request.source.inversion.as_deref();
        let inverted = inversion.and_then(|folder| SavedInversion::open(folder).ok());
        let inverted = inverted.map(|saved| PathBuf::from(saved.record.source.path));
        let of_motion = request.motion.paths().into_iter();
        of_motion
            .fold(Self::default(), |inputs, (what, path)| inputs.and(what, Some(path)))
            .and("the source", request.source.path.as_deref())
            .and("the source", inverted.as_deref())
            .and("the inversion", inversion)
            .and(
                "the checkpoint",
                request.model.chosen.name.as_deref().map(Path::new).filter(|path| path.is_dir()),
            )
            .and(
                "the motion adapter",
                request.model.chosen.motion_adapter.as_deref().map(Path::new).filter(|path| path.is_dir()),
            )
    }

    /// And this one, where there is one.
    pub(crate) fn and(mut self, what: &'static str, path: Option<&Path>) -> Self {
        let new = path.filter(|path| self.0.iter().all(|input| input.path != *path));
        self.0.extend(new.map(|path| Input { what, path: path.to_owned() }));
        self
    }

    /// Refuses a run folder in which a result would take the place of an input.
    pub(crate) fn spared_by_run_in(&self, folder: &Path) -> Result<()> {
        let unfinished = folder.join(unfinished::FOLDER);
        // A new run drops what another one left. The innermost folder first: it names the file.
        self.spared_in(&unfinished.join(unfinished::FILES), |_| true)?;
        self.spared_in(&unfinished, |_| true)?;
        self.spared_in(folder, is_of_a_run)
    }

    /// Refuses a folder in which one of the files whose names `is_replaced` knows would take the place of an input, or lie
    /// among the images that are one.
    pub(crate) fn spared_in(&self, folder: &Path, is_replaced: impl Fn(&str) -> bool) -> Result<()> {
        let entries = || fs::read_dir(folder).into_iter().flatten().flatten();
        let replaced: Vec<(Identity, PathBuf)> = entries()
            .filter(|entry| is_replaced(&entry.file_name().to_string_lossy()))
            .filter_map(|entry| Some((identity(&entry.path())?, entry.path())))
            .collect();
        let own = identity(folder);
        for Input { what, path } in &self.0 {
            let files = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
            // A folder that is replaced takes all with it that is in it.
            let above = path
                .canonicalize()
                .into_iter()
                .flat_map(|path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>());
            let read = files.chain([path.clone()]).chain(above).filter(|_| !replaced.is_empty());
            for input in read.filter_map(|path| identity(&path)) {
                if let Some((_, place)) = replaced.iter().find(|(replaced, _)| *replaced == input) {
                    let message = format!(
                        "{}: is {what} of this run, and its results would replace it; give another folder (--output)",
                        place.display()
                    );
                    return Err(Misuse(message).into());
                }
            }
            if path.is_dir() && own.is_some() && identity(path) == own {
                let message = format!(
                    "{}: is {what} of this run, and its results would lie in it; give another folder (--output)",
                    path.display()
                );
                return Err(Misuse(message).into());
            }
        }
        Ok(())
    }
}

/// What two names of one file or folder have in common.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_owned();
        let path = move |name: &str| root.join(name);
        fs::create_dir_all(path("out/.unfinished/files")).unwrap();
        for name in [
            "out/result.mp4",
            "out/clip.mp4",
            "out/inversion.toml",
            "out/.unfinished/files/result.mp4",
            "a.mp4",
        ] {
            fs::write(path(name), name).unwrap();
        }
        (place, path)
    }

    #[test]
    fn an_input_is_known_by_every_name() {
        let (_place, path) = place();
        let refused = |input: &Path| {
            Inputs::default().and("the source", Some(input)).spared_by_run_in(&path("out")).is_err()
        };
        assert!(refused(&path("out/result.mp4")) && refused(&path("out/../out/./result.mp4")));
        assert!(refused(&path("out")) && refused(&path("out/.unfinished/files/result.mp4")));
        assert!(!refused(&path("out/clip.mp4")) && !refused(&path("a.mp4")) && !refused(&path("none")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(path("out/result.mp4"), path("link.mp4")).unwrap();
            fs::hard_link(path("out/result.mp4"), path("hard.mp4")).unwrap();
            std::os::unix::fs::symlink(path("out"), path("alias")).unwrap();
            assert!(refused(&path("link.mp4")) && refused(&path("hard.mp4")));
            assert!(refused(&path("alias/result.mp4")) && refused(&path("alias")));
        }
    }
}
