//! Tensors by name, as they lie in memory-mapped files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::error::CheckpointError;
use super::staging::{self, Staging};
use super::{json, safetensors, torch_file};
use crate::printable::is_printable;
use crate::small_file::{LIST, require_file};

/// The most dimensions that a tensor may have; those of the nets have up to 5.
pub(super) const MAX_DIMENSIONS: usize = 8;

/// The most files that weights may be split over.
const MAX_SHARDS: usize = 1000;

/// Elements of a tensor that are converted at once: 4 MiB in float32.
const AT_ONCE: usize = 1 << 20;

/// A file in memory, mostly by mapping: pages come from disk when they are touched.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl MappedFile {
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let read_error = |source| CheckpointError::Read { path: path.to_path_buf(), source };
        require_file(path).map_err(read_error)?;
        let file = File::open(path).map_err(read_error)?;
        // SAFETY: the map is read-only and private to us. As with every memory-mapped file, another program that
        // shortens it while we read ends this process by a signal; bytes that change under us change numbers, but no
        // length or offset, since those are copied out and checked before use.
        #[allow(unsafe_code)]
        let bytes = unsafe { Mmap::map(&file) }.map_err(read_error)?;
        Ok(Self { path: path.to_path_buf(), bytes: Bytes::Mapped(bytes) })
    }

    /// A file that was read already; `path` is for messages.
    pub(super) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.to_path_buf(), bytes: Bytes::Read(bytes) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Read(bytes) => bytes,
        }
    }

    /// Gives the memory of these bytes back to the system, as far as they are mapped: they come from disk again when they
    /// are touched. Without this a process that reads files larger than its share of the memory looks as large as they are.
    fn release(&self, place: Range<usize>) {
        #[cfg(not(unix))]
        let _ = place;
        #[cfg(unix)]
        if let Bytes::Mapped(bytes) = &self.bytes
            && !place.is_empty()
        {
            // SAFETY: the map is of a file and is never written to, so that what is dropped is still in the file.
            #[allow(unsafe_code)]
            let released = unsafe {
                bytes.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, place.start, place.len())
            };
            // It is advice: what the system does not want to drop, it keeps.
            drop(released);
        }
    }

    pub(super) fn malformed(
        &self,
        what: impl AsRef<str>,
        expected: impl AsRef<str>,
        found: impl AsRef<str>,
    ) -> CheckpointError {
        CheckpointError::malformed(&self.path, what, expected, found)
    }
}

/// One tensor in a file: its type, its shape, and where its elements lie. Constructed only with a range that is inside
/// the file and that holds every element.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    file: Arc<MappedFile>,
    kind: Kind,
    shape: Vec<i64>,
    /// In elements; `None` for the dense row-major order.
    strides: Option<Vec<i64>>,
    start: usize,
    /// In bytes: from the first to past the last element that the strides reach.
    length: usize,
}

impl StoredTensor {
    /// Checks that `shape` elements of `kind`, `strides` apart (in elements; dense when `None`), lie in the file's
    /// bytes `within`, the first of them at its start.
    pub(super) fn new(
        file: &Arc<MappedFile>,
        name: &str,
        kind: Kind,
        shape: Vec<i64>,
        strides: Option<Vec<i64>>,
        within: Range<usize>,
    ) -> Result<Self, CheckpointError> {
        let wrong =
            |expected: &str, found: String| file.malformed(format!("tensor `{name}`"), expected, found);
        if !is_printable(name) {
            return Err(wrong("a short name of plain characters", format!("one of {} bytes", name.len())));
        }
        if shape.len() > MAX_DIMENSIONS {
            return Err(wrong(&format!("at most {MAX_DIMENSIONS} dimensions"), shape.len().to_string()));
        }
        let strides = strides.filter(|strides| *strides != dense_strides(&shape));
        let elements = element_count(&shape)
            .ok_or_else(|| wrong("a shape that can exist", format!("shape {shape:?}")))?;
        let reach = match &strides {
            None => Some(elements),
            Some(strides) => strided_reach(&shape, strides),
        }
        .ok_or_else(|| wrong("one stride of at least 0 for each dimension", format!("{strides:?}")))?;
        // Strides of 0 can name more elements than there are: `to_tensor` allocates by the shape.
        let needed = reach.max(elements).checked_mul(kind.elt_size_in_bytes() as u64);
        let space = within.len() as u64;
        match needed {
            Some(needed) if needed <= space && within.end <= file.bytes().len() => {}
            _ => {
                return Err(wrong(
                    &format!("at most the {space} bytes that are there"),
                    format!("shape {shape:?} of {kind:?}, strides {strides:?}"),
                ));
            }
        }
        let length = reach as usize * kind.elt_size_in_bytes();
        Ok(Self { file: Arc::clone(file), kind, shape, strides, start: within.start, length })
    }

