//! Source latents -> the attention maps of its subjects, by forward passes on the noised source: a way to motion masks
//! that takes no inversion. It is this project's, not the paper's.
//!
//! A pass adds noise to the clean latents, `z_t = √ᾱ_t·z₀ + √(1−ᾱ_t)·n` ("Denoising Diffusion Probabilistic Models",
//! <https://arxiv.org/abs/2006.11239>, eq. 4), and runs the net on them under the source prompt, without classifier-free
//! guidance, as far as the last guidance layer. The maps of all passes together make one mask for every guided step.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tch::Tensor;

use crate::error::{Error, not_finite_hint};
use crate::inversion::subject_maps;
use crate::latents::{Latents, is_finite, seeded_noise};
use crate::masking::{common_masks, mean_of_normalised};
use crate::masks::{LayerMaps, LayerMasks, MotionMasks, SubjectMaps, layer_masks};
use crate::model::{EncodedPrompt, GuidanceLayer, VideoModel};
use crate::observer::MapKeeper;
use crate::settings::Settings;
use crate::windows::ContextOptions;

/// The seed of the first pass's noise; each further pass has the next one. It is no run's usual seed, so that the noise
/// is not that which the new video starts from, and depends on no setting: a source has the same masks in every run.
const FIRST_SEED: u64 = 0x6d61_736b;

/// A source and what the passes on it have seen so far.
#[derive(Debug)]
pub struct NoisedSource {
    /// The clean latents.
    pub latents: Latents,
    /// The passes that are done, in order.
    pub passes: Vec<Pass>,
}

/// What one pass has seen.
#[derive(Debug)]
pub struct Pass {
    /// Whose noise level the latents were brought to.
    pub timestep: i64,
    /// One entry a subject: its attention maps.
    pub maps: Vec<LayerMaps>,
}

/// One pass that is done, as it is reported.
#[derive(Debug)]
pub struct PassReport<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Number of passes.
    pub passes: usize,
    /// The pass.
    pub pass: &'a Pass,
    /// The clean latents.
    pub latents: &'a Latents,
    /// The masks that its maps make by themselves.
    pub masks: &'a [LayerMasks],
}

impl Pass {
    /// Runs the net on clean latents with the noise of a timestep added, in all windows; of `layers` the maps are kept, and
    /// `shown_by` has each subject's tokens.
    pub(crate) fn new(
        model: &dyn VideoModel,
        clean: &Tensor,
        noise: &Tensor,
        timestep: i64,
        features: &Tensor,
        (layers, shown_by): (&[GuidanceLayer], &[Vec<i64>]),
        context: ContextOptions,
    ) -> Self {
        let noised = model.schedule().add_noise(clean, noise, timestep);
        let windows = context.windows(clean.size()[2]);
        let maps = windows.parts(&noised, 2).map(|noised| {
            let mut observer = MapKeeper::stopping(layers);
            // What the net predicts is not asked for.
            let _ = model.predict_noise(&noised, timestep.into(), features, &mut observer);
            shown_by.iter().map(|tokens| subject_maps(&observer, tokens)).collect()
        });
        Self { timestep, maps: windows.mean_of_maps(maps.collect()) }
    }
}

impl NoisedSource {
    /// Before the first pass.
    pub fn new(clean: Latents) -> Self {
        Self { latents: clean, passes: Vec::new() }
    }

    /// A map for every timestep, subject and guidance layer: the mean over the timestep's noise samples, each map divided
    /// by its frame's maximum where there are several.
    pub fn maps(&self) -> SubjectMaps {
        let mut of_timestep: BTreeMap<i64, Vec<&[LayerMaps]>> = BTreeMap::new();
        for pass in &self.passes {
            of_timestep.entry(pass.timestep).or_default().push(&pass.maps);
        }
        let mean = |passes: Vec<&[LayerMaps]>| match passes.as_slice() {
            [single] => single.iter().map(share).collect(),
            several => mean_of_normalised(several.iter().copied()),
        };
        SubjectMaps {
            at: of_timestep.into_iter().map(|(timestep, passes)| (timestep, mean(passes))).collect(),
        }
    }

