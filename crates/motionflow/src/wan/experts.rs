//! The transformers of a checkpoint, each for its timesteps: one in Wan 2.1, two in Wan 2.2's T2V-A14B.

use super::architecture::schedule;
use crate::checkpoint::Checkpoint;
use crate::compute::Compute;
use crate::error::Error;
use crate::load_net::load_net;
use crate::nets::config::ConfigError;
use crate::nets::wan::{WanConfig, WanTransformer};
use crate::timestep::Timestep;

/// The component that the second one is.
pub(super) const SECOND: &str = "transformer_2";

/// The entry of `model_index.json` that says which share of the timesteps, counted from the clean end, is the second one's.
pub(super) const BOUNDARY_RATIO: &str = "boundary_ratio";

/// The transformers, ready to run.
#[derive(Debug)]
pub(super) struct Experts {
    first: WanTransformer,
    /// And the timestep below which it is the one.
    second: Option<(WanTransformer, Timestep)>,
}

impl Experts {
    /// Loads the transformers of a checkpoint, the first of which has a valid config.
    ///
    /// # Errors
    /// As [`second_config`]; lists all tensors that are missing or wrong.
    pub(super) fn load(checkpoint: &Checkpoint, first: WanConfig, compute: Compute) -> Result<Self, Error> {
        let second = second_config(checkpoint, &first)?;
        let load = |component: &str, config| {
            load_net(checkpoint, component, compute, |weights| Ok(WanTransformer::new(weights, config)?))
        };
        let first = load("transformer", first)?;
        let second = second.map(|(config, below)| Ok::<_, Error>((load(SECOND, config)?, below)));
        Ok(Self { first, second: second.transpose()? })
    }

    /// The one of a timestep.
    pub(super) fn at(&self, timestep: Timestep) -> &WanTransformer {
        match &self.second {
            Some((second, below)) if timestep < *below => second,
            _ => &self.first,
        }
    }

    /// The first: the second has layers of the same names.
    pub(super) fn first(&self) -> &WanTransformer {
        &self.first
    }

    /// The first one's config; the second one's is the same in what the method sees.
    pub(super) fn config(&self) -> &WanConfig {
        self.first.config()
    }
}

/// The config of the second transformer and the timestep below which it is the one, where there are two. As in diffusers'
/// `WanPipeline`, the first one has every timestep where `model_index.json` gives no `boundary_ratio`.
///
/// # Errors
/// When the config cannot be run, differs from the first one's in what the method sees, or a `boundary_ratio` stands there
/// without a second transformer.
pub(super) fn second_config(
    checkpoint: &Checkpoint,
    first: &WanConfig,
) -> Result<Option<(WanConfig, Timestep)>, Error> {
    let Some(ratio) = checkpoint.index_entry::<f64>(BOUNDARY_RATIO)? else { return Ok(None) };
    if !checkpoint.has_net(SECOND) {
        return Err(Error::Mismatch(format!(
            "model_index.json gives a {BOUNDARY_RATIO} of {ratio}, but no {SECOND} for the timesteps below it"
        )));
    }
    let second: WanConfig = checkpoint.config(SECOND)?;
    second.validate().map_err(|error| ConfigError { component: SECOND, ..error })?;
    check_alike(first, &second)?;
    let trained = schedule(checkpoint)?.train_timesteps();
    Ok(Some((second, boundary(ratio, trained))))
}

/// The first one's lowest timestep, in float32 as torch compares it.
fn boundary(ratio: f64, trained: usize) -> Timestep {
    Timestep::from(f64::from((ratio * trained as f64) as f32))
}

/// Checks that the method sees no difference between the two.
fn check_alike(first: &WanConfig, second: &WanConfig) -> Result<(), Error> {
    for (key, of_first, of_second) in [
        ("num_layers", first.num_layers, second.num_layers),
        ("num_attention_heads", first.num_attention_heads, second.num_attention_heads),
        ("attention_head_dim", first.attention_head_dim, second.attention_head_dim),
        ("in_channels", first.in_channels, second.in_channels),
        ("out_channels", first.out_channels, second.out_channels),
        ("text_dim", first.text_dim, second.text_dim),
        ("rope_max_seq_len", first.rope_max_seq_len, second.rope_max_seq_len),
    ] {
        if of_first != of_second {
            return Err(Error::Mismatch(format!(
                "{key} is {of_first} in transformer/config.json and {of_second} in {SECOND}/config.json"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_compared_as_torch_does() {
        assert_eq!(boundary(0.875, 1000), Timestep::from(875));
        assert_eq!(boundary(358.000_000_000_000_06 / 1000.0, 1000), Timestep::from(358));
    }

    #[test]
    fn transformers_that_differ_are_told_apart() {
        let first = WanConfig::default();
        assert!(check_alike(&first, &WanConfig { eps: 1e-5, ..first.clone() }).is_ok());
        let error = check_alike(&first, &WanConfig { num_layers: 30, ..first.clone() }).unwrap_err();
        assert!(error.to_string().contains("num_layers is 40"), "{error}");
        assert!(error.to_string().contains("30 in transformer_2/config.json"), "{error}");
    }
}
