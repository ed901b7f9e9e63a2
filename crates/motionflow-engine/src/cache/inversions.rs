//! Inversions in the user's cache, or in the store of an experiment, by all that they depend on.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use motionflow::checkpoint::Weights;
use motionflow::error::Error;
use motionflow::inversion::Inversion;
use motionflow::model::VideoModel;

use crate::cache::{Cache, Found, Key, NoHome};
use crate::error;
use crate::folder::inversion_file::{TENSORS, inversion_in, inversion_tensors, named};
use crate::folder::map_tensors;
use crate::folder::record::{RunRecord, VideoRecord};
use crate::folder::unfinished;
use crate::progress::Progress;

/// How often it is looked whether another process has made the inversion.
const LOOK: Duration = Duration::from_millis(50);

/// A cache that other machines share: it is asked where this machine's own has nothing.
pub trait SharedCache: fmt::Debug + Send + Sync {
    /// Writes what is known under a key to a folder. Returns whether there was something.
    ///
    /// # Errors
    /// When it is damaged, or out of reach.
    fn bring(&self, key: &str, folder: &Path) -> Result<bool>;

    /// Keeps the files of a folder under a key.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn keep(&self, key: &str, folder: &Path) -> Result<()>;
}

/// The message where there is no cache, or none that can be written to.
const NOT_KEPT: &str = "the inversion is not kept for later runs";

/// The place of one run's inversion in the cache, if the run may use it.
#[derive(Debug)]
pub(crate) struct InversionCache {
    place: Option<(Cache, Key)>,
    /// Whether all who look here must get the same inversion, so that one makes it and the others wait; but for who goes on
    /// in another memory, and keeps its own.
    is_store: bool,
    /// Whether what the run makes may be kept: not what is made in two memories, which no key tells of.
    keeps: bool,
    shared: Option<Arc<dyn SharedCache>>,
}

/// What an inversion is made of.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    record: &'a RunRecord,
    /// The memory of its first step, where not all are made in one.
    began_in: Option<&'a str>,
    /// The layers whose maps it keeps, where they are not those that the model keeps of every inversion.
    layers: Option<String>,
}

impl<'a> Made<'a> {
    /// Of what is recorded of a run with this model.
    ///
    /// # Errors
    /// When the settings name a block that the model does not have.
    pub(crate) fn by(
        nets: &dyn VideoModel,
        record: &'a RunRecord,
        began_in: Option<&'a str>,
    ) -> Result<Self> {
        let kept = nets.kept_layers(&record.settings)?;
        let names = || kept.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(",");
        let layers = (kept != nets.guidance_layers().cross).then(names);
        Ok(Self { record, began_in, layers })
    }
}

