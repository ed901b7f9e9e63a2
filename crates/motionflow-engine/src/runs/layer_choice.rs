//! `--guidance-layers auto`: looks at the source at several noise levels, and fixes the guidance blocks of the run.

use anyhow::{Context, Result};
use motionflow::layer_choice::{LayerChoice, candidate_timesteps, choose_layers};
use motionflow::model::VideoModel;
use motionflow::settings::{MaskSource, Settings};

use crate::error::{FAULT, Misuse};
use crate::folder::record::{BlockRecord, ChoiceRecord};
use crate::models::found::FoundModel;
use crate::progress::Progress;
use crate::request::Request;
use crate::runs::encoding::{Encoded, Source, encode};
use crate::runs::noised_passes::look;

/// Refuses to choose where there is no source to look at.
pub(crate) fn check(settings: &Settings, request: &Request) -> Result<()> {
    if settings.chooses_layers() && request.source.inversion.is_some() {
        let message = "--guidance-layers auto looks at the source, which a run with --inversion does not read; name \
                       the blocks that `motionflow inspect` scores best, or give --source instead of --inversion";
        return Err(Misuse(message.to_owned()).into());
    }
    let has_source = request.source.path.is_some() && request.prompts.source_prompt.is_some();
    if settings.chooses_layers() && !has_source {
        let message = "--guidance-layers auto looks at the source, and masks are given without one; name the blocks, or give --source and \
                       --source-prompt beside the masks";
        return Err(Misuse(message.to_owned()).into());
    }
    Ok(())
}

/// Chooses, where the settings ask for it, and writes the choice into them: the guidance blocks, and the timestep of the masks
/// where those are of the noised source and the request names none. Gives what it made of the source, too.
pub(crate) fn choose(
    model: &dyn VideoModel,
    source: Option<Source>,
    settings: &mut Settings,
    found: &FoundModel,
    request: &Request,
    progress: &mut Progress,
) -> Result<(Option<ChoiceRecord>, Option<Encoded>)> {
    if !settings.chooses_layers() {
        return Ok((None, None));
    }
    let source = source.with_context(|| format!("{FAULT}: there is no source to look at"))?;
    let named = request.settings.masks.noised_timesteps.as_ref();
    let looks = Settings {
        guidance_layers: found.inspected_blocks()?,
        mask_source: MaskSource::Noised,
        noised_timesteps: named
            .cloned()
            .unwrap_or_else(|| candidate_timesteps(model.schedule().train_timesteps())),
        noised_samples: 1,
        ..settings.clone()
    };
    let encoded = encode(model, source, progress)?;
    let seen = look(model, encoded.0.share(), source.text, &looks, "choose layers", progress)?;
    let mut most: Vec<&str> =
        model.guidance_layers().cross.iter().map(|layer| layer.block.as_str()).collect();
    most.dedup();
    let layers = model.layers_for(&looks)?.cross;
    let choice = choose_layers(&seen.maps(), &seen.latents, &layers, settings.tau, most.len())?
        .with_context(|| format!("{FAULT}: no guidance block has a map"))?;
    fix(settings, request, &choice.blocks, &[choice.timestep]);
    progress.note(&told(&choice));
    Ok((Some(record(choice)), Some(encoded)))
}

/// Writes the choice of an earlier run of the same request into the settings, where they ask for one.
pub(crate) fn repeat(settings: &mut Settings, then: &Settings, request: &Request) {
    if settings.chooses_layers() {
        fix(settings, request, &then.guidance_layers, &then.noised_timesteps);
    }
}

fn fix(settings: &mut Settings, request: &Request, blocks: &[String], timesteps: &[i64]) {
    settings.guidance_layers = blocks.to_vec();
    if request.settings.masks.noised_timesteps.is_none() && settings.mask_source == MaskSource::Noised {
        settings.noised_timesteps = timesteps.to_vec();
    }
}

/// Which blocks, and why.
fn told(choice: &LayerChoice) -> String {
    let score = |block: &str, timestep: i64| {
        choice.scores.iter().find(|score| score.block == block && score.timestep == timestep)
    };
    let chosen: Vec<String> = choice
        .blocks
        .iter()
        .map(|block| {
            let score = score(block, choice.timestep).map_or(0.0, |score| score.score);
            format!("{block} ({score:.2})")
        })
        .collect();
    let mut others: Vec<f64> = choice.scores.iter().map(|score| score.score).collect();
    others.sort_by(f64::total_cmp);
    format!(
        "guidance layers: {}, by their scores at timestep {}; all blocks and timesteps that were tried score {:.2} to {:.2}",
        chosen.join(", "),
        choice.timestep,
        others.first().copied().unwrap_or_default(),
        others.last().copied().unwrap_or_default()
    )
}

fn record(choice: LayerChoice) -> ChoiceRecord {
    let scores = choice.scores.into_iter();
    ChoiceRecord {
        blocks: choice.blocks,
        timestep: choice.timestep,
        scores: scores
            .map(|score| BlockRecord { timestep: score.timestep, block: score.block, score: score.score })
            .collect(),
    }
}
