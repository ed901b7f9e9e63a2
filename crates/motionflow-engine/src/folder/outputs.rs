//! Writing the files of a finished run: a picture of it that cannot be made is reported and left out, so that no run is lost
//! at its last stage.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::thread;

use anyhow::{Error, Result};

use crate::error;
use crate::progress::Progress;

type Work<'a> = &'a (dyn Fn(&Path) -> Result<()> + Sync);

/// One file of a run, and how it is written to its place.
pub(crate) struct Output<'a> {
    name: &'a str,
    is_essential: bool,
    write: Work<'a>,
}

/// A file that a run is made for: without it, the run has failed.
pub(crate) fn essential<'a>(name: &'a str, write: Work<'a>) -> Output<'a> {
    Output { name, is_essential: true, write }
}

/// A file that shows what a run did.
pub(crate) fn picture<'a>(name: &'a str, write: Work<'a>) -> Output<'a> {
    Output { name, is_essential: false, write }
}

/// What could not be written: names of files, and the message about each.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct LeftOut(Vec<(String, String)>);

impl LeftOut {
    /// Writes a picture, where it can be made.
    pub(crate) fn attempt(&mut self, folder: &Path, name: &str, write: impl FnOnce(&Path) -> Result<()>) {
        if let Err(error) = guarded(|| write(&folder.join(name))) {
            self.add(folder, name, &error);
        }
    }

    fn add(&mut self, folder: &Path, name: &str, error: &Error) {
        // Its passing place tells the user nothing.
        let place = format!("{}: ", folder.join(name).display());
        self.0.push((name.to_owned(), left_out(name, error).replace(&place, "")));
    }

    /// Warns of each.
    pub(crate) fn tell(&self, progress: &mut Progress) {
        self.0.iter().for_each(|(_, warning)| progress.warn(warning));
    }

    /// Whether a file of that name is not there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(left_out, _)| left_out == name)
    }
}

/// The message about a file that is left out.
pub(crate) fn left_out(name: &str, error: &Error) -> String {
    format!("{name} is left out: {}", error::message(error))
}

/// Writes all of them into `folder` side by side. Fails where one that is essential does.
pub(crate) fn write(folder: &Path, files_to_write: &[Output]) -> Result<LeftOut> {
    let one = |output: &Output| guarded(|| (output.write)(&folder.join(output.name)));
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let one = &one;
        let running: Vec<_> = files_to_write.iter().map(|output| scope.spawn(move || one(output))).collect();
        let given = |thread: thread::ScopedJoinHandle<Result<()>>| {
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        running.into_iter().map(given).collect()
    });
    let mut missing = LeftOut::default();
    for (output, outcome) in files_to_write.iter().zip(outcomes) {
        match outcome {
            Ok(()) => {}
            Err(error) if output.is_essential => return Err(error),
            Err(error) => missing.add(folder, output.name, &error),
        }
    }
    Ok(missing)
}

/// Writing changes nothing but its file, so that a panic in it leaves nothing behind on which others rely.
fn guarded(write: impl FnOnce() -> Result<()>) -> Result<()> {
    panic::catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| Err(error::of_panic(&*panic)))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn pictures_are_left_out_and_told_and_what_is_essential_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::silent();
        let good = |path: &Path| Ok(std::fs::write(path, "good")?);
        let fails = |path: &Path| Err(anyhow!("{}: cannot be encoded: no", path.display()));
        let panics = |_: &Path| panic!("a fault");
        let files_to_write =
            [essential("a", &good), picture("b", &fails), picture("c", &panics), picture("d", &good)];
        let left_out = error::catch(|| write(folder.path(), &files_to_write)).unwrap();
        left_out.tell(&mut progress);
        assert_eq!(["a", "b", "c", "d"].map(|name| left_out.has(name)), [false, true, true, false]);
        assert_eq!(progress.warnings[0], "b is left out: cannot be encoded: no");
        assert!(progress.warnings[1].ends_with("a fault"), "{:?}", progress.warnings);
        assert!(["a", "d"].iter().all(|name| folder.path().join(name).is_file()));
        assert!(write(folder.path(), &[essential("b", &fails)]).is_err());
    }
}
