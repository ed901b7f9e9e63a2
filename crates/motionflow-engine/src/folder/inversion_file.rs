//! An inversion on disk: `inversion.toml` says of what, `inversion.safetensors` holds it.
//!
//! Tensors: `latents` [1, channels, frames, height, width] float32, `frames` [frames, height, width, 3] bytes (the
//! source as it was used; not in the cache), and the attention maps, `map/TIMESTEP/SUBJECT/LAYER` [frames, places] float32.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use motionflow::checkpoint::Weights;
use motionflow::error::Error;
use motionflow::inversion::Inversion;
use motionflow::latents::Latents;
use motionflow::model::VideoModel;
use motionflow::settings::{MaskSource, Preset, Settings, SubjectMap};
use motionflow::small_file;
use motionflow_media::image::RgbImage;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::Misuse;
use crate::folder::map_tensors::{self, map_tensors, maps_at, tensor};
use crate::folder::record::{ModelRecord, ProgramRecord, SourceRecord, VideoRecord, write_toml};
use crate::request::recommended::Video;
use crate::source::{SourceClip, check_utf8, sha256_of_file};

/// The record's name in the folder.
pub const RECORD: &str = "inversion.toml";
/// The tensors' name in the folder.
pub const TENSORS: &str = "inversion.safetensors";

/// `inversion.toml`: what was inverted, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InversionRecord {
    pub(crate) source_prompt: String,
    pub(crate) steps: usize,
    /// Whose attention its maps are; earlier versions wrote the words' alone.
    #[serde(default)]
    pub(crate) subject_map: SubjectMap,
    /// Of the tensors' file.
    #[serde(default)]
    pub(crate) sha256: String,
    pub(crate) program: ProgramRecord,
    pub(crate) source: SourceRecord,
    pub(crate) video: VideoRecord,
    pub(crate) model: ModelRecord,
}

/// A checkpoint's name, with that of its motion adapter.
fn describe(model: &ModelRecord) -> String {
    match &model.motion_adapter {
        Some(adapter) => format!("{} with {adapter}", model.name),
        None => model.name.clone(),
    }
}

/// Checks that a saved inversion is of the shape and the layers that this model makes.
pub(crate) fn check_fit(
    inversion: &Inversion,
    model: &dyn VideoModel,
    video: &Video,
    settings: &Settings,
) -> Result<()> {
    let unfit = |what: String| Err(Error::Inversion(format!("{what}; invert again")).into());
    let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
    let expected = settings.context().noise(model, [frames, height, width], 0)?.tensor().size();
    let found = inversion.latents.tensor().size();
    if found != expected {
        return unfit(format!("its latents have the shape {found:?}, this model's {expected:?}"));
    }
    let layers = model.kept_layers(settings)?;
    let layers: BTreeSet<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    for maps in inversion.maps.at.values().flatten() {
        if !maps.keys().map(String::as_str).eq(layers.iter().copied()) {
            return unfit("its attention maps are of other layers than this model's".to_owned());
        }
        if let Some(map) = maps.values().find(|map| inversion.latents.map_size(map.size()[1]).is_none()) {
            return unfit(format!("one of its attention maps has the shape {:?}", map.size()));
        }
    }
    Ok(())
}

/// The tensors of an inversion, by name.
pub(crate) fn inversion_tensors(inversion: &Inversion) -> Vec<(String, Tensor)> {
    let latents = inversion.latents.tensor().to_kind(Kind::Float).contiguous();
    let maps = inversion.maps.at.iter().flat_map(|(timestep, subjects)| map_tensors(*timestep, subjects));
    std::iter::once(("latents".to_owned(), latents)).chain(maps).collect()
}

/// The inversion in a file of such tensors.
pub(crate) fn inversion_in(weights: &Weights) -> Result<Inversion> {
    let latents = tensor(weights, "latents", Kind::Float)?;
    let shape = latents.size();
    ensure!(
        shape.len() == 5 && shape[0] == 1,
        "latents: the shape is {shape:?}, expected [1, channels, frames, height, width]"
    );
    Ok(Inversion { latents: Latents::new(latents), maps: maps_at(weights)? })
}

