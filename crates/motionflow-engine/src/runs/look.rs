//! A look at a source: the maps of its subjects by passes on the noised source, and the masks that they make. No run
//! folder is made.

use std::collections::BTreeMap;

use anyhow::Result;
use motionflow::diagnostics::mask_figures;
use motionflow::masking::{common_masks, finest_maps};
use motionflow::settings::{MaskLayers, MaskSource};
use motionflow_media::Mask;
use tch::{Device, Kind};

use crate::engine::Engine;
use crate::estimate::{Task, Way};
use crate::models::suitability::warn_of_source;
use crate::motion::given;
use crate::progress::Progress;
use crate::request::tables::required;
use crate::request::{MotionOptions, Request, prompts};
use crate::runs::encoding::{Source, encode};
use crate::runs::noised_passes;
use crate::runs::pictures::masks_of;
use crate::source::source_path;

/// What the model sees of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The threshold that the masks were made with.
    pub tau: f64,
    /// Whether a place belongs to one subject at most.
    pub apart: bool,
    /// Frames of the maps: latent frames.
    pub frames: usize,
    /// Frames of the video.
    pub video_frames: usize,
    /// Places from the top to the bottom of a map.
    pub height: usize,
    /// Places from the left to the right of a map.
    pub width: usize,
    /// Whose noise was added.
    pub timesteps: Vec<i64>,
    /// In the order of the prompt's brackets.
    pub subjects: Vec<SeenSubject>,
}

/// What the model sees of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenSubject {
    /// Its words.
    pub text: String,
    /// The maps that masks are made of, of the layers with the most places: name and values [frames, height, width]. A place is
    /// in a layer's mask where its value is over τ times its frame's largest one.
    pub layers: Vec<(String, Vec<f32>)>,
    /// The mask: true where one half or more of the layers' masks are, [frames, height, width].
    pub mask: Vec<bool>,
    /// Mean share of the frame that is masked, 0..1.
    pub coverage: f64,
    /// Mean `IoU` of the masks of neighbouring frames, 0..1.
    pub overlap: f64,
}

impl Engine {
    /// Looks at the source of a request with the passes on the noised source that its settings say, whatever `mask_source`
    /// says.
    ///
    /// # Errors
    /// Of whatever kind; [`ErrorKind::of`](crate::error::ErrorKind::of) tells which.
    pub fn look(&self, request: &Request, progress: &mut Progress) -> Result<Look> {
        let source_prompt = required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
        let path = source_path(request)?;
        let prompt = prompts::parse("--source-prompt", &source_prompt)?;
        prompts::with_subject("the source prompt", &prompt)?;
        let found = self.find(&request.model, progress)?;
        let mut settings = request.settings.resolve(&found.recommended.settings);
        settings.mask_source = MaskSource::Noised;
        given::settle(&mut settings, &MotionOptions::default())?;
        if settings.chooses_layers() {
            settings.guidance_layers = found.inspected_blocks()?;
        }
        found.check_settings(&settings)?;
        found.check_subjects(&[&prompt])?;
        found.check_blocks(&settings)?;
        found.check_domain(&[("the source prompt", &prompt)], progress);
        settings.subject_map.check(prompt.subjects.len())?;
        let video = request.video.resolve(&found.recommended.video)?;
        found.check_size(&video, settings.context())?;
        let cut = request.source.cut.resolve()?;
        self.on_device(&request.program.resources, progress, |compute, stores, progress| {
            let compute = found.compute(request.program.resources.precision, compute);
            let task = Task::new(&found, &settings, Way::Inspect, compute)?;
            self.check_memory(&task, &video, &found, &mut stores.models)?;
            let source = stores.sources.read(&path, cut, &video, progress);
            let source = source.map_err(|error| found.with_possible_frames(error, &video))?;
            warn_of_source(&source.frames, &video, settings.context(), &found.recommended, progress);
            let model = stores.models.load(&found, compute, progress)?;
            let text = model.encode(&prompt)?;
            text.warnings.iter().for_each(|warning| progress.warn(warning));
            let (clean, _) =
                encode(model.nets(), Source { clip: &source, text: &text, encoded: None }, progress)?;
            let seen = noised_passes::look(model.nets(), clean, &text, &settings, "masks", progress)?;
            let maps = seen.maps();
            let masks = common_masks(&maps, &seen.latents, &[0], &settings)?;
            let figures = mask_figures(&masks, |_| true);
            let joined = settings.mask_layers == MaskLayers::Finest;
            let mut subjects = Vec::new();
            let mut size = (0, 0, 0);
            for (index, layers) in finest_maps(&maps, joined).into_iter().enumerate() {
                let mean = masks.average(index, |_| true);
                let cells = mean.map(|mean| masks_of(&mean, &seen.latents)).transpose()?.unwrap_or_default();
                if let Some(first) = cells.first() {
                    size = (cells.len(), first.height() as usize, first.width() as usize);
                }
                let (coverage, overlap) =
                    figures.get(index).map_or((0.0, 0.0), |figures| (figures.coverage, figures.overlap));
                subjects.push(SeenSubject {
                    text: prompt.subjects[index].text.clone(),
                    layers: values(&layers)?,
                    mask: cells.iter().flat_map(Mask::values).map(|share| *share >= 0.5).collect(),
                    coverage,
                    overlap,
                });
            }
            let (frames, height, width) = size;
            Ok(Look {
                tau: settings.tau,
                apart: settings.mask_apart,
                frames,
                video_frames: video.frames as usize,
                height,
                width,
                timesteps: settings.all_pass_timesteps(),
                subjects,
            })
        })
    }
}

fn values(layers: &BTreeMap<String, tch::Tensor>) -> Result<Vec<(String, Vec<f32>)>> {
    let values = |map: &tch::Tensor| {
        Vec::<f32>::try_from(map.to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1))
    };
    layers.iter().map(|(name, map)| Ok((name.clone(), values(map)?))).collect()
}
