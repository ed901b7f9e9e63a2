//! The engine: runs one after another on each device, with loaded checkpoints kept as far as memory allows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::device;
use motionflow::kernels;
use tch::Device;

use crate::error::{DoesNotFit, Misuse};
use crate::estimate::Task;
use crate::event::Event;
use crate::hashes::Hashes;
use crate::home;
use crate::models::found::FoundModel;
use crate::models::store::{FoundModels, ModelStore};
use crate::out_of_memory::{self, Hint};
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::request::{Resources, resolve, tables};
use crate::source::SourceStore;
use crate::threads;

/// How often a run that waits looks whether the device is free, or the run cancelled.
const POLL: Duration = Duration::from_millis(20);
const WITHOUT_CUDA: &str = "--device cpu computes without it; docs/devices.md says what CUDA takes";

/// Carries out requests. It can be shared between threads: runs on one device wait for each other.
#[derive(Debug)]
pub struct Engine {
    ignores_memory: bool,
    /// The threads that are taken where no number is given.
    default_threads: i32,
    stores: Mutex<BTreeMap<String, Arc<Mutex<Stores>>>>,
    /// For what needs no device, so that it does not wait for one.
    sources: Mutex<SourceStore>,
    /// The checkpoints that were found. None is read twice for its hash.
    found: Mutex<FoundModels>,
    hashes: Mutex<Hashes>,
}

/// What stays from run to run on one device.
#[derive(Debug, Default)]
pub struct Stores {
    /// Checkpoints.
    pub models: ModelStore,
    /// Sources.
    pub sources: SourceStore,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine with nothing loaded.
    pub fn new() -> Self {
        Self {
            ignores_memory: false,
            default_threads: threads::by_default(),
            stores: Mutex::default(),
            sources: Mutex::default(),
            found: Mutex::default(),
            hashes: Mutex::default(),
        }
    }

    /// Begins also runs that are estimated to take more memory than there is.
    #[must_use]
    pub fn ignoring_memory(mut self, ignores: bool) -> Self {
        self.ignores_memory = ignores;
        self
    }

    /// What a request computes with.
    ///
    /// # Errors
    /// A [`Misuse`] where the device is not there.
    pub fn compute(&self, resources: &Resources) -> Result<Compute> {
        let choice = resources.device.unwrap_or_default();
        let device =
            choice.open().map_err(|error| Misuse(format!("--device {choice}: {error}; {WITHOUT_CUDA}")))?;
        let kind = resources.precision.unwrap_or_default().kind(device);
        if device.is_cuda()
            && let Some(cache) = home::cache()
        {
            kernels::keep_compiled_in(&cache.join("motionflow").join("kernels"));
        }
        Ok(Compute { device, kind, memory: resources.memory.unwrap_or_default() })
    }

    /// Does `work` on the device that `resources` name, once no other work is on it.
    ///
    /// # Errors
    /// Those of `work`, as [`Engine::compute`], and where the run is cancelled while it waits.
    pub fn on_device<T>(
        &self,
        resources: &Resources,
        progress: &mut Progress,
        work: impl FnOnce(Compute, &mut Stores, &mut Progress) -> Result<T>,
    ) -> Result<T> {
        let threads = self.threads(resources)?;
        let compute = self.compute(resources)?;
        let stores = self.stores_of(compute.device);
        let mut stores = wait_for(&stores, compute.device, progress)?;
        if threads != tch::get_num_threads() {
            threads::limit(threads);
        }
        work(compute, &mut stores, progress)
    }

    /// Finds the checkpoint that a request names, and fetches it if need be; once for each.
    ///
    /// # Errors
    /// When it is not there, or cannot be fetched.
    pub fn find(&self, choice: &tables::Model, progress: &mut Progress) -> Result<Arc<FoundModel>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).find(choice, progress)
    }

    /// SHA-256 of a file, in hex; a file that has not changed since is read once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha256_of(&self, path: &Path) -> Result<String> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).sha256_of(path)
    }

    /// The message of an error outside of any run: where memory ran out, and what to do.
    pub fn explain(&self, error: anyhow::Error, resources: &Resources, progress: &Progress) -> anyhow::Error {
        let device = self.compute(resources).map_or(Device::Cpu, |compute| compute.device);
        out_of_memory::explain(error, device, progress, Hint::OtherDevice)
    }

    /// Does `work` with sources that are kept, on no device.
    pub(crate) fn with_sources<T>(&self, work: impl FnOnce(&mut SourceStore) -> T) -> T {
        work(&mut self.sources.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses, before the weights are loaded, what would not fit into memory, even without the checkpoints that are loaded
    /// beside the run's own.
    pub(crate) fn check_memory(
        &self,
        task: &Task,
        video: &Video,
        found: &Arc<FoundModel>,
        models: &mut ModelStore,
    ) -> Result<()> {
        models.make_room(found, task.compute, |others| task.fits_beside(video, others));
        match task.refusal(video) {
            Some(refusal) if !self.ignores_memory => Err(DoesNotFit(refusal).into()),
            _ => Ok(()),
        }
    }

    fn threads(&self, resources: &Resources) -> Result<i32> {
        resolve::threads(resources.threads)?;
        let threads = resources.threads.map_or(self.default_threads, i32::from);
        threads::check(threads)?;
        Ok(threads)
    }

    fn stores_of(&self, device: Device) -> Arc<Mutex<Stores>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stores.entry(device::name_of(device)).or_default())
    }
}

/// The stores of a device, once no other run has them.
fn wait_for<'a>(
    stores: &'a Mutex<Stores>,
    device: Device,
    progress: &mut Progress,
) -> Result<MutexGuard<'a, Stores>> {
    let mut is_told = false;
    loop {
        match stores.try_lock() {
            Ok(stores) => return Ok(stores),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if is_told => {}
            Err(TryLockError::WouldBlock) => {
                progress.event(&Event::Waiting { device: &device::name_of(device) });
                is_told = true;
            }
        }
        progress.cancel_token().check()?;
        thread::sleep(POLL);
    }
}
