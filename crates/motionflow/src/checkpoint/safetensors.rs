//! Weights in a safetensors file (<https://huggingface.co/docs/safetensors>): eight bytes of header length, a JSON
//! header that names types, shapes and offsets, then the elements without a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use tch::Kind;

use super::error::CheckpointError;
use super::weights::{MappedFile, StoredTensor};

/// The most bytes of a header. A tensor takes about 100, so this is for 100,000 of them; the format allows 100 MB.
const MAX_HEADER: u64 = 10_000_000;

/// Names, types, shapes and places of all tensors; every one lies inside the file.
pub(super) fn read(file: &Arc<MappedFile>) -> Result<BTreeMap<String, StoredTensor>, CheckpointError> {
    let bytes = file.bytes();
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(file.malformed(
            "safetensors header",
            "8 bytes of length",
            format!("{} bytes", bytes.len()),
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER || length > rest.len() as u64 {
        let expected = match rest.len() as u64 {
            rest @ ..MAX_HEADER => format!("at most {rest} bytes, the rest of the file"),
            _ => format!("at most {MAX_HEADER} bytes"),
        };
        return Err(file.malformed("length of the safetensors header", expected, format!("{length} bytes")));
    }
    let (header, data) = rest.split_at(length as usize);
    let data_start = 8 + header.len();
    let metadata: Metadata = serde_json::from_slice(header).map_err(|error| {
        file.malformed("safetensors header", "JSON with types, shapes and gapless offsets", error.to_string())
    })?;
    if metadata.data_len() != data.len() {
        return Err(file.malformed(
            "elements of the tensors",
            format!("{} bytes after the header", metadata.data_len()),
            format!("{} bytes (a truncated download?)", data.len()),
        ));
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let (begin, end) = info.data_offsets;
        let kind = kind_of(info.dtype).ok_or_else(|| {
            file.malformed(format!("tensor `{name}`"), "a common type of number", format!("{:?}", info.dtype))
        })?;
        let shape = info.shape.iter().map(|&size| i64::try_from(size)).collect::<Result<_, _>>();
        let shape = shape.map_err(|_| {
            file.malformed(format!("tensor `{name}`"), "a shape that can exist", format!("{:?}", info.shape))
        })?;
        let within = data_start + begin..data_start + end;
        let tensor = StoredTensor::new(file, &name, kind, shape, None, within)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        _ => return None,
    })
}