    /// The type of the elements as stored.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The shape as stored.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// How many bytes a dense copy takes.
    pub(super) fn size_bytes(&self) -> u64 {
        element_count(&self.shape).unwrap_or(0) * self.kind.elt_size_in_bytes() as u64
    }

    /// The bytes of the file that the elements lie in.
    pub(super) fn place(&self) -> Range<usize> {
        self.start..self.start + self.length
    }

    /// The file that holds it.
    pub fn file(&self) -> &Path {
        &self.file.path
    }

    /// A copy as a tensor of the stored type and shape, on the CPU.
    ///
    /// # Errors
    /// When libtorch cannot make the tensor, out of memory for one.
    pub fn to_tensor(&self) -> Result<Tensor, tch::TchError> {
        let bytes = &self.file.bytes()[self.place()];
        let Some(strides) = &self.strides else {
            return Tensor::f_from_data_size(bytes, &self.shape, self.kind);
        };
        let elements = (self.length / self.kind.elt_size_in_bytes()) as i64;
        Tensor::f_from_data_size(bytes, &[elements], self.kind)?
            .f_as_strided(&self.shape, strides, 0)?
            .f_contiguous()
    }

    /// The same on a device and as another type, by way of `staging` where there is one. Besides the tensor this takes little
    /// memory: what is stored densely is converted in parts, and what was read of the file is given back to the system.
    ///
    /// # Errors
    /// As [`StoredTensor::to_tensor`].
    pub(super) fn to_device(
        &self,
        device: Device,
        kind: Kind,
        staging: Option<&mut Staging>,
    ) -> Result<Tensor, tch::TchError> {
        let is_dense = self.strides.is_none() && self.length > 0;
        if is_dense && let Some(staging) = staging {
            return self.in_parts(device, kind, staging::BYTES, |part| staging.gather(part, self.kind));
        }
        if is_dense && kind != self.kind {
            let size = AT_ONCE * self.kind.elt_size_in_bytes();
            let count = |part: &[u8]| (part.len() / self.kind.elt_size_in_bytes()) as i64;
            return self.in_parts(device, kind, size, |part| self.in_file(part, &[count(part)]));
        }
        let tensor = match device {
            Device::Cpu => self.to_tensor()?.f_to_kind(kind),
            _ => self.copied(device)?.f_to_kind(kind),
        };
        self.file.release(self.place());
        tensor
    }

    /// What is stored densely, so many bytes after the others, which `read` makes a tensor of.
    fn in_parts(
        &self,
        device: Device,
        kind: Kind,
        bytes_at_once: usize,
        mut read: impl FnMut(&[u8]) -> Result<Tensor, tch::TchError>,
    ) -> Result<Tensor, tch::TchError> {
        let whole = Tensor::f_empty(&self.shape, (kind, device))?;
        let flat = whole.f_view(-1)?;
        let (mut begin, mut place) = (0, self.start);
        for part in self.file.bytes()[self.place()].chunks(bytes_at_once) {
            let read = read(part)?;
            let count = read.size()[0];
            // Else libtorch would convert it before it goes.
            let read = if kind == self.kind { read } else { read.f_to_device(device)? };
            flat.f_narrow(0, begin, count)?.f_copy_(&read)?;
            self.file.release(place..place + part.len());
            begin += count;
            place += part.len();
        }
        Ok(whole)
    }

    /// A copy on another device than the CPU, of the stored type. What is stored densely goes there straight from the file.
    fn copied(&self, device: Device) -> Result<Tensor, tch::TchError> {
        if self.strides.is_some() || self.length == 0 {
            return self.to_tensor()?.f_to_device(device);
        }
        self.in_file(&self.file.bytes()[self.place()], &self.shape)?.f_to_device(device)
    }

    /// Rows of a matrix, of the stored type, on the CPU. Of what is stored densely, nothing else is read.
    pub(super) fn rows(&self, index: &[i64]) -> Result<Tensor, tch::TchError> {
        let index = Tensor::from_slice(index);
        if self.strides.is_some() || self.length == 0 {
            return self.to_tensor()?.f_index_select(0, &index);
        }
        self.in_file(&self.file.bytes()[self.place()], &self.shape)?.f_index_select(0, &index)
    }

