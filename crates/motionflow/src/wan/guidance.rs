//! Which of the transformer's blocks guide: the middle third, or those that the settings name.

use crate::error::Error;
use crate::model::{GuidanceLayer, GuidanceLayers, check_blocks};
use crate::nets::wan::{WanConfig, WanTransformer};
use crate::settings::Settings;

/// The blocks that guide where none is named, of so many: the middle third.
pub(super) fn default_blocks(count: i64) -> std::ops::Range<i64> {
    count / 3..(2 * count + 2) / 3
}

/// The cross-attentions of those.
pub(super) fn default_layers(net: &WanTransformer) -> GuidanceLayers {
    let blocks = default_blocks(net.config().num_layers).map(name_of).collect::<Vec<_>>();
    of_blocks(net, &blocks, false)
}

/// The layers that the settings ask for: cross-attentions, and self-attentions where a loss on them has a weight.
pub(super) fn layers_for(net: &WanTransformer, settings: &Settings) -> Result<GuidanceLayers, Error> {
    let of_video = settings.lambda_self > 0.0 || settings.lambda_temporal > 0.0;
    Ok(of_blocks(net, &blocks_for(net.config(), &settings.guidance_layers)?, of_video))
}

/// The names of the blocks that are meant: `blocks.10`, and `blocks.10-19` for several.
///
/// # Errors
/// [`Error::UnknownBlock`] with the blocks that there are.
pub(super) fn blocks_for(config: &WanConfig, names: &[String]) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(default_blocks(config.num_layers).map(name_of).collect());
    }
    let known = all_blocks(config);
    let known_names: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut chosen = Vec::new();
    for name in names {
        let range = name.strip_prefix("blocks.").and_then(|range| range.split_once('-'));
        let bounds =
            range.and_then(|(first, last)| Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?)));
        match bounds {
            Some((first, last)) if (0..=last).contains(&first) && last < config.num_layers => {
                chosen.extend((first..=last).map(name_of));
            }
            _ => {
                check_blocks(std::slice::from_ref(name), &known_names).map_err(|_| Error::UnknownBlock {
                    name: name.clone(),
                    known: format!(
                        "blocks.0 to blocks.{}, and ranges such as blocks.10-19",
                        config.num_layers - 1
                    ),
                })?;
                chosen.push(name.clone());
            }
        }
    }
    chosen.sort_by_key(|name| known.iter().position(|known| known == name));
    chosen.dedup();
    Ok(chosen)
}

/// The names of all blocks.
pub(super) fn all_blocks(config: &WanConfig) -> Vec<String> {
    (0..config.num_layers).map(name_of).collect()
}

fn of_blocks(net: &WanTransformer, names: &[String], of_video: bool) -> GuidanceLayers {
    let mut layers = GuidanceLayers::default();
    for (index, (cross, [same_frame, same_place])) in net.attention_names().enumerate() {
        let block = name_of(index as i64);
        if !names.contains(&block) {
            continue;
        }
        let layer = |name: String| GuidanceLayer { name, block: block.clone() };
        layers.cross.push(layer(cross.to_owned()));
        if of_video {
            layers.spatial.push(layer(same_frame));
            layers.temporal.push(layer(same_place));
        }
    }
    layers
}

fn name_of(block: i64) -> String {
    format!("blocks.{block}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<String>, Error> {
        let config = WanConfig { num_layers: 30, ..WanConfig::default() };
        blocks_for(&config, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_middle_third_guides_where_nothing_is_said() {
        assert_eq!((default_blocks(30), default_blocks(40), default_blocks(1)), (10..20, 13..27, 0..1));
        assert_eq!(chosen(&[]).unwrap(), chosen(&["blocks.10-19"]).unwrap());
    }

    #[test]
    fn ranges_and_single_blocks_are_joined() {
        assert_eq!(
            chosen(&["blocks.5", "blocks.2-3", "blocks.3"]).unwrap(),
            ["blocks.2", "blocks.3", "blocks.5"]
        );
        for wrong in ["blocks.30", "blocks.3-30", "blocks.4-3", "blocks.-1-3", "mid_block", "blocks."] {
            let message = chosen(&[wrong]).unwrap_err().to_string();
            assert!(message.contains(wrong) && message.contains("blocks.0 to blocks.29"), "{message}");
        }
    }
}
