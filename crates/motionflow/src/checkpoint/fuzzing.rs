//! Entry points for fuzzing what a checkpoint consists of; see [`crate::fuzzing`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind};

use super::error::CheckpointError;
use super::weights::{MAX_DIMENSIONS, MappedFile, StoredTensor, check_shard_map};
use super::{Layout, Loader, Weights, check_index, json, names, safetensors, torch_file};
use crate::fuzzing::told;
use crate::printable::is_printable;

/// Bytes of each storage beside a pickle.
const STORAGE: usize = 96;

/// `data.pkl` of a PyTorch file, with storages 0 to 3 beside it.
pub fn pickle(data: &[u8]) {
    let mut bytes = data.to_vec();
    let mut entries = BTreeMap::from([("data.pkl".to_owned(), 0..data.len())]);
    for key in 0..4 {
        let start = bytes.len();
        bytes.resize(start + STORAGE, 0);
        entries.insert(format!("data/{key}"), start..bytes.len());
    }
    let file = Arc::new(MappedFile::of_bytes(Path::new("pickle"), bytes));
    check_tensors(&file, torch_file::state_dict(&file, "", &entries));
}

/// A PyTorch file: a zip with a pickle and storages.
pub fn torch_file(data: &[u8]) {
    let file = Arc::new(MappedFile::of_bytes(Path::new("torch_file"), data.to_vec()));
    check_tensors(&file, torch_file::read(&file));
}

/// A safetensors file.
pub fn safetensors(data: &[u8]) {
    let file = Arc::new(MappedFile::of_bytes(Path::new("safetensors"), data.to_vec()));
    check_tensors(&file, safetensors::read(&file));
}

/// `model_index.json`
pub(crate) fn model_index(text: &[u8], layouts: &[&'static Layout]) {
    let path = Path::new("model_index.json");
    if let Err(error) = json::parse(path, text).and_then(|index| check_index(path, &index, layouts)) {
        told(&error);
    }
}

/// The index of sharded weights.
pub(crate) fn shard_index(text: &[u8]) {
    let path = Path::new("/folder/index.json");
    match json::parse(path, text).and_then(|index| check_shard_map(path, index)) {
        Ok(map) => {
            for file in map.values() {
                let path = Path::new("/folder").join(file);
                assert_eq!(path.parent(), Some(Path::new("/folder")), "{file}");
            }
        }
        Err(error) => told(&error),
    }
}

/// The config of a component.
pub fn config<T: serde::de::DeserializeOwned>(text: &[u8]) -> Option<T> {
    json::parse(Path::new("config.json"), text).map_err(|error| told(&error)).ok()
}

/// Every tensor lies in the file and is no larger than it, all together not much larger, and each can be had.
fn check_tensors(file: &MappedFile, read: Result<BTreeMap<String, StoredTensor>, CheckpointError>) {
    let tensors = match read {
        Ok(tensors) => tensors,
        Err(error) => return told(&error),
    };
    let size = file.bytes().len() as u64;
    let mut in_all = 0;
    for (name, tensor) in &tensors {
        assert!(is_printable(name), "{name:?}");
        assert!(tensor.shape().len() <= MAX_DIMENSIONS && tensor.size_bytes() <= size, "{tensor:?}");
        assert!(file.bytes().get(tensor.place()).is_some(), "{tensor:?}");
        in_all += tensor.size_bytes();
    }
    assert!(in_all <= 4 * size, "{in_all} bytes");
    for tensor in tensors.values().take(2) {
        let copy = tensor.to_tensor().unwrap_or_else(|error| panic!("{error}: {tensor:?}"));
        assert_eq!((copy.size(), copy.kind()), (tensor.shape().to_vec(), tensor.kind()));
    }
    for component in ["vae", "text_encoder"] {
        let mut weights = Weights::of_tensors(&file.path, tensors.clone());
        if let Err(error) = names::modernize(component, &mut weights) {
            told(&error);
            continue;
        }
        let loader = Loader::new(&weights, component, Device::Cpu, Kind::Float);
        let _ = loader.sub("conv_in").tensor("weight", &[2, 3]);
        loader.finish().unwrap_or_else(|error| told(&error));
    }
}