    /// The elements that these bytes of the file are, as a tensor that must be gone before they are. Where they lie as no
    /// element may lie in memory, a copy.
    fn in_file(&self, bytes: &[u8], shape: &[i64]) -> Result<Tensor, tch::TchError> {
        if bytes.as_ptr().align_offset(self.kind.elt_size_in_bytes()) != 0 {
            return Tensor::f_from_data_size(bytes, shape, self.kind);
        }
        // SAFETY: the bytes hold every element, and the callers only read the tensor, while the file is there.
        #[allow(unsafe_code)]
        unsafe {
            Tensor::f_from_blob(bytes.as_ptr(), shape, &dense_strides(shape), self.kind, Device::Cpu)
        }
    }

    /// Drops trailing dimensions of size 1 until two are left: what a 1×1 convolution has over a linear layer.
    pub(super) fn squeeze_to_matrix(&mut self) {
        while self.shape.len() > 2 && self.shape.last() == Some(&1) {
            self.shape.pop();
            if let Some(strides) = &mut self.strides {
                strides.pop();
            }
        }
    }
}

/// The product of the dimensions; `None` when one is negative or it overflows.
fn element_count(shape: &[i64]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::try_from(size).ok()?))
}

/// How many elements lie between the first and past the last one that the strides reach.
fn strided_reach(shape: &[i64], strides: &[i64]) -> Option<u64> {
    if shape.len() != strides.len() {
        return None;
    }
    let strides = strides.iter().map(|&s| u64::try_from(s).ok()).collect::<Option<Vec<_>>>()?;
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1_u64, |reach, (&size, stride)| {
        reach.checked_add(u64::try_from(size).ok()?.checked_sub(1)?.checked_mul(stride)?)
    })
}

/// Strides of the row-major order; saturating, since an impossible shape is reported elsewhere.
fn dense_strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1_i64; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// Every tensor of a component, by name. Opening reads names and shapes only; elements are copied out of the mapped
/// files when [`StoredTensor::to_tensor`] asks for them.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    tensors: BTreeMap<String, StoredTensor>,
    files: Vec<PathBuf>,
}

/// `*.index.json` of sharded weights.
#[derive(Deserialize)]
pub(super) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Reads a safetensors file or a PyTorch `.bin`; which of them it is goes by its content, not by its name.
    ///
    /// # Errors
    /// [`CheckpointError::Read`], [`CheckpointError::Malformed`], [`CheckpointError::ForbiddenCallable`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = Arc::new(MappedFile::open(path)?);
        let tensors = match Format::of(file.bytes()) {
            Format::Safetensors => safetensors::read(&file)?,
            Format::Zip => torch_file::read(&file)?,
            Format::Other(found) => {
                return Err(file.malformed("the file", "safetensors, or PyTorch weights in a zip", found));
            }
        };
        Ok(Self::of_tensors(path, tensors))
    }

    /// Those `tensors` of one file.
    pub(super) fn of_tensors(path: &Path, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self { tensors, files: vec![path.to_path_buf()] }
    }

    /// Reads weights that are split over several files, by their `*.index.json`.
    ///
    /// # Errors
    /// As [`Weights::open`] for each file; [`CheckpointError::Json`] for the index; [`CheckpointError::Malformed`] when
    /// index and files disagree.
    pub fn open_sharded(index: &Path) -> Result<Self, CheckpointError> {
        let map = shard_map(index)?;
        let disagree = |what: String, expected: String, found: &str| {
            CheckpointError::malformed(index, what, expected, found)
        };
        let mut all = Self { tensors: BTreeMap::new(), files: Vec::new() };
        for path in shard_files(index, &map) {
            let shard = Self::open(&path)?;
            for (name, tensor) in shard.tensors {
                if let Some(other) = all.tensors.get(&name) {
                    let both = format!("it in {} too", other.file().display());
                    return Err(disagree(
                        format!("tensor `{name}` of {}", path.display()),
                        "one copy".into(),
                        &both,
                    ));
                }
                all.tensors.insert(name, tensor);
            }
            all.files.push(path);
        }
        for (name, file) in &map {
            if all.tensors.get(name).is_none_or(|t| t.file().file_name() != Some(file.as_ref())) {
                return Err(disagree(
                    format!("tensor `{name}`"),
                    format!("it in {file}"),
                    "no such tensor there",
                ));
            }
        }
        Ok(all)
    }

    /// The tensors of both.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] where both have one of the same name.
    pub fn joined(mut self, other: Self) -> Result<Self, CheckpointError> {
        for (name, tensor) in other.tensors {
            if let Some(own) = self.tensors.get(&name) {
                let both = format!("it in {} too", own.file().display());
                return Err(tensor.file.malformed(format!("tensor `{name}`"), "one copy", both));
            }
            self.tensors.insert(name, tensor);
        }
        self.files.extend(other.files);
        Ok(self)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Gives every tensor the name that `new_name` returns for its name, and drops those for which it returns `None`.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] when two tensors would get the same name.
    pub fn rename(
        &mut self,
        mut new_name: impl FnMut(&str, &mut StoredTensor) -> Option<String>,
    ) -> Result<(), CheckpointError> {
        let mut renamed = BTreeMap::new();
        for (name, mut tensor) in std::mem::take(&mut self.tensors) {
            let Some(new) = new_name(&name, &mut tensor) else { continue };
            let file = Arc::clone(&tensor.file);
            if renamed.insert(new.clone(), tensor).is_some() {
                let expected = format!("one tensor for `{new}`, under its old or its new name");
                return Err(file.malformed(format!("tensor `{name}`"), expected, "both"));
            }
        }
        self.tensors = renamed;
        Ok(())
    }
}