/// The user's cache. That there is no place for it is reported, and no reason to fail.
pub(crate) fn of_user(progress: &mut Progress) -> Result<Option<Cache>> {
    match Cache::open() {
        Err(error) if error.is::<NoHome>() => {
            progress.warn(format!("{NOT_KEPT}: {error}"));
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

impl InversionCache {
    /// For the source of a run, in the user's cache if it may be used.
    pub(crate) fn of(made: &Made, cache: Option<Cache>) -> Self {
        Self {
            place: cache.zip(Self::key(made)),
            is_store: false,
            keeps: made.began_in.is_none(),
            shared: None,
        }
    }

    /// As [`InversionCache::of`], in a folder where every run of one source and source prompt finds the same inversion.
    pub(crate) fn store(made: &Made, folder: &Path) -> Self {
        let cache = Some(Cache::at(folder.to_owned()));
        Self {
            place: cache.zip(Self::key(made)),
            is_store: true,
            keeps: made.began_in.is_none(),
            shared: None,
        }
    }

    /// The same, with a cache behind it that others share.
    pub(crate) fn before(self, shared: Option<Arc<dyn SharedCache>>) -> Self {
        Self { shared, ..self }
    }

    /// Brings here what others have made; they may have nothing, or be out of reach.
    fn bring(&self, cache: &Cache, key: &Key) {
        if let Some(shared) = &self.shared {
            let _ = cache.put(key, |folder| {
                ensure!(shared.bring(key.name(), folder)?, "nothing is known");
                Ok(())
            });
        }
    }

    /// Whether what lies here goes before what this run has begun itself.
    pub(crate) fn is_store(&self) -> bool {
        self.is_store
    }

    /// Waits while another process makes this inversion for the store. Others wait until the turn is dropped.
    pub(crate) fn turn(&self, progress: &Progress) -> Result<Option<File>> {
        let Some((cache, key)) = self.place.as_ref().filter(|_| self.is_store) else { return Ok(None) };
        let cannot = || unfinished::cannot_be_written(cache.folder());
        std::fs::create_dir_all(cache.folder()).with_context(cannot)?;
        let lock = cache.folder().join(format!("{}.lock", key.name()));
        let file = File::create(lock).with_context(cannot)?;
        while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            if progress.is_cancelled() {
                return Err(Error::Stopped.into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(Some(file))
    }

    fn key(Made { record, began_in, layers }: &Made) -> Option<Key> {
        let memory = (*began_in).or(record.program.memory.as_deref());
        record.source.as_ref().map(|source| {
            let (steps, threads) = (record.settings.steps.to_string(), record.program.threads.to_string());
            let VideoRecord { width, height, frames, .. } = record.video;
            let size = format!("{width}x{height}x{frames}");
            let context = record.settings.context();
            // One window is the whole clip, whatever the settings.
            let at_once = context.frames_at_once(i64::from(frames));
            let windows =
                (at_once < i64::from(frames)).then(|| format!("{at_once} overlap {}", context.overlap));
            let mut parts = vec![
                ("frames", source.frames_sha256.as_str()),
                ("size", &size),
                ("prompt", record.prompts.source_prompt.as_deref().unwrap_or_default()),
                ("model", &record.model.sha256),
                ("steps", &steps),
                ("subject_map", named(record.settings.subject_map)),
                // The last bits depend on these, and a run must give the same bytes with the cache and without.
                ("device", record.program.device.as_deref().unwrap_or_default()),
                ("precision", record.program.precision.as_deref().unwrap_or_default()),
                ("memory", memory.unwrap_or_default()),
                ("threads", &threads),
                ("libtorch", &record.program.libtorch),
                ("version", &record.program.version),
            ];
            parts.extend(windows.as_deref().map(|windows| ("windows", windows)));
            parts.extend(layers.as_deref().map(|layers| ("layers", layers)));
            Key::of(&parts)
        })
    }

    /// The inversion, if it was made before. A damaged one is reported and removed.
    pub(crate) fn get(&self, progress: &mut Progress) -> Option<Inversion> {
        let (cache, key) = self.place.as_ref()?;
        let damaged = |why: &str| format!("the cached inversion was damaged ({why}) and is made again");
        let found = match cache.get(key) {
            Found::Nothing => {
                self.bring(cache, key);
                cache.get(key)
            }
            found => found,
        };
        match found {
            Found::Nothing => None,
            Found::Damaged(why) => {
                progress.warn(damaged(&why));
                None
            }
            Found::Whole(entry) => {
                let inversion = Weights::open(&entry.folder().join(TENSORS))
                    .map_err(anyhow::Error::from)
                    .and_then(|weights| inversion_in(&weights));
                match inversion {
                    Ok(inversion) => {
                        progress.note("invert: taken from the cache, where an earlier run left it");
                        Some(inversion)
                    }
                    Err(error) => {
                        progress.warn(damaged(&format!("{error:#}")));
                        None
                    }
                }
            }
        }
    }

    /// Keeps an inversion. A cache that cannot be written to is reported, and no reason to fail.
    pub(crate) fn put(&self, inversion: &Inversion, progress: &mut Progress) {
        let Some((cache, key)) = self.place.as_ref().filter(|_| self.keeps) else { return };
        let kept =
            cache.put(key, |folder| map_tensors::write(&folder.join(TENSORS), &inversion_tensors(inversion)));
        if let Some(shared) = &self.shared
            && let Found::Whole(entry) = cache.get(key)
        {
            // Without it, another machine makes it again.
            let _ = shared.keep(key.name(), entry.folder());
        }
        if let Err(error) = kept {
            let reason = error::message(&error);
            progress.warn(format!("{NOT_KEPT}: {reason}"));
        }
    }
}
