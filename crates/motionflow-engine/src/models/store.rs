//! The checkpoints that stay loaded from run to run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;

use super::found::FoundModel;
use crate::progress::Progress;
use crate::request::tables;

/// The checkpoints that were found, and as what.
#[derive(Debug, Default)]
pub(crate) struct FoundModels(Vec<(tables::Model, Arc<FoundModel>)>);

impl FoundModels {
    /// Finds the checkpoint that a request names, and fetches it if need be.
    pub(crate) fn find(
        &mut self,
        choice: &tables::Model,
        progress: &mut Progress,
    ) -> Result<Arc<FoundModel>> {
        if let Some((_, found)) = self.0.iter().find(|(before, _)| before == choice) {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(FoundModel::find(choice, progress)?);
        self.0.push((choice.clone(), Arc::clone(&found)));
        Ok(found)
    }
}

/// The checkpoints that are loaded, the least recently used first.
#[derive(Debug, Default)]
pub struct ModelStore {
    loaded: Vec<LoadedModel>,
}

/// A checkpoint whose nets are loaded, and what they have made of prompts.
pub struct LoadedModel {
    found: Arc<FoundModel>,
    compute: Compute,
    nets: Box<dyn VideoModel + Send>,
    encoded: RefCell<HashMap<Prompt, EncodedPrompt>>,
}

impl std::fmt::Debug for LoadedModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LoadedModel").field("compute", &self.compute).finish_non_exhaustive()
    }
}

impl ModelStore {
    /// The nets of a checkpoint, loaded once for runs in a row.
    ///
    /// # Errors
    /// When they cannot be loaded, or the run is to stop.
    pub fn load(
        &mut self,
        found: &Arc<FoundModel>,
        compute: Compute,
        progress: &mut Progress,
    ) -> Result<&LoadedModel> {
        let known = self.loaded.iter().position(|loaded| loaded.is_of(found, compute).unwrap_or(false));
        let model = if let Some(known) = known {
            self.loaded.remove(known)
        } else {
            progress.cancel_token().check()?;
            let nets = found.load(compute, progress)?;
            progress.cancel_token().check()?;
            LoadedModel { found: Arc::clone(found), compute, nets, encoded: RefCell::default() }
        };
        self.loaded.push(model);
        self.loaded.last().ok_or_else(|| anyhow::anyhow!("{}: no nets were loaded", crate::error::FAULT))
    }

    /// Drops checkpoints, the least recently used first, until a run of `found` fits into memory beside the bytes of the rest.
    pub(crate) fn make_room(
        &mut self,
        found: &Arc<FoundModel>,
        compute: Compute,
        fits: impl Fn(u64) -> bool,
    ) {
        loop {
            let is_other =
                |loaded: &&LoadedModel| !(Arc::ptr_eq(&loaded.found, found) && loaded.compute == compute);
            let others: u64 = self.loaded.iter().filter(is_other).map(LoadedModel::bytes).sum();
            let Some(oldest) = self.loaded.iter().position(|loaded| is_other(&loaded)) else { return };
            if fits(others) {
                return;
            }
            self.loaded.remove(oldest);
        }
    }
}

impl LoadedModel {
    fn is_of(&self, found: &Arc<FoundModel>, compute: Compute) -> Result<bool> {
        Ok(self.compute == compute
            && (Arc::ptr_eq(&self.found, found) || self.found.record()?.sha256 == found.record()?.sha256))
    }

    /// What the weights take. Nothing is kept of it: a run with one checkpoint never asks.
    fn bytes(&self) -> u64 {
        let parameters = self.found.costs(&[]).map_or(0, |costs| costs.parameters());
        parameters * self.compute.kind.elt_size_in_bytes() as u64
    }

    /// The nets.
    pub fn nets(&self) -> &dyn VideoModel {
        &*self.nets
    }

    /// What the nets make of a prompt, once for runs in a row.
    ///
    /// # Errors
    /// As [`VideoModel::encode_prompts`].
    pub fn encode(&self, prompt: &Prompt) -> Result<EncodedPrompt> {
        self.encode_ahead(&[prompt])?;
        Ok(self.encoded.borrow()[prompt].share())
    }

    /// Encodes prompts that will be requested, all at once, which takes as long as one where the text encoder is read for it.
    ///
    /// # Errors
    /// As [`VideoModel::encode_prompts`].
    pub fn encode_ahead(&self, prompts: &[&Prompt]) -> Result<()> {
        let mut known = self.encoded.borrow_mut();
        let new: Vec<&Prompt> =
            prompts.iter().copied().filter(|prompt| !known.contains_key(prompt)).collect();
        if !new.is_empty() {
            let encoded = self.nets.encode_prompts(&new)?;
            known.extend(new.into_iter().cloned().zip(encoded));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::Device;

    use super::*;

    #[test]
    fn the_least_recently_used_checkpoint_makes_room() {
        let find = |case: &str| {
            let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../motionflow/tests/cases");
            let mut choice = tables::Model::default();
            choice.chosen.name = Some(cases.join(case).join("model").to_str().unwrap().to_owned());
            Arc::new(FoundModel::find(&choice, &mut Progress::silent()).unwrap())
        };
        let compute = Compute::exact(Device::Cpu);
        let [one, two, three] = ["tiny", "tiny-odd-words", "tiny-one-frame"].map(find);
        let mut store = ModelStore::default();
        for found in [&one, &two, &one] {
            store.load(found, compute, &mut Progress::silent()).unwrap();
        }
        let of_one = store.loaded[1].bytes();
        assert!(of_one > 0);
        store.make_room(&three, compute, |others| others <= of_one);
        assert_eq!(store.loaded.len(), 1);
        assert!(Arc::ptr_eq(&store.loaded[0].found, &one));
        store.make_room(&one, compute, |_| false);
        assert_eq!(store.loaded.len(), 1, "the run's own stays");
        store.make_room(&three, compute, |_| false);
        assert!(store.loaded.is_empty());
    }
}
