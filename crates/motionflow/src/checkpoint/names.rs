//! Old names of tensors, as older versions of diffusers and transformers wrote them. This is the only such table.

use super::error::CheckpointError;
use super::weights::Weights;

/// What the four projections of the VAE's attention were called before diffusers 0.17. Then they could also be 1×1
/// convolutions, with weights of shape `[out, in, 1, 1]`.
const OLD_VAE_ATTENTION: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

/// Written before transformers 5 and by CLIP models that hold a vision tower too.
const OLD_TEXT_PREFIX: &str = "text_model.";

/// A buffer with the numbers 0, 1, 2, ...; transformers before 4.31 saved it.
const POSITION_IDS: &str = "embeddings.position_ids";

/// Gives the tensors of `component` the names of today. The text encoder's have no `text_model.` prefix then.
pub(super) fn modernize(component: &str, weights: &mut Weights) -> Result<(), CheckpointError> {
    match component {
        "vae" => weights.rename(|name, tensor| {
            let Some((place, old, parameter)) = attention_projection(name) else {
                return Some(name.to_owned());
            };
            tensor.squeeze_to_matrix();
            let new = OLD_VAE_ATTENTION.iter().find(|(was, _)| *was == old).map_or(old, |(_, is)| is);
            Some(format!("{place}.{new}.{parameter}"))
        }),
        "text_encoder" => weights.rename(|name, _| {
            let name = name.strip_prefix(OLD_TEXT_PREFIX).unwrap_or(name);
            (name != POSITION_IDS).then(|| name.to_owned())
        }),
        "clip" => weights.rename(|name, _| (!name.ends_with(POSITION_IDS)).then(|| name.to_owned())),
        _ => Ok(()),
    }
}

/// Takes `encoder.mid_block.attentions.0.query.weight` apart: before, at and after the projection.
fn attention_projection(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, parameter) = name.rsplit_once('.')?;
    let (place, projection) = match rest.strip_suffix(".to_out.0") {
        Some(place) => (place, "to_out.0"),
        None => rest.rsplit_once('.')?,
    };
    let inside = place.rsplit('.').nth(1) == Some("attentions");
    let known = OLD_VAE_ATTENTION.iter().any(|(was, is)| projection == *was || projection == *is);
    (inside && known).then_some((place, projection, parameter))
}
