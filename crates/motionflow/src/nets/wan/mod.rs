//! `WanTransformer3DModel`: predicts the velocity of a video's latents between noise and clean.
//!
//! Wan 2.1 (<https://arxiv.org/abs/2503.20314>) as diffusers publishes it.

mod attention;
mod block;
mod config;
mod rope;
mod text;

use std::cell::RefCell;
use std::ops::ControlFlow;

use tch::{Device, Kind, Tensor};

pub use config::WanConfig;

use self::attention::KeptProduct;
use self::block::{Block, Conditions};
use self::rope::Rotation;
use self::text::Text;
use super::attention::AttentionObserver;
use super::config::ConfigError;
use super::layers::Linear;
use super::of_texts::OfTexts;
use super::parts::Parts;
use super::trace::{Recomputed, Row, Trace};
use super::unet::timestep_features;
use crate::checkpoint::Loader;
use crate::kernels::{Scaling, scaled_norm};
use crate::native;
use crate::timestep::Timestep;

/// Rows and columns of a patch.
const PATCH: i64 = 2;

/// The net, ready to run.
#[derive(Debug)]
pub struct WanTransformer {
    config: WanConfig,
    kind: Kind,
    /// [channels, latents' channels, 1, 2, 2] and \[channels\]
    patch_embedding: [Tensor; 2],
    /// In float32.
    time_embedder: [Linear; 2],
    time_proj: Linear,
    text_embedder: [Linear; 2],
    blocks: Parts<Block>,
    /// [1, 2, channels], float32
    scale_shift_table: Tensor,
    proj_out: Linear,
    texts: OfTexts<2>,
    /// Of the last size.
    rotation: RefCell<Option<([i64; 3], Rotation)>>,
}

impl WanTransformer {
    /// Builds the net that `config` describes from the weights of a checkpoint's `transformer` folder.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: WanConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let channels = config.channels();
        let condition = weights.sub("condition_embedder");
        let wide = weights.in_kind(Kind::Float);
        let two = |weights: &Loader, input: i64| {
            [
                Linear::new(&weights.sub("linear_1"), input, channels),
                Linear::new(&weights.sub("linear_2"), channels, channels),
            ]
        };
        let patch = weights.sub("patch_embedding");
        let patch_shape = [channels, config.in_channels, 1, PATCH, PATCH];
        Ok(Self {
            patch_embedding: [patch.tensor("weight", &patch_shape), patch.tensor("bias", &[channels])],
            time_embedder: two(&wide.sub("condition_embedder.time_embedder"), config.freq_dim),
            time_proj: Linear::new(&condition.sub("time_proj"), channels, 6 * channels),
            text_embedder: two(&condition.sub("text_embedder"), config.text_dim),
            blocks: Parts::new(&weights.sub("blocks"), config.num_layers, |weights, index| {
                Block::new(&weights.sub(index), &config)
            }),
            scale_shift_table: wide.tensor("scale_shift_table", &[1, 2, channels]),
            proj_out: Linear::new(&weights.sub("proj_out"), channels, PATCH * PATCH * config.out_channels),
            texts: OfTexts::default(),
            rotation: RefCell::default(),
            kind: weights.kind(),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &WanConfig {
        &self.config
    }

    /// For each block the name of its cross-attention, and those under which its self-attention is shown: of pairs of one
    /// frame, and of one place.
    pub fn attention_names(&self) -> impl Iterator<Item = (&str, [String; 2])> {
        self.blocks.iter().map(|block| (block.cross(), block.of_video()))
    }

    /// Predicts noise − clean, or stops where the observer says so.
    ///
    /// latents [1, channels, frames, height, width], text [1, rows, features] that ends in zero rows -> shape of the latents
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let row = self.row(latents, timestep, text, Recomputed::None);
        let mut x = row.input(latents);
        for block in 0..row.count() {
            x = row.run(block, &x, None, observer)?;
        }
        let ends = (&self.scale_shift_table + row.embedding.unsqueeze(1)).chunk(2, 1);
        let scaling = Scaling::Modulated([&(&ends[1] + 1.0), &ends[0]]);
        let out = self.proj_out.forward(&scaled_norm(&x, scaling, self.config.eps));
        let [frames, rows, columns] = row.patches;
        let patches = out.view(&[1, frames, rows, columns, 1, PATCH, PATCH, -1][..]);
        let video = patches.permute([0, 7, 1, 4, 2, 5, 3, 6]);
        ControlFlow::Continue(video.reshape([1, -1, frames, rows * PATCH, columns * PATCH]))
    }

    /// Runs the net as far as the observer wants, so that the gradient of a loss on what it saw can be taken.
    ///
    /// latents [1, channels, frames, height, width], text [1, rows, features] that ends in zero rows
    pub fn trace(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        recomputed: Recomputed,
        observer: &mut dyn AttentionObserver,
    ) -> Trace<'_> {
        Trace::run(latents, |latents| self.row(latents, timestep, text, recomputed), recomputed, observer)
    }