    /// The motion masks of all passes together, the same at each of `timesteps`: those that are guided.
    ///
    /// # Errors
    /// [`Error::Inversion`] when the maps are of a size that the masks cannot be made of.
    pub fn masks(&self, timesteps: &[i64], settings: &Settings) -> Result<MotionMasks, Error> {
        common_masks(&self.maps(), &self.latents, timesteps, settings)
    }
}

/// Runs the passes that `settings` ask for, `noised_samples` at each of `noised_timesteps`, or those that `from` lacks.
///
/// # Errors
/// [`Error::NotFinite`] names the pass whose maps are no numbers; [`Error::Settings`] a setting that is out of range;
/// [`Error::EndOfSeveral`] when the end-of-text token cannot show the subjects; [`Error::Stopped`] when `progress` breaks
/// off after a pass.
pub fn observe(
    model: &dyn VideoModel,
    from: NoisedSource,
    source: &EncodedPrompt,
    settings: &Settings,
    progress: &mut dyn FnMut(&PassReport) -> ControlFlow<()>,
) -> Result<NoisedSource, Error> {
    let schedule = model.schedule();
    settings.validate(schedule.max_steps())?;
    settings.validate_noised(schedule)?;
    let shown_by = source.shown_by(settings.subject_map)?;
    let _no_gradients = tch::no_grad_guard();
    let NoisedSource { latents, mut passes } = from;
    let latents = latents.on(model.device());
    let layers = model.kept_layers(settings)?;
    let timesteps = settings.all_pass_timesteps();
    for (index, &timestep) in timesteps.iter().enumerate().skip(passes.len()) {
        let noise = seeded_noise(&latents.tensor().size(), FIRST_SEED + index as u64, model.device());
        let context = settings.context();
        let seen = (&layers[..], &shown_by[..]);
        let pass = Pass::new(model, latents.tensor(), &noise, timestep, &source.features, seen, context);
        if !pass.maps.iter().flat_map(LayerMaps::values).all(is_finite) {
            let broken = "the checkpoint or the source frames are broken";
            return Err(Error::NotFinite {
                stage: "masks",
                step: index + 1,
                steps: timesteps.len(),
                timestep: timestep.into(),
                hint: not_finite_hint(source.features.kind(), broken),
            });
        }
        let masks: Vec<LayerMasks> = pass.maps.iter().map(|maps| layer_masks(maps, settings.tau)).collect();
        let report = PassReport {
            number: index + 1,
            passes: timesteps.len(),
            pass: &pass,
            latents: &latents,
            masks: &masks,
        };
        let after = progress(&report);
        passes.push(pass);
        if after.is_break() {
            return Err(Error::Stopped);
        }
    }
    Ok(NoisedSource { latents, passes })
}

