//! Handing tensors to the nets by name, and keeping account of what was requested.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use super::error::{CheckpointError, TensorProblems};
use super::staging::Staging;
use super::weights::{StoredTensor, Weights};
use crate::compute::MemoryUse;
use crate::out_of_memory;
use crate::printable::printable;

/// A place in the tree of a component's tensor names, as `down_blocks.0.resnets`. Clones and [`Loader::sub`]s share
/// one account of the names that were requested and of everything that was wrong with them, so that a net is built
/// in one pass and [`Loader::finish`] then says all of it at once.
#[derive(Clone)]
pub struct Loader<'a> {
    weights: &'a Weights,
    prefix: String,
    device: Device,
    kind: Kind,
    memory: MemoryUse,
    streams: bool,
    account: Rc<RefCell<Account>>,
    staging: Rc<RefCell<Option<Staging>>>,
}

#[derive(Default)]
struct Account {
    asked: BTreeSet<String>,
    problems: TensorProblems,
    /// What libtorch said when memory ran out.
    out_of_memory: Option<String>,
}

impl<'a> Loader<'a> {
    /// A loader at the root of `weights`; its tensors go to `device` as `kind`. `component` is for messages.
    pub fn new(weights: &'a Weights, component: impl Display, device: Device, kind: Kind) -> Self {
        let files: Vec<_> = weights.files().iter().map(|file| file.display().to_string()).collect();
        let component = match files.as_slice() {
            [] => component.to_string(),
            [file] => format!("{component} ({file})"),
            [first, .., last] => format!("{component} ({first} to {last})"),
        };
        let account = Account {
            asked: BTreeSet::new(),
            problems: TensorProblems { component, ..TensorProblems::default() },
            out_of_memory: None,
        };
        let memory = MemoryUse::default();
        let (prefix, streams) = (String::new(), false);
        let staging = Rc::new(RefCell::new(Staging::new(device)));
        Self {
            weights,
            prefix,
            device,
            kind,
            memory,
            streams,
            account: Rc::new(RefCell::new(account)),
            staging,
        }
    }

    /// The same for nets that may take so much memory.
    #[must_use]
    pub fn with_memory(self, memory: MemoryUse) -> Self {
        Self { memory, ..self }
    }

    /// The same for nets whose weights stay in the host's memory, where they can, or do not.
    #[must_use]
    pub fn with_streaming(self, streams: bool) -> Self {
        Self { streams, ..self }
    }

    /// The same with tensors on `device`.
    #[must_use]
    pub fn on(&self, device: Device) -> Self {
        Self { device, ..self.clone() }
    }

    /// The same with tensors as `kind`, for what must be more exact than the rest.
    #[must_use]
    pub fn in_kind(&self, kind: Kind) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The place `name` under this one.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Self {
        Self { prefix: self.full_name(name), ..self.clone() }
    }

    /// This place's name, as `down_blocks.0.resnets`.
    pub fn path(&self) -> String {
        self.prefix.clone()
    }

    /// Where the loader's tensors go.
    pub fn device(&self) -> Device {
        self.device
    }

    /// As what the loader's tensors come.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How much memory the nets may take.
    pub fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// Whether weights stay in the host's memory where the net can bring them to the device as they are needed.
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// Whether there is a tensor `name` here. Does not count as asking for it.
    pub fn has(&self, name: &str) -> bool {
        self.weights.get(&self.full_name(name)).is_some()
    }

    /// Takes a tensor `name`, should there be one, for asked for: it says what another one has said.
    pub fn skip(&self, name: &str) {
        self.account.borrow_mut().asked.insert(self.full_name(name));
    }

    /// Whether all that was requested is there. Else the net is built on, and never run, to learn what else is wrong:
    /// nothing may be computed of its tensors, since that could take memory.
    pub fn is_whole(&self) -> bool {
        let account = self.account.borrow();
        account.problems.is_empty() && account.out_of_memory.is_none()
    }

