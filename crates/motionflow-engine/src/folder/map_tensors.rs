//! Attention maps in a tensor file: `map/TIMESTEP/SUBJECT/LAYER` [frames, places], float32.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use motionflow::checkpoint::Weights;
use motionflow::masks::{LayerMaps, SubjectMaps};
use motionflow_media::atomic;
use tch::{Device, Kind, Tensor};

/// The maps of one timestep by name.
pub(crate) fn map_tensors(timestep: i64, subjects: &[LayerMaps]) -> impl Iterator<Item = (String, Tensor)> {
    subjects.iter().enumerate().flat_map(move |(subject, layers)| {
        layers.iter().map(move |(layer, map)| (format!("map/{timestep}/{subject}/{layer}"), map.contiguous()))
    })
}

/// All maps of a file.
pub(crate) fn maps_at(weights: &Weights) -> Result<SubjectMaps> {
    let mut at: BTreeMap<i64, BTreeMap<usize, LayerMaps>> = BTreeMap::new();
    for name in weights.names().filter(|name| name.starts_with("map/")) {
        let parts: Vec<&str> = name.splitn(4, '/').collect();
        let &[_, timestep, subject, layer] = parts.as_slice() else { bail!("{name}: is no map's name") };
        let timestep: i64 = timestep.parse().with_context(|| name.to_owned())?;
        let subject: usize = subject.parse().with_context(|| name.to_owned())?;
        let map = tensor(weights, name, Kind::Float)?;
        ensure!(map.dim() == 2, "{name}: the shape is {:?}, expected [frames, places]", map.size());
        at.entry(timestep).or_default().entry(subject).or_default().insert(layer.to_owned(), map);
    }
    ensure!(
        at.values().all(|subjects| subjects.keys().copied().eq(0..subjects.len())),
        "the maps' subjects are not numbered from 0 on"
    );
    let at = at.into_iter().map(|(timestep, subjects)| (timestep, subjects.into_values().collect()));
    Ok(SubjectMaps { at: at.collect() })
}

/// A tensor of a file, which must have this type.
pub(crate) fn tensor(weights: &Weights, name: &str, kind: Kind) -> Result<Tensor> {
    let stored = weights.get(name).with_context(|| format!("there is no tensor '{name}' in it"))?;
    ensure!(stored.kind() == kind, "{name}: the type is {:?}, expected {kind:?}", stored.kind());
    Ok(stored.to_tensor()?)
}

/// Writes tensors into a file that appears whole or not at all.
pub(crate) fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    Ok(atomic::write_with(path, |passing| fill(path, passing, tensors))?)
}

/// As [`write()`], without waiting for the disk.
pub(crate) fn write_unsynced(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    Ok(atomic::write_unsynced(path, |passing| fill(path, passing, tensors))?)
}

fn fill(path: &Path, passing: &Path, tensors: &[(String, Tensor)]) -> motionflow_media::Result<()> {
    let tensors: Vec<(&str, Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.to_device(Device::Cpu))).collect();
    Tensor::write_safetensors(&tensors, passing).map_err(|error| motionflow_media::Error::Unwritable {
        path: path.to_owned(),
        // As text: the error of the system is out of reach in it.
        source: std::io::Error::other(error.to_string()),
    })
}