    /// `recomputed` says what runs another time with a graph, after a run without one.
    fn row(&self, latents: &Tensor, timestep: Timestep, text: &Tensor, recomputed: Recomputed) -> Blocks<'_> {
        let keeps = recomputed == Recomputed::AllButAttention;
        let size = latents.size();
        let patches = [size[2], size[3] / PATCH, size[4] / PATCH];
        let embedding = self.time(timestep, latents);
        let [features, score] = self.texts.of(text, || {
            let Text { features, score } = Text::new(&text.to_kind(self.kind), |text| {
                let [first, second] = &self.text_embedder;
                second.forward(&first.forward(text).gelu("tanh"))
            });
            [features, score]
        });
        Blocks {
            net: self,
            time: self.time_proj.forward(&embedding.silu()).unflatten(1, [6, -1]).to_kind(Kind::Float),
            embedding,
            text: Text { features, score },
            kept: if keeps {
                (0..self.blocks.count()).map(|_| KeptProduct::default()).collect()
            } else {
                Vec::new()
            },
            is_run_twice: matches!(recomputed, Recomputed::AllButAttention | Recomputed::All),
            rotation: self.rotation(patches, latents.device()),
            patches,
        }
    }

    /// Of so many frames, and rows and columns of patches.
    fn rotation(&self, patches: [i64; 3], device: Device) -> Rotation {
        let mut last = self.rotation.borrow_mut();
        if let Some((_, rotation)) = last.as_ref().filter(|(of, _)| *of == patches) {
            return rotation.share();
        }
        let made = Rotation::new(patches, self.config.attention_head_dim, device);
        *last = Some((patches, made.share()));
        made
    }

    /// latents [1, channels, frames, height, width] -> [1, tokens, channels], as the net's weights are
    fn tokens(&self, latents: &Tensor) -> Tensor {
        let [weight, bias] = &self.patch_embedding;
        let stride = [1, PATCH, PATCH];
        let x = latents.to_kind(self.kind).conv3d(weight, Some(bias), stride, [0; 3], [1; 3], 1);
        x.flatten(2, 4).transpose(1, 2).contiguous()
    }

    /// The timestep's embedding, as the net's weights are: [1, channels]
    fn time(&self, timestep: Timestep, latents: &Tensor) -> Tensor {
        let features = timestep_features(timestep.value(), self.config.freq_dim, latents.device());
        let [first, second] = &self.time_embedder;
        second.forward(&first.forward(&features).silu()).to_kind(self.kind)
    }
}

/// The blocks under one timestep and one text.
struct Blocks<'a> {
    net: &'a WanTransformer,
    /// The timestep's embedding, [1, channels].
    embedding: Tensor,
    /// What the blocks take of it, [1, 6, channels], float32.
    time: Tensor,
    text: Text,
    /// Of each block, or none.
    kept: Vec<KeptProduct>,
    /// Whether all blocks run another time.
    is_run_twice: bool,
    rotation: Rotation,
    /// Latent frames, and rows and columns of patches.
    patches: [i64; 3],
}

impl Row for Blocks<'_> {
    fn count(&self) -> usize {
        self.net.blocks.count()
    }

    fn input(&self, latents: &Tensor) -> Tensor {
        self.net.tokens(latents)
    }

    fn is_observed(&self, stage: usize, observer: &dyn AttentionObserver) -> bool {
        let block = self.net.blocks.get(stage);
        observer.wants(block.cross()) || block.of_video().iter().any(|name| observer.wants(name))
    }

    fn run(
        &self,
        stage: usize,
        x: &Tensor,
        _skip: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let Self { time, text, rotation, patches, .. } = self;
        let kept = self.kept.get(stage);
        let is_again = self.is_run_twice && native::grad_enabled();
        let conditions = Conditions { time, text, rotation, frames: patches[0], kept, is_again };
        self.net.blocks.at(stage).forward(x, &conditions, observer)
    }
}
