//! What a checkpoint recommends: `motionflow.toml` in its folder.

use std::path::Path;

use anyhow::Result;
use motionflow::architecture::{Architecture, Suited};
use motionflow::settings::{SamplerName, Settings};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::{Table, Value};

use super::domain::Domain;
use super::{SettingOptions, VideoOptions};
use crate::toml_file;

/// The file's name.
pub const FILE: &str = "motionflow.toml";

/// Defaults that suit a checkpoint better than the general ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recommended {
    /// The method's settings; those that the file leaves out are the general defaults.
    pub settings: Settings,
    /// The video's size.
    pub video: Video,
    /// The number of frames that it is made for, where that is known.
    pub made_for_frames: Option<u32>,
    /// What is usually put into the negative prompt.
    pub negative_prompt: String,
    /// What it knows, where that is little.
    pub domain: Domain,
}

/// The size of the videos that a checkpoint was trained on. `Default` is ZeroScope's.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Number of frames.
    pub frames: u32,
    /// Frames per second.
    pub fps: f64,
}

impl Default for Video {
    fn default() -> Self {
        Self { width: 576, height: 320, frames: 24, fps: 8.0 }
    }
}

/// `motionflow.toml`. Every key may be left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct File {
    negative_prompt: String,
    domain: Domain,
    settings: SettingOptions,
    video: VideoOptions,
}

impl Recommended {
    /// What suits an architecture, with the sampler that a checkpoint's scheduler names.
    pub(crate) fn general(architecture: &dyn Architecture, sampler: SamplerName) -> Self {
        let Suited { width, height, frames, fps, settings, is_made_for_frames, .. } = architecture.suited();
        Self {
            settings: Settings { sampler, ..settings },
            video: Video { width, height, frames, fps },
            made_for_frames: is_made_for_frames.then_some(frames),
            ..Self::default()
        }
    }

    /// All of it, filled in.
    pub(crate) fn to_table(&self) -> Result<Table> {
        let mut table = Table::new();
        table.insert("settings".to_owned(), Value::try_from(&self.settings)?);
        let Video { width, height, frames, fps } = self.video;
        let sides = [("width", width), ("height", height), ("frames", frames)];
        let mut video: Table =
            sides.into_iter().map(|(key, value)| (key.to_owned(), i64::from(value).into())).collect();
        video.insert("fps".to_owned(), fps.into());
        table.insert("video".to_owned(), video.into());
        table.insert("negative_prompt".to_owned(), self.negative_prompt.clone().into());
        Ok(table)
    }

    /// Reads the file of a checkpoint's folder, where there is one. What it does not say of the sampler is as `sampler`, the
    /// one that the checkpoint's scheduler names.
    ///
    /// # Errors
    /// When the file is damaged, or has a key that is not known.
    pub fn of(folder: &Path, sampler: SamplerName) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let File { negative_prompt, domain, settings, video } = toml_file::read(&path)?;
        let made_for_frames = video.size.frames;
        let video = video.resolve(&Video::default())?;
        let settings = settings.resolve(&Settings { sampler, ..Settings::default() });
        Ok(Some(Self { settings, video, made_for_frames, negative_prompt, domain }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_general_default() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Recommended::of(folder.path(), SamplerName::Ddim).unwrap(), None);
        std::fs::write(folder.path().join(FILE), "[video]\nwidth = 128\n[settings]\nsteps = 20").unwrap();
        let recommended = Recommended::of(folder.path(), SamplerName::Ddim).unwrap().unwrap();
        assert_eq!((recommended.video.width, recommended.video.height), (128, 320));
        assert_eq!((recommended.settings.steps, recommended.settings.tau), (20, 0.4));
        let sampler =
            || Recommended::of(folder.path(), SamplerName::UniPc).unwrap().unwrap().settings.sampler;
        assert_eq!(sampler(), SamplerName::UniPc, "as the checkpoint's scheduler names it");
        std::fs::write(folder.path().join(FILE), "[settings]\nsampler = \"dpmpp-2m\"").unwrap();
        assert_eq!(sampler(), SamplerName::Dpmpp2m);
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "[video]\nwith = 128").unwrap();
        let message = format!("{:#}", Recommended::of(folder.path(), SamplerName::Ddim).unwrap_err());
        assert!(message.contains(FILE) && message.contains("with") && message.contains("width"), "{message}");
    }
}
