//! A net from its weights.

use crate::checkpoint::{Checkpoint, Loader};
use crate::compute::Compute;
use crate::error::Error;

/// Builds one net of a checkpoint; says all that is wrong with its weights at once.
pub(crate) fn load_net<Net>(
    checkpoint: &Checkpoint,
    component: &str,
    compute: Compute,
    build: impl FnOnce(&Loader) -> Result<Net, Error>,
) -> Result<Net, Error> {
    let weights = checkpoint.weights(component)?;
    let loader = Loader::new(&weights, component, compute.device, compute.kind).with_memory(compute.memory);
    let loader = loader.with_streaming(compute.streams_weights());
    let net = build(&loader)?;
    loader.finish()?;
    Ok(net)
}
