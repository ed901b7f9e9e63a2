//! The identities of checkpoints that were hashed before. Gigabytes are read for one, so they are kept in the user's cache
//! folder: `motionflow/identities/KEY`, where the key follows from what the system says of every file.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use motionflow::checkpoint::{Checkpoint, CheckpointError};
use motionflow_media::atomic;
use sha2::{Digest, Sha256};

use crate::hashes::{Stamp, stamp};
use crate::home;
use crate::source::hex;

/// What was changed a moment ago may change again without another time.
const SETTLED: Duration = Duration::from_secs(2);

/// The identity of a checkpoint; its files are read only where one has changed since they were read last.
///
/// # Errors
/// As [`Checkpoint::identity`].
pub(super) fn identity_of(checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
    let folder = home::cache().map(|cache| cache.join("motionflow").join("identities"));
    known_or_read(checkpoint, folder.as_deref())
}

fn known_or_read(checkpoint: &Checkpoint, kept_in: Option<&Path>) -> Result<String, CheckpointError> {
    let place = || kept_in.zip(key(checkpoint)).map(|(folder, key)| folder.join(key));
    let before = place();
    let is_identity = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let known = before.as_ref().and_then(|place| std::fs::read_to_string(place).ok()).filter(is_identity);
    if let Some(known) = known {
        return Ok(known);
    }
    let identity = checkpoint.identity()?;
    if let Some(place) = before.filter(|before| Some(before) == place().as_ref()) {
        let _ = place.parent().map(std::fs::create_dir_all);
        // Without it the files are read again.
        let _ = atomic::write_atomically(&place, identity.as_bytes());
    }
    Ok(identity)
}

/// None where the system does not tell enough.
fn key(checkpoint: &Checkpoint) -> Option<String> {
    let mut hash = Sha256::new();
    for file in checkpoint.files() {
        let path = place(&file.path)?;
        let metadata = std::fs::metadata(&path).ok()?;
        let changed = changed(&metadata)?;
        if SystemTime::now().duration_since(changed).ok()? < SETTLED {
            return None;
        }
        let stamp: Stamp = stamp(&metadata);
        hash.update(format!("{}\0{stamp:?}\0", path.display()));
    }
    Some(hex(&hash.finalize()))
}

/// The path of a file behind its folder's own one: the file itself may be a link to another name.
fn place(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// When the system last saw a change of a file, of its content or of what is known of it.
#[cfg(unix)]
fn changed(metadata: &std::fs::Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).ok()?))
}

#[cfg(not(unix))]
fn changed(_metadata: &std::fs::Metadata) -> Option<SystemTime> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::thread::sleep;

    use motionflow::registry;

    use super::*;

    #[test]
    fn what_has_not_changed_is_not_read_again() {
        let place = tempfile::tempdir().unwrap();
        let (model, kept) = (place.path().join("model"), place.path().join("kept"));
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../motionflow/tests/cases/tiny/model");
        for folder in ["", "unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
            fs::create_dir_all(model.join(folder)).unwrap();
            for entry in fs::read_dir(case.join(folder)).unwrap().map(Result::unwrap) {
                if entry.path().is_file() {
                    fs::copy(entry.path(), model.join(folder).join(entry.file_name())).unwrap();
                }
            }
        }
        let identity = || known_or_read(&registry::open(&model).unwrap(), Some(&kept)).unwrap();
        let first = identity();
        assert!(!kept.exists(), "files that were just made are not relied on");
        sleep(SETTLED);
        assert_eq!(identity(), first);
        let entries: Vec<PathBuf> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1);
        let other = "0".repeat(64);
        fs::write(&entries[0], &other).unwrap();
        assert_eq!(identity(), other, "the files are not read");
        fs::write(&entries[0], "damaged").unwrap();
        assert_eq!(identity(), first);
        let config = model.join("model_index.json");
        fs::write(&config, fs::read_to_string(&config).unwrap() + "\n").unwrap();
        assert_ne!(identity(), first);
    }
}