/// Reads an index: the file of each tensor.
fn shard_map(index: &Path) -> Result<BTreeMap<String, String>, CheckpointError> {
    check_shard_map(index, json::read(index, LIST)?)
}

/// Checks that an index names plain files beside itself, and not too many.
pub(super) fn check_shard_map(
    path: &Path,
    index: ShardIndex,
) -> Result<BTreeMap<String, String>, CheckpointError> {
    let map = index.weight_map;
    let wrong = |expected: &str, found| Err(CheckpointError::malformed(path, "weight_map", expected, found));
    let plain = |file: &String| Path::new(file).file_name() == Some(file.as_ref()) && is_printable(file);
    if let Some(file) = map.values().find(|file| !plain(file)) {
        return wrong("names of files in the same folder", format!("`{file}`"));
    }
    let files = map.values().collect::<BTreeSet<_>>().len();
    if files > MAX_SHARDS {
        return wrong(&format!("at most {MAX_SHARDS} files"), files.to_string());
    }
    Ok(map)
}

fn shard_files(index: &Path, map: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let names: BTreeSet<_> = map.values().collect();
    names.into_iter().map(|name| index.with_file_name(name)).collect()
}

/// The files that the index of sharded weights names.
pub(super) fn shards(index: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    Ok(shard_files(index, &shard_map(index)?))
}

/// What a weights file is, by its first bytes.
enum Format {
    Safetensors,
    Zip,
    /// In words, for the message.
    Other(String),
}

impl Format {
    fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"PK\x03\x04") {
            Self::Zip
        } else if bytes.get(8) == Some(&b'{') {
            Self::Safetensors
        } else if bytes.is_empty() {
            Self::Other("an empty file".into())
        } else if bytes.starts_with(b"version https://git-lfs") {
            Self::Other("a git-lfs pointer in place of the weights (fetch them with `git lfs pull`)".into())
        } else if bytes.starts_with(b"\x80\x02") {
            Self::Other(
                "a bare pickle, PyTorch's format before 1.6 (load and save it again with PyTorch)".into(),
            )
        } else {
            Self::Other(format!("something that begins with the bytes {:02x?}", &bytes[..bytes.len().min(8)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converting_in_parts_is_converting_the_whole() {
        tch::manual_seed(5);
        let elements = AT_ONCE as i64 + 300;
        let numbers = Tensor::randn([elements], (Kind::Float, Device::Cpu));
        let mut bytes = vec![0; 1 + 4 * elements as usize];
        // One of these two lies as no number may lie in memory.
        for start in [0, 1] {
            let end = start + 4 * elements as usize;
            numbers.copy_data_u8(&mut bytes[start..], elements as usize);
            let file = Arc::new(MappedFile::of_bytes(Path::new("numbers"), bytes.clone()));
            let tensor = StoredTensor::new(&file, "x", Kind::Float, vec![2, elements / 2], None, start..end);
            let tensor = tensor.unwrap();
            for kind in [Kind::BFloat16, Kind::Half, Kind::Double, Kind::Float] {
                let converted = tensor.to_device(Device::Cpu, kind, None).unwrap();
                assert_eq!(converted, numbers.view([2, -1]).to_kind(kind), "{kind:?}");
                assert_eq!(converted.kind(), kind);
            }
        }
    }
}
