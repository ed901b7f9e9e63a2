//! What a checkpoint recommends: `motionflow.toml` in its folder.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow::settings::Settings;
use motionflow::small_file;
use serde::Deserialize;

/// The file's name.
pub(crate) const FILE: &str = "motionflow.toml";

/// Defaults that suit a checkpoint better than the general ones.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Recommended {
    /// The method's settings; those that the file leaves out are the general defaults.
    pub(crate) settings: Settings,
    /// The video's size.
    pub(crate) video: Video,
    /// What is usually put into the negative prompt.
    pub(crate) negative_prompt: String,
}

/// The size of the videos that a checkpoint was trained on. `Default` is ZeroScope's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Video {
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// Number of frames.
    pub(crate) frames: u32,
    /// Frames per second.
    pub(crate) fps: f64,
}

impl Default for Video {
    fn default() -> Self {
        Self { width: 576, height: 320, frames: 24, fps: 8.0 }
    }
}

impl Recommended {
    /// Reads the file of a checkpoint's folder; the general defaults where there is none.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match small_file::read_text(&path, small_file::CONFIG) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", path.display())),
        };
        toml::from_str(&text).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_general_default() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Recommended::of(folder.path()).unwrap(), Recommended::default());
        std::fs::write(folder.path().join(FILE), "[video]\nwidth = 128\n[settings]\nsteps = 20").unwrap();
        let recommended = Recommended::of(folder.path()).unwrap();
        assert_eq!((recommended.video.width, recommended.video.height), (128, 320));
        assert_eq!((recommended.settings.steps, recommended.settings.tau), (20, 0.4));
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "[video]\nwith = 128").unwrap();
        let message = format!("{:#}", Recommended::of(folder.path()).unwrap_err());
        assert!(message.contains(FILE) && message.contains("with") && message.contains("width"), "{message}");
    }
}
