//! A checkpoint's text encoder, which need not stay in memory once the prompts are encoded.

use std::cell::RefCell;

use tch::Tensor;

use crate::checkpoint::Checkpoint;
use crate::compute::{Compute, MemoryUse};
use crate::error::Error;
use crate::nets::clip_text::{ClipText, ClipTextConfig};
use crate::text_to_video::load_net;

/// The net, loaded where it is wanted.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    checkpoint: Checkpoint,
    compute: Compute,
    config: ClipTextConfig,
    net: RefCell<Option<ClipText>>,
}

impl TextEncoder {
    /// Loads the net for the first time.
    ///
    /// # Errors
    /// As [`crate::text_to_video::TextToVideo::load`].
    pub(crate) fn load(checkpoint: &Checkpoint, compute: Compute) -> Result<Self, Error> {
        let net = load(checkpoint, compute)?;
        let config = net.config().clone();
        Ok(Self { checkpoint: checkpoint.clone(), compute, config, net: RefCell::new(Some(net)) })
    }

    /// What the net was built from.
    pub(crate) fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Features of token ids: [1, tokens, features]
    ///
    /// # Errors
    /// When the net was released, and cannot be loaded again.
    pub(crate) fn encode(&self, ids: &[i64]) -> Result<Tensor, Error> {
        let _no_gradients = tch::no_grad_guard();
        if let Some(net) = &*self.net.borrow() {
            return Ok(net.forward(ids));
        }
        let net = load(&self.checkpoint, self.compute)?;
        Ok(self.net.borrow_mut().insert(net).forward(ids))
    }

    /// Leaves the net's memory to the others, unless memory may be taken to be faster.
    pub(crate) fn release(&self) {
        if self.compute.memory != MemoryUse::Fast {
            *self.net.borrow_mut() = None;
        }
    }
}

fn load(checkpoint: &Checkpoint, compute: Compute) -> Result<ClipText, Error> {
    load_net(checkpoint, "text_encoder", compute, ClipText::new)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::Device;

    use super::*;

    #[test]
    fn it_goes_and_comes_back_the_same() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
        let checkpoint = crate::registry::open(&case).unwrap();
        for (memory, stays) in
            [(MemoryUse::Low, false), (MemoryUse::Balanced, false), (MemoryUse::Fast, true)]
        {
            let compute = Compute { memory, ..Compute::exact(Device::Cpu) };
            let encoder = TextEncoder::load(&checkpoint, compute).unwrap();
            let features = encoder.encode(&[1, 2, 3]).unwrap();
            encoder.release();
            assert_eq!(encoder.net.borrow().is_some(), stays);
            assert_eq!(encoder.encode(&[1, 2, 3]).unwrap(), features);
        }
    }
}
