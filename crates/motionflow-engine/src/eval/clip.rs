//! What CLIP says of a video: does it show what the prompt says, and the same from frame to frame?

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use motionflow_eval::clip::model::ClipModel;
use motionflow_eval::figure::Figure;
use motionflow_media::image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::error::message;
use crate::hub::{self, Hub, Layout};
use crate::models::lookup::{Lookup, folder_of, is_on_hub, named};
use crate::progress::Progress;

/// What is taken when nothing is said.
const DEFAULT: &str = "openai/clip-vit-base-patch32";

/// To do without.
const NONE: &str = "none";

/// Which figures there are not without it.
const LEFT_OUT: &str = "text similarity and temporal consistency are left out";

const CLIP: Lookup = Lookup {
    flag: "--clip",
    noun: "CLIP model",
    instead: "one in the Hugging Face layout of CLIP, a name, or OWNER/NAME on the Hugging Face hub",
};

/// A CLIP model with its name.
#[derive(Debug)]
pub(super) struct Clip {
    name: String,
    model: ClipModel,
}

/// Where a CLIP model is that needs not be fetched.
pub(super) enum Here {
    Folder(PathBuf),
    /// In the hub's cache.
    Commit(String),
}

/// The model that was requested, if there is one and it is here.
pub(super) fn here(requested: Option<&str>) -> Option<Here> {
    let name = requested.unwrap_or(DEFAULT);
    if name == NONE {
        return None;
    }
    if !is_on_hub(name) {
        return folder_of(name, CLIP).ok().map(Here::Folder);
    }
    let snapshot = Hub::of(Layout::Clip).ok()?.here(name, hub::REVISION).ok()??;
    snapshot.missing().is_empty().then_some(Here::Commit(snapshot.commit))
}

impl Clip {
    /// The model that was requested; none where it was asked to do without, or where the default cannot be had.
    pub(super) fn load(
        requested: Option<&str>,
        device: Device,
        progress: &mut Progress,
    ) -> Result<Option<Self>> {
        let name = requested.unwrap_or(DEFAULT);
        if name == NONE {
            progress.note(&format!("{LEFT_OUT}: --clip none"));
            return Ok(None);
        }
        let (name, revision) = named(CLIP.flag, name, None)?;
        let (name, revision) = (name.as_str(), revision.as_deref().unwrap_or(hub::REVISION));
        let folder = if is_on_hub(name) {
            match Hub::of(Layout::Clip).and_then(|hub| hub.get(name, revision, progress)) {
                Ok(snapshot) => snapshot.folder,
                Err(error) if requested.is_none() => {
                    progress.warn(format!(
                        "{LEFT_OUT}: the default of --clip cannot be had: {}",
                        message(&error)
                    ));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        } else {
            folder_of(name, CLIP)?
        };
        let stage = progress.stage("load", 1);
        let model = ClipModel::load(&folder, device, Kind::Float)
            .with_context(|| format!("cannot load the CLIP model {}", folder.display()))?;
        stage.finish();
        Ok(Some(Self { name: name.to_owned(), model }))
    }

    /// Text similarity: the mean cosine of the frames' embeddings with the text's, if there is one. Temporal consistency:
    /// that of consecutive frames, where there are several.
    pub(super) fn measure(&self, frames: &[RgbImage], text: Option<&str>) -> Result<Vec<Figure>> {
        let Some(first) = frames.first() else { return Ok(Vec::new()) };
        let text = text.map(|text| self.model.embed_text(text)).transpose()?;
        let bytes: Vec<&[u8]> = frames.iter().map(|frame| frame.as_raw().as_slice()).collect();
        let embedded = self.model.embed_images(&bytes, first.width() as usize, first.height() as usize);
        if !text.iter().chain([&embedded]).all(|embedding| embedding.isfinite().all().int64_value(&[]) == 1) {
            bail!(
                "the CLIP model {} gave values that are not finite: get it anew, or give another (--clip)",
                self.name
            );
        }
        let mut figures = Vec::new();
        figures.extend(text.map(|text| self.figure("text_similarity", &embedded.matmul(&text))));
        let pairs = frames.len() as i64 - 1;
        if pairs > 0 {
            let cosines = (embedded.narrow(0, 0, pairs) * embedded.narrow(0, 1, pairs)).sum_dim_intlist(
                -1,
                false,
                Kind::Float,
            );
            figures.push(self.figure("temporal_consistency", &cosines));
        }
        Ok(figures)
    }

    fn figure(&self, name: &str, cosines: &Tensor) -> Figure {
        // Rounding leads a little over 1.
        let value = cosines.mean(Kind::Double).double_value(&[]).clamp(-1.0, 1.0);
        Figure { name: name.to_owned(), subject: None, value, made_with: self.name.clone() }
    }
}
