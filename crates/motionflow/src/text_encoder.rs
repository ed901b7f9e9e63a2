//! A checkpoint's text encoder, which need not stay in memory once the prompts are encoded.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::compute::{Compute, MemoryUse};
use crate::error::{BROKEN, Error, not_finite_hint};
use crate::latents::is_finite;
use crate::model::EncodedPrompt;
use crate::prompt::{Prompt, prompt_warnings, subject_positions};
use crate::tokenizer::Tokenizer;

/// How a net is loaded.
type Load<Net> = fn(&Checkpoint, Compute) -> Result<Net, Error>;

/// The net, loaded where it is wanted.
#[derive(Debug)]
pub(crate) struct TextEncoder<Net> {
    checkpoint: Checkpoint,
    compute: Compute,
    load: Load<Net>,
    net: RefCell<Option<Net>>,
}

impl<Net> TextEncoder<Net> {
    /// Nothing is loaded yet.
    pub(crate) fn new(checkpoint: &Checkpoint, compute: Compute, load: Load<Net>) -> Self {
        Self { checkpoint: checkpoint.clone(), compute, load, net: RefCell::default() }
    }

    /// What `work` makes of the net.
    ///
    /// # Errors
    /// When the net is not in memory, and cannot be loaded.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Net) -> T) -> Result<T, Error> {
        let _no_gradients = tch::no_grad_guard();
        if let Some(net) = &*self.net.borrow() {
            return Ok(work(net));
        }
        let net = (self.load)(&self.checkpoint, self.compute)?;
        Ok(work(self.net.borrow_mut().insert(net)))
    }

    /// Leaves the net's memory to the others, unless memory may be taken to be faster.
    pub(crate) fn release(&self) {
        if self.compute.memory != MemoryUse::Fast {
            *self.net.borrow_mut() = None;
        }
    }
}

/// Prompts with the features that `encode` gives of their token ids, [1, tokens, features] each, and where their subjects are.
/// `kind` is what the features are computed in.
///
/// # Errors
/// [`Error::CodingNotFinite`] where the features are no numbers; those of the tokenizer, the subjects and `encode`.
pub(crate) fn encode_prompts(
    tokenizer: &Tokenizer,
    prompts: &[&Prompt],
    kind: Kind,
    encode: impl FnOnce(&[&[i64]]) -> Result<Vec<Tensor>, Error>,
) -> Result<Vec<EncodedPrompt>, Error> {
    let tokens =
        prompts.iter().map(|prompt| tokenizer.encode(&prompt.text)).collect::<Result<Vec<_>, _>>()?;
    let placed = prompts.iter().zip(&tokens).map(|(prompt, tokens)| {
        let warnings = prompt_warnings(prompt, tokens)?;
        let mut subjects = Vec::new();
        for subject in &prompt.subjects {
            let positions = subject_positions(tokens, subject)?;
            subjects.push(positions.into_iter().map(|position| position as i64).collect());
        }
        Ok((warnings, subjects))
    });
    let placed = placed.collect::<Result<Vec<_>, Error>>()?;
    let ids: Vec<&[i64]> = tokens.iter().map(|tokens| tokens.ids.as_slice()).collect();
    let features = encode(&ids)?;
    if !features.iter().all(is_finite) {
        return Err(Error::CodingNotFinite {
            stage: "the text encoder",
            hint: not_finite_hint(kind, BROKEN),
        });
    }
    let encoded = tokens.iter().zip(placed).zip(features);
    Ok(encoded
        .map(|((tokens, (warnings, subjects)), features)| EncodedPrompt {
            features,
            subjects,
            end: tokens.length as i64 - 1,
            warnings,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::Device;

    use super::*;
    use crate::text_to_video::load_text_encoder;

    #[test]
    fn it_goes_and_comes_back_the_same() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
        let checkpoint = crate::registry::open(&case).unwrap();
        for (memory, stays) in
            [(MemoryUse::Low, false), (MemoryUse::Balanced, false), (MemoryUse::Fast, true)]
        {
            let compute = Compute { memory, ..Compute::exact(Device::Cpu) };
            let encoder = TextEncoder::new(&checkpoint, compute, load_text_encoder);
            let encode = || encoder.with(|net| net.forward(&[1, 2, 3])).unwrap();
            let features = encode();
            encoder.release();
            assert_eq!(encoder.net.borrow().is_some(), stays);
            assert_eq!(encode(), features);
        }
    }
}