fn share(maps: &LayerMaps) -> LayerMaps {
    maps.iter().map(|(layer, map)| (layer.clone(), Tensor::shallow_clone(map))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::{Device, Kind};

    use super::*;
    use crate::compute::Compute;
    use crate::registry;
    use crate::settings::MaskSource;
    use crate::text_to_video::{TextToVideo, UNET_3D};

    fn model() -> TextToVideo {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
        UNET_3D.load_nets(&registry::open(&case).unwrap(), Compute::exact(Device::Cpu)).unwrap()
    }

    fn clean() -> Latents {
        Latents::new(seeded_noise(&[1, 4, 3, 6, 8], 7, Device::Cpu))
    }

    fn prompt(model: &TextToVideo) -> EncodedPrompt {
        model.encode_prompt(&"a [car] and a [dog] on a road".parse().unwrap()).unwrap()
    }

    fn settings(timesteps: &[i64], samples: usize) -> Settings {
        Settings {
            steps: 6,
            guided_steps: 3,
            mask_source: MaskSource::Noised,
            noised_timesteps: timesteps.to_vec(),
            noised_samples: samples,
            ..Settings::default()
        }
    }

    fn seen(model: &TextToVideo, from: NoisedSource, settings: &Settings) -> NoisedSource {
        observe(model, from, &prompt(model), settings, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn all_maps(maps: &SubjectMaps) -> Vec<&Tensor> {
        maps.at.values().flatten().flat_map(LayerMaps::values).collect()
    }

    #[test]
    fn a_pass_sees_what_a_whole_forward_sees() {
        let _no_gradients = tch::no_grad_guard();
        let model = model();
        let source = seen(&model, NoisedSource::new(clean()), &settings(&[201, 601], 1));
        let prompt = prompt(&model);
        for (pass, (timestep, seed)) in source.passes.iter().zip([(201, FIRST_SEED), (601, FIRST_SEED + 1)]) {
            let noise = seeded_noise(&[1, 4, 3, 6, 8], seed, Device::Cpu);
            let noised = model.schedule().add_noise(clean().tensor(), &noise, timestep);
            let mut whole = MapKeeper::new(&model.guidance_layers().cross);
            assert!(
                model.predict_noise(&noised, timestep.into(), &prompt.features, &mut whole).is_continue()
            );
            assert_eq!((pass.timestep, pass.maps.len()), (timestep, 2));
            for (maps, tokens) in pass.maps.iter().zip(&prompt.subjects) {
                let expected = subject_maps(&whole, tokens);
                assert_eq!(maps.len(), 4);
                assert!(maps.iter().all(|(layer, map)| map.equal(&expected[layer])));
            }
        }
    }

    #[test]
    fn passes_go_on_to_the_same_maps_and_each_has_a_noise_of_its_own() {
        let model = model();
        let settings = settings(&[201], 3);
        let whole = seen(&model, NoisedSource::new(clean()), &settings);
        let mut begun = seen(&model, NoisedSource::new(clean()), &settings);
        begun.passes.truncate(1);
        let resumed = seen(&model, begun, &settings);
        assert_eq!((whole.passes.len(), resumed.passes.len()), (3, 3));
        let (one, other) = (whole.maps(), resumed.maps());
        assert!(all_maps(&one).iter().zip(all_maps(&other)).all(|(one, other)| one.equal(other)));
        let first = |pass: &Pass| pass.maps[0].values().next().unwrap().shallow_clone();
        assert!(!first(&whole.passes[0]).equal(&first(&whole.passes[1])));
        let stopped = observe(&model, NoisedSource::new(clean()), &prompt(&model), &settings, &mut |_| {
            ControlFlow::Break(())
        });
        assert!(matches!(stopped, Err(Error::Stopped)));
    }

    #[test]
    fn the_masks_of_all_passes_serve_every_guided_timestep() {
        let model = model();
        let settings = settings(&[101, 401], 2);
        let source = seen(&model, NoisedSource::new(clean()), &settings);
        let maps = source.maps();
        assert_eq!(maps.at.keys().copied().collect::<Vec<_>>(), [101, 401]);
        // Two samples are averaged after each is brought to a maximum of 1.
        let highest = |map: &Tensor| map.max().double_value(&[]);
        assert!(all_maps(&maps).iter().all(|map| highest(map) <= 1.0 && highest(map) > 0.5));
        let guided = settings.guided_timesteps(model.schedule()).unwrap();
        let masks = source.masks(&guided, &settings).unwrap();
        assert_eq!(masks.at.keys().copied().collect::<Vec<_>>(), {
            let mut ascending = guided.clone();
            ascending.sort_unstable();
            ascending
        });
        let first = &masks.at[&guided[0]];
        for subjects in masks.at.values() {
            for (layers, first) in subjects.iter().zip(first) {
                assert!(layers.iter().all(|(layer, mask)| mask.equal(&first[layer])));
            }
        }
        let covered = first[0].values().map(|mask| mask.sum(Kind::Float).double_value(&[])).sum::<f64>();
        assert!(covered > 0.0);
    }

    #[test]
    fn what_the_schedule_does_not_have_is_refused() {
        let model = model();
        let refused =
            observe(&model, NoisedSource::new(clean()), &prompt(&model), &settings(&[1000], 1), &mut |_| {
                ControlFlow::Continue(())
            });
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("noised_timesteps is 1000") && message.contains("0 to 999"), "{message}");
    }
}
