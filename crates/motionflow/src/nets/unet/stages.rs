//! The net as a row of stages, each from one tensor to the next: what runs forward, and what a gradient goes back through.

use std::ops::ControlFlow;

use tch::Tensor;

use super::blocks::{Conditions, Convolutions};
use crate::kernels;
use crate::nets::attention::{AttentionObserver, repeated};
use crate::nets::layers::Conv2d;
use crate::nets::resnet::{Downsample2D, Upsample2D};
use crate::nets::temporal::TransformerTemporal;
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

/// What a stage takes of the last skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// Nothing.
    None,
    /// Its channels, behind those of the input; the skip is used up.
    Joined,
    /// Its height and width.
    Size,
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

/// The hidden states and the skips between two stages, each with the number of what made it, where that is kept.
pub(super) struct State {
    pub(super) x: (Option<usize>, Tensor),
    pub(super) skips: Vec<(Option<usize>, Tensor)>,
}

impl State {
    pub(super) fn new(x: Tensor) -> Self {
        Self { x: (None, x), skips: Vec::new() }
    }

    /// What a stage takes of the skips.
    pub(super) fn skip_of(&mut self, stage: Stage) -> Option<(Option<usize>, Tensor)> {
        match stage.skip {
            Skip::None => None,
            Skip::Joined => self.skips.pop(),
            // Its size alone: no gradient goes there.
            Skip::Size => self.skips.last().map(|(made_by, skip)| (*made_by, skip.shallow_clone())),
        }
    }

    /// Goes on with what a stage has made.
    pub(super) fn advance(&mut self, stage: Stage, made_by: Option<usize>, x: Tensor) {
        if stage.is_kept {
            self.skips.push((made_by, x.shallow_clone()));
        }
        self.x = (made_by, x);
    }
}
