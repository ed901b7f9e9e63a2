//! The net as a row of stages, each from one tensor to the next: what runs forward, and what a gradient goes back through.

use std::ops::ControlFlow;

use tch::Tensor;

use super::UNet;
use super::blocks::{Conditions, Convolutions};
use crate::kernels;
use crate::nets::attention::{AttentionObserver, repeated};
use crate::nets::layers::Conv2d;
use crate::nets::resnet::{Downsample2D, Upsample2D};
use crate::nets::temporal::TransformerTemporal;
use crate::nets::trace::{Row, Skip};
use crate::nets::transformer_2d::Transformer2D;

/// A part of the net that runs at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) work: Work<'a>,
    /// What it takes of the stages on the way down.
    pub(super) skip: Skip,
    /// Whether its output is kept as a skip.
    pub(super) is_kept: bool,
}

/// What a stage does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work<'a> {
    In(&'a Conv2d),
    Convolutions(&'a Convolutions),
    Spatial(&'a Transformer2D),
    Temporal(&'a TransformerTemporal),
    Downsample(&'a Downsample2D),
    Upsample(&'a Upsample2D),
}

impl<'a> Stage<'a> {
    pub(super) fn of(work: Work<'a>) -> Self {
        Self { work, skip: Skip::None, is_kept: false }
    }

    /// The names of its attentions.
    pub(super) fn attention_names(&self) -> Option<[&str; 2]> {
        match self.work {
            Work::Spatial(transformer) => Some(transformer.attention_names()),
            Work::Temporal(transformer) => Some(transformer.attention_names()),
            _ => None,
        }
    }

    /// x and the skip that it takes, [images, channels, height, width] -> [images, channels', height', width']
    pub(super) fn run(
        &self,
        x: &Tensor,
        skip: Option<&Tensor>,
        conditions: &Conditions,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let joined = match (self.skip, skip) {
            // On the way down one video may still have stood for all.
            (Skip::Joined, Some(skip)) => {
                let skip = repeated(skip.shallow_clone(), x.size()[0] / skip.size()[0]);
                Tensor::cat(&[x, &skip], 1)
            }
            _ => x.shallow_clone(),
        };
        let x = &joined;
        ControlFlow::Continue(match self.work {
            Work::In(conv) => conv.forward(&kernels::laid_out(x)),
            Work::Convolutions(convolutions) => convolutions.forward(x, conditions),
            Work::Spatial(transformer) => {
                transformer.forward(x, conditions.text, conditions.frames, observer)?
            }
            Work::Temporal(transformer) => transformer.forward(x, conditions.frames, observer)?,
            Work::Downsample(downsampler) => downsampler.forward(x),
            Work::Upsample(upsampler) => {
                upsampler.forward(x, skip.map(|skip| [skip.size()[2], skip.size()[3]]))
            }
        })
    }
}

/// The net under one timestep and one text.
pub(super) struct UNetRow<'a> {
    pub(super) net: &'a UNet,
    pub(super) stages: Vec<Stage<'a>>,
    /// The timestep's embedding.
    pub(super) time: Tensor,
    /// [1, tokens, features]
    pub(super) text: Tensor,
    pub(super) frames: i64,
}

impl Row for UNetRow<'_> {
    fn count(&self) -> usize {
        self.stages.len()
    }

    fn input(&self, latents: &Tensor) -> Tensor {
        self.net.images(latents)
    }

    fn is_observed(&self, stage: usize, observer: &dyn AttentionObserver) -> bool {
        let names = self.stages[stage].attention_names();
        names.is_some_and(|names| names.iter().any(|name| observer.wants(name)))
    }

    fn skip(&self, stage: usize) -> Skip {
        self.stages[stage].skip
    }

    fn is_kept(&self, stage: usize) -> bool {
        self.stages[stage].is_kept
    }

    fn run(
        &self,
        stage: usize,
        x: &Tensor,
        skip: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let conditions = Conditions { time: &self.time, text: &self.text, frames: self.frames };
        self.stages[stage].run(x, skip, &conditions, observer)
    }
}
