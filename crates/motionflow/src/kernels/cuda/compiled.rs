//! Compiled kernels on disk, so that the next process need not compile them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::printable::hex;

/// Bytes of a checksum.
const CHECKSUM: usize = 32;

static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Keeps what is compiled from now on in this folder, which is made when needed.
pub(in crate::kernels) fn keep_in(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}

/// The file of a program in the folder, if there is one; the name follows from all that decides what is compiled.
pub(super) fn place(parts: &[&str]) -> Option<PathBuf> {
    let folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Some(folder.join(format!("{}.cubin", hex(&hash.finalize()))))
}

/// What was written there; nothing where that is damaged.
pub(super) fn read(place: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(place).ok()?;
    let (checksum, code) = bytes.split_at_checked(CHECKSUM)?;
    (Sha256::digest(code)[..] == *checksum).then(|| code.to_vec())
}

/// Writes it there, whole or not at all; without it, it is compiled again.
pub(super) fn write(place: &Path, code: &[u8]) {
    let written = || {
        let folder = place.parent()?;
        fs::create_dir_all(folder).ok()?;
        let passing = folder.join(format!(".{}-{}", std::process::id(), place.file_name()?.display()));
        let mut file = fs::File::create_new(&passing).ok()?;
        let done = file.write_all(&Sha256::digest(code)).and_then(|()| file.write_all(code)).is_ok();
        if !(done && fs::rename(&passing, place).is_ok()) {
            let _ = fs::remove_file(&passing);
        }
        Some(())
    };
    let _ = written();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        keep_in(&folder.path().join("kernels"));
        let [one, other] = [["a", "bc"], ["ab", "c"]].map(|parts| place(&parts).unwrap());
        assert_ne!(one, other);
        assert_eq!(read(&one), None);
        write(&one, b"code");
        write(&one, b"code");
        assert_eq!(read(&one).unwrap(), b"code");
        assert_eq!(fs::read_dir(one.parent().unwrap()).unwrap().count(), 1);
        let bytes = fs::read(&one).unwrap();
        for length in 0..bytes.len() {
            fs::write(&one, &bytes[..length]).unwrap();
            assert_eq!(read(&one), None, "{length} bytes");
        }
    }
}
