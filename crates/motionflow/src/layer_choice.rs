//! Which guidance blocks show the subjects of a source best, and at which noise level: chosen by [`map_scores`] of passes
//! on the noised source, without the truth. It is this project's, not the paper's.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::latents::Latents;
use crate::map_score::map_scores;
use crate::masks::SubjectMaps;
use crate::model::GuidanceLayer;

/// The share of the training timesteps whose noise levels are tried: where a word shows best differs between blocks, early
/// ones want less noise and late ones more.
const LEVELS: [f64; CANDIDATES] = [0.1, 0.2, 0.4, 0.6];
/// How many timesteps are tried where none is named.
pub const CANDIDATES: usize = 4;
/// A level is judged by so many of its best blocks.
const JUDGED: usize = 3;
/// A block guides if its score is at least this share of the best one's.
const NEAR_THE_BEST: f64 = 0.9;

/// One block's score at one timestep: the mean over its layers and the subjects, 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockScore {
    /// The block.
    pub block: String,
    /// Whose noise was added to the source.
    pub timestep: i64,
    /// 1 is best.
    pub score: f64,
}

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerChoice {
    /// The blocks, in the order in which they run.
    pub blocks: Vec<String>,
    /// The timestep at which they show the subjects best.
    pub timestep: i64,
    /// All scores, by timestep and in the order in which the blocks run.
    pub scores: Vec<BlockScore>,
}

/// The timesteps that are tried, of so many that the net was trained with.
pub fn candidate_timesteps(train_timesteps: usize) -> Vec<i64> {
    LEVELS.map(|share| (share * train_timesteps as f64).round() as i64).to_vec()
}

/// Chooses the timestep whose three best blocks have the greatest mean score, and there every block whose score is at least
/// 0.9 of the best one's, the best `most` of them. `maps` are those of `layers`, `latents` give their heights and widths, and
/// `tau` is the threshold of the motion masks. Nothing where there are no maps.
///
/// # Errors
/// [`Error::Inversion`] when a map's size is no halving of the latents'.
pub fn choose_layers(
    maps: &SubjectMaps,
    latents: &Latents,
    layers: &[GuidanceLayer],
    tau: f64,
    most: usize,
) -> Result<Option<LayerChoice>, Error> {
    let mut order: Vec<&str> = layers.iter().map(|layer| layer.block.as_str()).collect();
    order.dedup();
    let block_of: BTreeMap<&str, &str> =
        layers.iter().map(|layer| (layer.name.as_str(), layer.block.as_str())).collect();
    let mut levels = Vec::new();
    for (timestep, subjects) in &maps.at {
        let mut of_blocks: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for maps in subjects {
            for (layer, score) in map_scores(maps, latents, tau)? {
                if let Some(block) = block_of.get(layer.as_str()) {
                    of_blocks.entry(block).or_default().push(score.total());
                }
            }
        }
        let in_order = order.iter().filter_map(|block| Some((*block, mean(of_blocks.get(block)?))));
        levels.push((*timestep, in_order.collect::<Vec<_>>()));
    }
    let ranked = |scores: &[(&str, f64)]| {
        let mut ranked = scores.iter().map(|(_, score)| *score).collect::<Vec<_>>();
        ranked.sort_by(|one, other| other.total_cmp(one));
        ranked
    };
    let judged = |scores: &[(&str, f64)]| mean(&ranked(scores)[..scores.len().min(JUDGED)]);
    let best = levels
        .iter()
        .filter(|(_, scores)| !scores.is_empty())
        .max_by(|(_, one), (_, other)| judged(one).total_cmp(&judged(other)));
    let Some((timestep, scores)) = best else { return Ok(None) };
    let ranked = ranked(scores);
    let least = (ranked[0] * NEAR_THE_BEST).max(ranked[most.clamp(1, ranked.len()) - 1]);
    let near = scores.iter().filter(|(_, score)| *score >= least);
    Ok(Some(LayerChoice {
        blocks: near.map(|(block, _)| (*block).to_owned()).collect(),
        timestep: *timestep,
        scores: levels
            .iter()
            .flat_map(|(timestep, scores)| scores.iter().map(move |score| (*timestep, score)))
            .map(|(timestep, (block, score))| BlockScore {
                block: (*block).to_owned(),
                timestep,
                score: *score,
            })
            .collect(),
    }))
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;
    use crate::latents::seeded_noise;
    use crate::masks::LayerMaps;

    const SIZE: [i64; 3] = [3, 6, 8];

    fn noise(seed: u64) -> Tensor {
        seeded_noise(&[SIZE[0], SIZE[1] * SIZE[2]], seed, Device::Cpu).abs()
    }

    /// A square that moves, in noise.
    fn square(noise_level: f64, seed: u64) -> Tensor {
        let map = (noise(seed) * noise_level).view(SIZE);
        for frame in 0..SIZE[0] {
            let mut inside = map.get(frame).narrow(0, 2, 3).narrow(1, frame, 3);
            inside += 1.0;
        }
        map.flatten(1, 2)
    }

    fn layers() -> Vec<GuidanceLayer> {
        let layer = |name: &str, block: &str| GuidanceLayer { name: name.into(), block: block.into() };
        vec![layer("c.0", "c"), layer("c.1", "c"), layer("a.0", "a"), layer("b.0", "b")]
    }

    fn chosen(at: [(i64, [Tensor; 4]); 2], most: usize) -> LayerChoice {
        let maps = |maps: [Tensor; 4]| -> LayerMaps {
            layers().into_iter().zip(maps).map(|(layer, map)| (layer.name, map)).collect()
        };
        let maps = SubjectMaps { at: at.into_iter().map(|(t, tensors)| (t, vec![maps(tensors)])).collect() };
        let latents = Latents::new(seeded_noise(&[1, 4, SIZE[0], SIZE[1], SIZE[2]], 0, Device::Cpu));
        choose_layers(&maps, &latents, &layers(), 0.4, most).unwrap().unwrap()
    }

    #[test]
    fn the_blocks_and_the_level_that_show_the_subject_are_chosen() {
        let at = || {
            [
                (100, [square(0.05, 1), square(0.05, 2), noise(3), square(0.06, 4)]),
                (400, [square(0.6, 5), square(0.6, 6), noise(7), square(0.6, 8)]),
            ]
        };
        let both = chosen(at(), 3);
        assert_eq!((both.timestep, both.blocks), (100, vec!["c".to_owned(), "b".to_owned()]));
        assert_eq!(both.scores.len(), 6);
        let one = chosen(at(), 1);
        let best = one.scores.iter().filter(|score| score.timestep == 100).map(|score| score.score);
        let best = best.fold(0.0, f64::max);
        assert!(one.scores.iter().any(|score| score.score >= best && one.blocks == [score.block.clone()]));
    }

    #[test]
    fn maps_of_nothing_choose_one_block_at_least_and_none_choose_nothing() {
        let flat = || noise(1).ones_like();
        let at = [(100, [flat(), flat(), flat(), flat()]), (400, [flat(), flat(), flat(), flat()])];
        assert!(!chosen(at, 1).blocks.is_empty());
        let latents = Latents::new(seeded_noise(&[1, 4, 3, 6, 8], 0, Device::Cpu));
        assert_eq!(choose_layers(&SubjectMaps::default(), &latents, &layers(), 0.4, 3).unwrap(), None);
    }

    #[test]
    fn the_levels_are_shares_of_the_training_timesteps() {
        assert_eq!(candidate_timesteps(1000), [100, 200, 400, 600]);
        assert_eq!(candidate_timesteps(50), [5, 10, 20, 30]);
    }
}
