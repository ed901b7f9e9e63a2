//! The parity cases of CLIP, which `tools/reference/make_clip_case.py` writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::clip_model::ClipModel;
use crate::error::Error;

/// What a `case.json` says of it.
#[derive(Debug, Deserialize)]
pub(crate) struct ClipCase {
    texts: Vec<String>,
}

/// Every tensor that a case may expect, by name, of pictures [height, width, 3] of bytes.
///
/// # Errors
/// [`Error::Tokenizer`] for a text that cannot be encoded.
pub(crate) fn recompute(
    model: &ClipModel,
    case: &ClipCase,
    pictures: &[Tensor],
) -> Result<BTreeMap<String, Tensor>, Error> {
    let texts = case.texts.iter().map(|text| model.embed_text(text));
    let texts = texts.collect::<Result<Vec<Tensor>, Error>>()?;
    let (mut pixels, mut embedded) = (Vec::new(), Vec::new());
    for picture in pictures {
        let size = picture.size();
        let (height, width) = (size[0] as usize, size[1] as usize);
        let mut bytes = vec![0_u8; picture.numel()];
        picture.contiguous().copy_data(&mut bytes, picture.numel());
        pixels.push(model.preprocess(&[&bytes], width, height));
        embedded.push(model.embed_images(&[&bytes], width, height));
    }
    Ok([
        ("text_embeds", Tensor::stack(&texts, 0)),
        ("image_embeds", Tensor::cat(&embedded, 0)),
        ("pixel_values", Tensor::cat(&pixels, 0)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor.to_kind(Kind::Float)))
    .into())
}
