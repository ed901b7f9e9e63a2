//! Inversions in the user's cache, by all that they depend on.

use anyhow::Result;
use motionflow::checkpoint::Weights;
use motionflow::inversion::Inversion;

use crate::cache::{Cache, Found, Key};
use crate::inversion_file::{TENSORS, inversion_in, inversion_tensors, named};
use crate::map_tensors;
use crate::progress::Progress;
use crate::record::{RunRecord, VideoRecord};

/// The place of one run's inversion in the cache, if the run may use it.
#[derive(Debug)]
pub(crate) struct InversionCache(Option<(Cache, Key)>);

impl InversionCache {
    /// For the source of a run.
    pub(crate) fn of(record: &RunRecord, allowed: bool) -> Result<Self> {
        let cache = if allowed { Some(Cache::open()?) } else { None };
        let key = record.source.as_ref().map(|source| {
            let (steps, threads) = (record.settings.steps.to_string(), record.program.threads.to_string());
            let VideoRecord { width, height, frames, .. } = record.video;
            let size = format!("{width}x{height}x{frames}");
            Key::of(&[
                ("frames", &source.frames_sha256),
                ("size", &size),
                ("prompt", record.prompts.source_prompt.as_deref().unwrap_or_default()),
                ("model", &record.model.sha256),
                ("steps", &steps),
                ("subject_map", named(record.settings.subject_map)),
                ("precision", "float32"),
                // The last bits depend on these, and a run must give the same bytes with the cache and without.
                ("device", "cpu"),
                ("threads", &threads),
                ("libtorch", &record.program.libtorch),
                ("version", &record.program.version),
            ])
        });
        Ok(Self(cache.zip(key)))
    }

    /// The inversion, if it was made before. A damaged one is told and removed.
    pub(crate) fn get(&self, progress: &mut Progress) -> Option<Inversion> {
        let (cache, key) = self.0.as_ref()?;
        let damaged = |why: &str| format!("the cached inversion was damaged ({why}) and is made again");
        match cache.get(key) {
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

    /// Keeps an inversion. A cache that cannot be written to is told, and no reason to fail.
    pub(crate) fn put(&self, inversion: &Inversion, progress: &mut Progress) {
        let Some((cache, key)) = &self.0 else { return };
        let kept =
            cache.put(key, |folder| map_tensors::write(&folder.join(TENSORS), &inversion_tensors(inversion)));
        if let Err(error) = kept {
            progress.warn(format!("the inversion is not kept for later runs: {error:#}"));
        }
    }
}