/// Writes both files into `folder`.
pub(crate) fn write(
    folder: &Path,
    inversion: &Inversion,
    frames: &[RgbImage],
    mut record: InversionRecord,
) -> Result<()> {
    let size = [i64::from(record.video.height), i64::from(record.video.width), 3];
    let frames: Vec<Tensor> =
        frames.iter().map(|frame| Tensor::from_slice(frame.as_raw()).view(size)).collect();
    let mut tensors = inversion_tensors(inversion);
    tensors.push(("frames".to_owned(), Tensor::stack(&frames, 0)));
    let path = folder.join(TENSORS);
    map_tensors::write(&path, &tensors)?;
    record.sha256 = sha256_of_file(&path)?;
    write_toml(&folder.join(RECORD), "What `motionflow invert` inverted.", &record)
}

/// An inversion whose record was read; its tensors were not yet.
#[derive(Debug)]
pub(crate) struct SavedInversion {
    folder: PathBuf,
    pub(crate) record: InversionRecord,
}

impl SavedInversion {
    /// Reads the record of the folder that `motionflow invert` made.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        check_utf8("--inversion", folder)?;
        let path = folder.join(RECORD);
        let text = match small_file::read_text(&path, small_file::CONFIG) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!(
                    "--inversion {}: holds no {RECORD}; give a folder that `motionflow invert` made",
                    folder.display()
                );
                return Err(Misuse(message).into());
            }
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", path.display())),
        };
        let unfit = || format!("{}: is not the record of an inversion; invert again", path.display());
        let record = toml::from_str(&text).with_context(unfit)?;
        Ok(Self { folder: folder.to_owned(), record })
    }

    /// Takes over from which token the maps were made, unless a transfer is requested (`said`) that wants the other. Maps
    /// that do not come from the inversion are free.
    pub(crate) fn fix_subject_map(&self, settings: &mut Settings, said: Option<SubjectMap>) -> Result<()> {
        if settings.mask_source != MaskSource::Inversion {
            return Ok(());
        }
        let made = self.record.subject_map;
        let is_free = said.is_none() && settings.preset == Preset::Default;
        if !is_free && settings.subject_map != made {
            let [made, wanted] = [made, settings.subject_map].map(named);
            let what = format!(
                "it was made with --subject-map {made}, this run wants {wanted}; invert again with --subject-map {wanted}"
            );
            return Err(Error::Inversion(what).into());
        }
        settings.subject_map = made;
        Ok(())
    }

    /// Reads the tensors, after a check that they are whole and of `model`.
    pub(crate) fn load(&self, model: &ModelRecord) -> Result<(SourceClip, Inversion)> {
        let record = &self.record;
        if record.model.sha256 != model.sha256 {
            let (made, uses) = (describe(&record.model), describe(model));
            let made = if made == uses { format!("another version of {made}") } else { made };
            return Err(Error::Inversion(format!(
                "it was made with {made}, this run uses {uses}; invert with this one, or give the other to --model (and \
                 --motion-adapter)"
            ))
            .into());
        }
        self.check_tensors(sha256_of_file)?;
        let path = self.folder.join(TENSORS);
        let weights = Weights::open(&path).map_err(Error::from)?;
        self.unpack(&weights)
            .with_context(|| format!("{}: does not hold an inversion; invert again", path.display()))
    }

    /// Checks that the tensors' file is the one that the record tells of.
    pub(crate) fn check_tensors(&self, sha256_of: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
        let path = self.folder.join(TENSORS);
        let damaged = || {
            format!("{}: is not the file that {RECORD} tells of: it is damaged; invert again", path.display())
        };
        if sha256_of(&path).with_context(damaged)? != self.record.sha256 {
            bail!(damaged());
        }
        Ok(())
    }

    /// What a run that uses it records of its source.
    pub(crate) fn source_record(&self) -> SourceRecord {
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
        SourceRecord {
            inversion: Some(folder.display().to_string()),
            inversion_sha256: Some(self.record.sha256.clone()),
            ..self.record.source.clone()
        }
    }

    fn unpack(&self, weights: &Weights) -> Result<(SourceClip, Inversion)> {
        let VideoRecord { width, height, frames: count, .. } = self.record.video;
        let frames = tensor(weights, "frames", Kind::Uint8)?;
        let expected = [i64::from(count), i64::from(height), i64::from(width), 3];
        ensure!(frames.size() == expected, "frames: the shape is {:?}, expected {expected:?}", frames.size());
        let inversion = inversion_in(weights)?;
        let in_latents = inversion.latents.frames();
        // A latent frame may stand for several.
        let expected = 1..=i64::from(count);
        ensure!(
            expected.contains(&in_latents),
            "latents: they have {in_latents} frames, expected at most {count}"
        );
        let frames = pictures(&frames, width, height)?;
        let source = SourceClip { frames, record: self.source_record(), notices: Vec::new() };
        Ok((source, inversion))
    }
}

