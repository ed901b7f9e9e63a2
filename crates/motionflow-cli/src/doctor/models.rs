//! Checkpoints: the shipped one, and the folder for others.

use std::path::Path;

use anyhow::Result;
use motionflow::compute::Compute;
use tch::Device;

use super::Finding;
use motionflow_engine::error::message;
use motionflow_engine::hub::Hub;
use motionflow_engine::models::found::{FoundModel, SHIPPED};
use motionflow_engine::models::lookup::FOLDER_VARIABLE;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::tables as request;
use motionflow_engine::units::{free_space, readable};

pub(super) fn look() -> Vec<Finding> {
    let shipped = shipped().unwrap_or_else(|error| Finding::error(&error));
    std::iter::once(shipped).chain(named_folder()).chain([hub()]).collect()
}

/// Where checkpoints from the hub go.
fn hub() -> Finding {
    let hub = match Hub::new() {
        Ok(hub) => hub,
        Err(error) => {
            return Finding::warning(message(&error), "until then, only checkpoints in folders can be used");
        }
    };
    let count = hub.snapshots().len();
    let folder = hub.cache().display();
    let there = hub.cache().ancestors().find(|folder| folder.exists());
    let space =
        there.and_then(free_space).map(|free| format!(", {} free", readable(free))).unwrap_or_default();
    Finding::ok(format!("{count} from the Hugging Face hub, in {folder}{space}"))
}

/// Loads all its weights, so that a part that is missing or damaged shows.
fn shipped() -> Result<Finding> {
    let progress = &mut Progress::silent();
    let found = FoundModel::find(&request::Model::default(), progress)?;
    found.load(Compute::exact(Device::Cpu), progress)?;
    Ok(Finding::ok(format!("{SHIPPED}: whole, {}", found.record()?.path)))
}

/// The folder that a variable names, where one is set.
fn named_folder() -> Option<Finding> {
    let folder = std::env::var_os(FOLDER_VARIABLE).filter(|value| !value.is_empty())?;
    let folder = Path::new(&folder);
    let count = std::fs::read_dir(folder).map(|entries| {
        entries.flatten().filter(|entry| entry.path().join("model_index.json").is_file()).count()
    });
    let place = format!("{FOLDER_VARIABLE}: {}", folder.display());
    Some(match count {
        Ok(0) => Finding::warning(
            format!("{place}: holds no checkpoints"),
            "put them there, each in a folder of its name, or unset the variable",
        ),
        Ok(1) => Finding::ok(format!("{place}: 1 checkpoint")),
        Ok(count) => Finding::ok(format!("{place}: {count} checkpoints")),
        Err(error) => Finding::warning(
            format!("{place}: cannot be read: {error}"),
            "set the variable to a folder of checkpoints, or unset it",
        ),
    })
}
