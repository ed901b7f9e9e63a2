//! The parity cases of CLIP, which `tools/reference/make_clip_case.py` writes.

use std::collections::BTreeMap;
use std::path::Path;

use motionflow::error::Error;
use motionflow::parity_case::{CASE, CaseTensors, Comparison, EXPECTED, INPUTS, ParityError, case_error};
use motionflow::small_file;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::model::ClipModel;

/// What a `case.json` says of it.
#[derive(Debug, Deserialize)]
struct ClipCase {
    texts: Vec<String>,
}

/// Of which model a case is; nothing where it is none of CLIP's.
#[derive(Debug, Deserialize)]
struct AnyCase {
    clip: Option<ClipCase>,
}

/// Whether the case in `folder` is one of CLIP.
pub fn is_clip_case(folder: &Path) -> bool {
    read(folder).is_ok_and(|case| case.is_some())
}

/// Recomputes every tensor of the case in `folder` in float32 and compares it, as [`motionflow::parity::verify`] does.
///
/// # Errors
/// [`ParityError`] when the case or its model cannot be read or run.
pub fn verify(folder: &Path, device: Device, tolerance: f64) -> Result<Vec<Comparison>, ParityError> {
    let Some(case) = read(folder)? else {
        return Err(case_error(&folder.join(CASE), "it is no case of CLIP"));
    };
    let model = ClipModel::load(&folder.join("model"), device, Kind::Float)?;
    let pictures = CaseTensors::open(folder.join(INPUTS), Device::Cpu)?.pictures()?;
    let ours = recompute(&model, &case, &pictures)?;
    CaseTensors::open(folder.join(EXPECTED), Device::Cpu)?.compare(&ours, tolerance)
}

fn read(folder: &Path) -> Result<Option<ClipCase>, ParityError> {
    let path = folder.join(CASE);
    let text = small_file::read(&path, small_file::CONFIG);
    let text = text.map_err(|error| case_error(&path, &error.to_string()))?;
    let case: AnyCase =
        serde_json::from_slice(&text).map_err(|error| case_error(&path, &error.to_string()))?;
    Ok(case.clip)
}

/// Every tensor that a case may expect, by name, of pictures [height, width, 3] of bytes.
fn recompute(
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