/// As on the command line.
pub(crate) fn named(map: SubjectMap) -> &'static str {
    match map {
        SubjectMap::Word => "word",
        SubjectMap::End => "end",
    }
}

/// [frames, height, width, 3] -> pictures
fn pictures(frames: &Tensor, width: u32, height: u32) -> Result<Vec<RgbImage>> {
    let bytes = Vec::<u8>::try_from(frames.contiguous().view([-1]))?;
    let size = (width as usize * height as usize * 3).max(1);
    Ok(bytes.chunks(size).filter_map(|rgb| RgbImage::from_raw(width, height, rgb.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use motionflow::masks::{LayerMaps, SubjectMaps};

    use super::*;

    fn record() -> InversionRecord {
        InversionRecord {
            source_prompt: "a [car]".into(),
            steps: 2,
            subject_map: SubjectMap::Word,
            sha256: String::new(),
            program: ProgramRecord {
                command: "invert".into(),
                version: "0".into(),
                libtorch: "0".into(),
                ffmpeg: "0".into(),
                threads: 1,
                device: None,
                precision: None,
                memory: None,
            },
            source: SourceRecord {
                path: "clip.mp4".into(),
                sha256: None,
                frames_sha256: String::new(),
                start: 0.0,
                every: 1,
                fit: "crop".into(),
                fps: 8.0,
                inversion: None,
                inversion_sha256: None,
            },
            video: VideoRecord { width: 16, height: 8, frames: 2, fps: 8.0 },
            model: model("1"),
        }
    }

    fn model(sha256: &str) -> ModelRecord {
        ModelRecord {
            name: "demo".into(),
            path: "models/demo".into(),
            revision: None,
            motion_adapter: None,
            motion_adapter_path: None,
            motion_adapter_revision: None,
            beta_schedule: None,
            sha256: sha256.into(),
        }
    }

    fn saved() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let latents = Tensor::arange(4 * 2 * 2, (Kind::Float, tch::Device::Cpu)).view([1, 4, 2, 1, 2]);
        let map = Tensor::from_slice(&[0.5f32, 0.1, 0.2, 0.7]).view([2, 2]);
        let layers = || LayerMaps::from([("mid.attn2".to_owned(), map.shallow_clone())]);
        let maps =
            SubjectMaps { at: [(501, vec![layers(), layers()]), (1, vec![layers(), layers()])].into() };
        let frames = [RgbImage::from_pixel(16, 8, [1, 2, 3].into()), RgbImage::new(16, 8)];
        write(folder.path(), &Inversion { latents: Latents::new(latents), maps }, &frames, record()).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = saved();
        let (source, inversion) = SavedInversion::open(folder.path()).unwrap().load(&model("1")).unwrap();
        assert_eq!(source.frames[0].get_pixel(15, 7).0, [1, 2, 3]);
        assert_eq!(inversion.latents.tensor().int64_value(&[0, 3, 1, 0, 1]), 15);
        assert_eq!(inversion.maps.at[&1].len(), 2);
        let map = &inversion.maps.at[&501][1]["mid.attn2"];
        assert_eq!(Vec::<f32>::try_from(map.flatten(0, 1)).unwrap(), [0.5, 0.1, 0.2, 0.7]);
    }

    #[test]
    fn another_model_and_a_damaged_file_are_refused() {
        let folder = saved();
        let message = |sha256| {
            format!("{:#}", SavedInversion::open(folder.path()).unwrap().load(&model(sha256)).unwrap_err())
        };
        assert!(message("2").contains("another version"), "{}", message("2"));
        let path = folder.path().join(TENSORS);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.pop();
        std::fs::write(&path, bytes).unwrap();
        assert!(message("1").contains("damaged"), "{}", message("1"));
    }
}