    /// The tensor `name` of this place, which must have the given shape. When it is missing or of another shape, that
    /// is noted for [`Loader::finish`], and the caller gets zeros of the shape, which take no memory, to go on with.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Tensor {
        self.read(name, shape, shape, |stored| {
            let mut staging = self.staging.borrow_mut();
            stored.to_device(self.device, self.kind, staging.as_mut().filter(|_| self.device.is_cuda()))
        })
    }

    /// Rows of the matrix `name` of this place, as [`Loader::tensor`] gives it: of [rows, features] those at `index`, which
    /// must be rows of it. The rest takes no memory.
    pub fn rows(&self, name: &str, shape: &[i64; 2], index: &[i64]) -> Tensor {
        self.read(name, shape, &[index.len() as i64, shape[1]], |stored| {
            stored.rows(index)?.f_to_kind(self.kind)?.f_to_device(self.device)
        })
    }

    /// What `take` makes of the tensor `name`, which must have the shape `stored`, or zeros of the shape `made`.
    fn read(
        &self,
        name: &str,
        stored: &[i64],
        made: &[i64],
        take: impl FnOnce(&StoredTensor) -> Result<Tensor, TchError>,
    ) -> Tensor {
        let name = self.full_name(name);
        let mut account = self.account.borrow_mut();
        let found =
            self.find(&name, stored).and_then(|found| take(found).map_err(|error| Problem::of(&error)));
        account.asked.insert(name.clone());
        match found {
            Ok(tensor) => return tensor,
            Err(Problem::Missing) => account.problems.missing.push(format!("{name} {stored:?}")),
            Err(Problem::Wrong(why)) => account.problems.wrong.push(format!("{name}: {why}")),
            Err(Problem::OutOfMemory(message)) => account.out_of_memory = Some(message),
        }
        let zero = Tensor::zeros([1], (self.kind, Device::Cpu));
        zero.f_expand(made, false).unwrap_or(zero)
    }

    fn find(&self, name: &str, shape: &[i64]) -> Result<&'a StoredTensor, Problem> {
        let stored = self.weights.get(name).ok_or(Problem::Missing)?;
        if stored.shape() != shape {
            return Err(Problem::Wrong(format!("expected shape {shape:?}, found {:?}", stored.shape())));
        }
        if is_float(self.kind) && !is_float(stored.kind()) {
            return Err(Problem::Wrong(format!("expected floating point, found {:?}", stored.kind())));
        }
        Ok(stored)
    }

    /// Notes for [`Loader::finish`] that what was made of this place's tensors could not be.
    pub(crate) fn note_failure(&self, error: &TchError) {
        let mut account = self.account.borrow_mut();
        match Problem::of(error) {
            Problem::OutOfMemory(message) => account.out_of_memory = Some(message),
            Problem::Wrong(why) => account.problems.wrong.push(format!("{}: {why}", self.prefix)),
            Problem::Missing => {}
        }
    }

    /// Ends the loading: what was missing, of a wrong shape, or never asked for is one error.
    ///
    /// # Errors
    /// [`CheckpointError::Tensors`]; [`CheckpointError::OutOfMemory`] where the tensors could not be made.
    pub fn finish(self) -> Result<(), CheckpointError> {
        let mut account = self.account.borrow_mut();
        let extra = self.weights.names().filter(|name| !account.asked.contains(*name));
        let extra = extra.map(str::to_owned).collect();
        account.problems.extra = extra;
        let problems = std::mem::take(&mut account.problems);
        if let Some(message) = account.out_of_memory.take() {
            return Err(CheckpointError::OutOfMemory { component: problems.component, message });
        }
        if problems.is_empty() { Ok(()) } else { Err(CheckpointError::Tensors(Box::new(problems))) }
    }

    fn full_name(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

enum Problem {
    Missing,
    Wrong(String),
    OutOfMemory(String),
}

impl Problem {
    fn of(error: &TchError) -> Self {
        // libtorch's messages go on with addresses of its own code.
        let message = printable(error.to_string().lines().next().unwrap_or_default());
        if out_of_memory::is_told_in(&message) { Self::OutOfMemory(message) } else { Self::Wrong(message) }
    }
}

fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}
