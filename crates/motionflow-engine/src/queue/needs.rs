//! What a job needs of a worker. Jobs with the same needs wait in one line, so that a worker passes over all that it cannot
//! do at once.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::hub;
use crate::models::found::SHIPPED;
use crate::models::lookup::{CHECKPOINT, MOTION_ADAPTER, is_local, is_on_hub};
use crate::progress::Progress;
use crate::request::Request;
use crate::request::tables::Model;
use crate::source::hex;

/// What a job needs of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The checkpoint, by name or folder.
    pub model: String,
    /// Its motion adapter.
    pub motion_adapter: Option<String>,
    /// Their hash, where who submitted the job has them.
    pub sha256: Option<String>,
    /// What memory depends on, as text: size, windows, precision, memory.
    pub size: String,
}

impl Needs {
    /// Of a request.
    ///
    /// # Errors
    /// When the checkpoint is here, but damaged.
    pub fn of(request: &Request, engine: &Engine, progress: &mut Progress) -> Result<Self> {
        let chosen = &request.model.chosen;
        let sha256 = if is_here(&request.model)? {
            let found = engine.find(&request.model, progress)?;
            found.prepare_record();
            Some(found.record()?.sha256)
        } else {
            None
        };
        let (video, context) = (&request.video.size, &request.settings.context);
        let resources = &request.program.resources;
        let size = format!(
            "{:?}x{:?}x{:?} {context:?} {:?} {:?} {:?}",
            video.width, video.height, video.frames, resources.device, resources.precision, resources.memory
        );
        Ok(Self {
            model: chosen.name.clone().unwrap_or_else(|| SHIPPED.to_owned()),
            motion_adapter: chosen.motion_adapter.clone(),
            sha256,
            size,
        })
    }

    /// The name of the line in which such jobs wait.
    pub fn line(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex(&Sha256::digest(text))[..16].to_owned()
    }

    /// To read.
    pub fn words(&self) -> String {
        match &self.motion_adapter {
            Some(adapter) => format!("{} with {adapter}", self.model),
            None => self.model.clone(),
        }
    }

    /// Why this machine cannot do such jobs; none where it may. Nothing is fetched for it.
    pub fn lacking(&self, engine: &Engine, progress: &mut Progress) -> Option<String> {
        let mut model = Model::default();
        model.chosen.name = Some(self.model.clone());
        model.chosen.motion_adapter.clone_from(&self.motion_adapter);
        match is_here(&model) {
            Ok(true) => {}
            Ok(false) => return Some(format!("the checkpoint {} is not here", self.model)),
            Err(error) => return Some(format!("{error:#}")),
        }
        let found = match engine.find(&model, progress) {
            Ok(found) => found,
            Err(error) => return Some(crate::error::message(&error)),
        };
        let wanted = self.sha256.as_ref()?;
        match found.record() {
            Ok(record) if record.sha256 == *wanted => None,
            Ok(_) => Some(format!("the checkpoint {} is another one here", self.model)),
            Err(error) => Some(crate::error::message(&error)),
        }
    }
}

/// Whether a checkpoint, and its motion adapter, are on this machine.
fn is_here(model: &Model) -> Result<bool> {
    let chosen = &model.chosen;
    let name = chosen.name.as_deref().unwrap_or(SHIPPED);
    let on_disk = |name: &str, revision: Option<&str>, is_adapter: bool| -> Result<bool> {
        if !is_on_hub(name) {
            return Ok(is_local(name, if is_adapter { MOTION_ADAPTER } else { CHECKPOINT }));
        }
        let revision = revision.unwrap_or(hub::REVISION);
        let hub = if is_adapter {
            hub::Hub::of_motion_adapters()?
        } else {
            hub::Hub::for_repository(name, revision)?
        };
        Ok(hub.here(name, revision)?.is_some_and(|snapshot| snapshot.missing().is_empty()))
    };
    let adapter = chosen.motion_adapter.as_deref();
    let adapter = adapter.map(|name| on_disk(name, chosen.motion_adapter_revision.as_deref(), true));
    Ok(on_disk(name, chosen.revision.as_deref(), false)? && adapter.transpose()?.unwrap_or(true))
}
