//! The files of a parity case, and how its tensors are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{CheckpointError, Weights};
use crate::error::Error;
use crate::model::{EncodedPrompt, VideoModel};
use crate::printable::printable;

/// What the case is of.
pub const CASE: &str = "case.json";
/// What goes into the nets.
pub const INPUTS: &str = "inputs.safetensors";
/// What must come out.
pub const EXPECTED: &str = "expected.safetensors";

/// A model as a parity case sees it: beyond the method, its nets one by one.
pub trait ParityModel: VideoModel {
    /// The token ids of a text, as the text encoder takes them.
    ///
    /// # Errors
    /// When the text cannot be encoded.
    fn token_ids(&self, text: &str) -> Result<Vec<i64>, Error>;

    /// Channels of the latents.
    fn latent_channels(&self) -> i64;

    /// What the nets make of the inputs, by the names of the case.
    ///
    /// # Errors
    /// When an input is not there, or does not suit the nets.
    fn nets(
        &self,
        inputs: &CaseTensors,
        target: &EncodedPrompt,
    ) -> Result<BTreeMap<String, Tensor>, ParityError>;
}

/// A case that cannot be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// The model, or the method on it, fails.
    #[error(transparent)]
    Method(#[from] Error),
    /// A tensor file of the case cannot be read.
    #[error(transparent)]
    Tensors(#[from] CheckpointError),
    /// `case.json` cannot be read.
    #[error("{}: is not a parity case's: {reason}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that the case must have is not there.
    #[error("{}: no tensor '{name}' in it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

/// How one tensor of a case compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The tensor's name in the case, or what else was compared.
    pub name: String,
    /// How far it is off.
    pub difference: Difference,
    /// Whether that is near enough.
    pub ok: bool,
}

/// How far a tensor is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// ‖ours − expected‖₂ / ‖expected‖₂
    Relative(f64),
    /// Elements that differ, of so many: token ids, mask pixels, names.
    Count {
        /// That differ.
        differing: usize,
        /// In all.
        of: usize,
    },
}

/// The comparison of what is counted.
pub(crate) fn counted(name: &str, differing: usize, of: usize) -> Comparison {
    Comparison { name: name.to_owned(), difference: Difference::Count { differing, of }, ok: differing == 0 }
}

fn compare(name: &str, ours: Option<&Tensor>, expected: &Tensor, tolerance: f64) -> Comparison {
    let count = expected.numel();
    let ours = ours.map(|ours| ours.to_device(Device::Cpu)).filter(|ours| ours.size() == expected.size());
    let Some(ours) = ours else { return counted(name, count.max(1), count) };
    if matches!(expected.kind(), Kind::Int64 | Kind::Uint8) {
        let differing = ours.ne_tensor(expected).sum(Kind::Int64).int64_value(&[]);
        return counted(name, differing as usize, count);
    }
    let (ours, expected) = (ours.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    let relative = ((ours - &expected).norm() / expected.norm().clamp_min(1e-30)).double_value(&[]);
    Comparison {
        name: name.to_owned(),
        difference: Difference::Relative(relative),
        ok: relative <= tolerance,
    }
}

/// A file of a case that says something else than a case does.
pub fn case_error(path: &Path, reason: &str) -> ParityError {
    ParityError::Case { path: path.to_owned(), reason: printable(reason) }
}

/// In a shape: any size.
pub const ANY: i64 = -1;

/// A tensor file of a case.
#[derive(Debug)]
pub struct CaseTensors {
    path: PathBuf,
    weights: Weights,
    device: Device,
}

impl CaseTensors {
    /// Opens the file; its tensors are given on `device`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: PathBuf, device: Device) -> Result<Self, ParityError> {
        Ok(Self { weights: Weights::open(&path)?, path, device })
    }

    /// A tensor that goes into a net, which takes float32 of this shape alone.
    ///
    /// # Errors
    /// When it is not there, or is of another type or shape.
    pub fn input(&self, name: &str, shape: &[i64]) -> Result<Tensor, ParityError> {
        self.input_of(Kind::Float, name, shape)
    }

    /// `picture_0`, `picture_1` and so on: [height, width, 3]
    ///
    /// # Errors
    /// As [`CaseTensors::input`].
    pub fn pictures(&self) -> Result<Vec<Tensor>, ParityError> {
        let names = (0..self.weights.len()).map(|index| format!("picture_{index}"));
        names.map(|name| self.input_of(Kind::Uint8, &name, &[ANY, ANY, 3])).collect()
    }

    /// Compares every tensor of the file with ours of the same name.
    ///
    /// # Errors
    /// When a tensor of the file cannot be read.
    pub fn compare(
        &self,
        ours: &BTreeMap<String, Tensor>,
        tolerance: f64,
    ) -> Result<Vec<Comparison>, ParityError> {
        let names = self.weights.names();
        names.map(|name| Ok(compare(name, ours.get(name), &self.tensor(name)?, tolerance))).collect()
    }

    fn input_of(&self, kind: Kind, name: &str, shape: &[i64]) -> Result<Tensor, ParityError> {
        let tensor = self.tensor(name)?;
        let size = tensor.size();
        let fits = |(found, wanted): (&i64, &i64)| found == wanted || (*wanted == ANY && *found > 0);
        if tensor.kind() == kind && size.len() == shape.len() && size.iter().zip(shape).all(fits) {
            return Ok(tensor);
        }
        let found = format!("found {:?} {size:?}", tensor.kind());
        let reason =
            format!("tensor '{name}': expected {kind:?} {shape:?} ({ANY}: any number, 1 or more), {found}");
        Err(case_error(&self.path, &reason))
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ParityError> {
        let missing = || ParityError::Missing { path: self.path.clone(), name: name.to_owned() };
        let stored = self.weights.get(name).ok_or_else(missing)?;
        let tensor = stored.to_tensor().map_err(|_| missing())?;
        Ok(tensor.to_device(self.device))
    }
}
