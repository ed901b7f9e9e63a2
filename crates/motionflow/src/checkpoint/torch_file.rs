//! Weights as `torch.save` writes them since PyTorch 1.6: a zip with a pickle that describes the tensors
//! (`NAME/data.pkl`) and one uncompressed entry for each storage (`NAME/data/KEY`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::error::CheckpointError;
use super::pickle::{self, PickleError, PickledTensor};
use super::weights::{MappedFile, StoredTensor};
use super::zip;

/// How often the bytes of a file may be used on average: tensors may share elements, as tied weights do, but a small
/// file must not stand for much memory.
const MAX_SHARING: u64 = 4;

/// Names, types, shapes and places of all tensors; every one lies inside the file.
pub(super) fn read(file: &Arc<MappedFile>) -> Result<BTreeMap<String, StoredTensor>, CheckpointError> {
    let entries = zip::entries(file.bytes())
        .map_err(|(what, expected, found)| file.malformed(what, expected, found))?;
    let pickles: Vec<_> = entries.keys().filter_map(|name| name.strip_suffix("data.pkl")).collect();
    let [folder] = pickles[..] else {
        let found = format!("{} of {} entries", pickles.len(), entries.len());
        return Err(file.malformed("the zip", "one entry `data.pkl`, as torch.save writes it", found));
    };
    if let Some(order) = entries.get(&format!("{folder}byteorder")) {
        let order = &file.bytes()[order.clone()];
        if order != b"little" {
            let found = String::from_utf8_lossy(&order[..order.len().min(16)]);
            return Err(file.malformed("the order of bytes", "little", found));
        }
    }
    state_dict(file, folder, &entries)
}

/// The tensors of the pickle `data.pkl` in a zip with those `entries`.
pub(super) fn state_dict(
    file: &Arc<MappedFile>,
    folder: &str,
    entries: &BTreeMap<String, Range<usize>>,
) -> Result<BTreeMap<String, StoredTensor>, CheckpointError> {
    let pickle = &file.bytes()[entries[&format!("{folder}data.pkl")].clone()];
    let state_dict = pickle::read_state_dict(pickle).map_err(|error| match error {
        PickleError::Forbidden(callable) => {
            CheckpointError::ForbiddenCallable { path: file.path.clone(), callable }
        }
        PickleError::Bad { at, expected, found } => {
            file.malformed(format!("{folder}data.pkl, byte {at}"), expected, found)
        }
    })?;
    let mut tensors = BTreeMap::new();
    for (name, pickled) in state_dict {
        let entry = format!("{folder}data/{}", pickled.storage.key);
        let Some(storage) = entries.get(&entry) else {
            return Err(file.malformed(format!("tensor `{name}`"), format!("zip entry `{entry}`"), "none"));
        };
        if tensors.insert(name.to_owned(), place(file, name, &pickled, storage.clone())?).is_some() {
            return Err(file.malformed(format!("tensor `{name}`"), "one of that name", "two"));
        }
    }
    let in_all = tensors.values().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.size_bytes()));
    let most = MAX_SHARING.saturating_mul(file.bytes().len() as u64);
    if in_all > most {
        let expected = format!("at most {most} bytes, {MAX_SHARING} times the file");
        return Err(file.malformed("tensors that share elements", expected, format!("{in_all} bytes")));
    }
    Ok(tensors)
}

/// The tensor `pickled` in the bytes of its storage.
fn place(
    file: &Arc<MappedFile>,
    name: &str,
    pickled: &PickledTensor<'_>,
    storage: Range<usize>,
) -> Result<StoredTensor, CheckpointError> {
    let space = storage.len() as u64;
    if pickled.storage.bytes > space {
        let expected = format!("{} bytes", pickled.storage.bytes);
        return Err(file.malformed(
            format!("storage of tensor `{name}`"),
            expected,
            format!("{space} bytes"),
        ));
    }
    let size = pickled.kind.elt_size_in_bytes();
    let skip = usize::try_from(pickled.offset).ok().and_then(|offset| offset.checked_mul(size));
    let Some(skip) = skip.filter(|&skip| skip <= storage.len()) else {
        let found = format!("element {}", pickled.offset);
        return Err(file.malformed(format!("start of tensor `{name}`"), "a place in its storage", found));
    };
    let within = storage.start + skip..storage.end;
    let (shape, strides) = (pickled.shape.clone(), pickled.strides.clone());
    StoredTensor::new(file, name, pickled.kind, shape, Some(strides), within)
}
