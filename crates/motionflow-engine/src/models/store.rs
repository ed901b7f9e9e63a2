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

/// The checkpoint that was loaded last.
#[derive(Debug, Default)]
pub struct ModelStore {
    loaded: Option<LoadedModel>,
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
        let is_loaded = match &self.loaded {
            Some(loaded) if loaded.compute == compute => {
                Arc::ptr_eq(&loaded.found, found) || loaded.found.record()?.sha256 == found.record()?.sha256
            }
            _ => false,
        };
        if !is_loaded {
            // The one before goes first: there may not be memory for both.
            self.loaded = None;
            progress.cancel_token().check()?;
            let nets = found.load(compute, progress)?;
            progress.cancel_token().check()?;
            self.loaded =
                Some(LoadedModel { found: Arc::clone(found), compute, nets, encoded: RefCell::default() });
        }
        self.loaded.as_ref().ok_or_else(|| anyhow::anyhow!("{}: no nets were loaded", crate::error::FAULT))
    }
}

impl LoadedModel {
    /// The nets.
    pub fn nets(&self) -> &dyn VideoModel {
        &*self.nets
    }

    /// What the nets make of a prompt, once for runs in a row.
    ///
    /// # Errors
    /// As [`VideoModel::encode_prompt`].
    pub fn encode(&self, prompt: &Prompt) -> Result<EncodedPrompt> {
        if let Some(encoded) = self.encoded.borrow().get(prompt) {
            return Ok(encoded.share());
        }
        let encoded = self.nets.encode_prompt(prompt)?;
        self.encoded.borrow_mut().insert(prompt.clone(), encoded.share());
        Ok(encoded)
    }
}
