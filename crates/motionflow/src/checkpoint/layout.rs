//! What the folder of a checkpoint holds, by its kind.

use serde_json::Value;

use super::TOKENIZER_CONFIG;

/// The layout of the checkpoints of one architecture.
#[derive(Debug)]
pub struct Layout {
    /// The pipelines of diffusers that save such checkpoints: `_class_name` in `model_index.json`.
    pub pipelines: &'static [&'static str],
    /// The parts, the denoising net first.
    pub components: &'static [Component],
    /// Parts that not every such checkpoint has: those for which `model_index.json` names a class.
    pub optional: &'static [Component],
    /// What else in `model_index.json` matters.
    pub entries: &'static [IndexEntry],
    /// Whether the denoising net needs a motion adapter, which lies in a folder of its own.
    pub takes_motion_adapter: bool,
}

/// A part of a checkpoint: a folder with a config.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// Of the folder.
    pub name: &'static str,
    /// What is in it.
    pub kind: ComponentKind,
    /// The classes of diffusers or transformers that can be run.
    pub classes: fn() -> Vec<&'static str>,
}

/// An entry of `model_index.json` that changes the arithmetic, or stands for a part that cannot be run.
#[derive(Debug, Clone, Copy)]
pub struct IndexEntry {
    /// Its key. It may be missing, and null says as much.
    pub key: &'static str,
    /// Whether a value that is not null can be run.
    pub is_run: fn(&Value) -> bool,
    /// What can be run, in words.
    pub expected: &'static str,
}

/// What is in a component's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentKind {
    /// A net of diffusers.
    Net,
    /// A net of transformers.
    TextEncoder,
    /// A tokenizer of transformers.
    Tokenizer,
    /// The noise schedule.
    Scheduler,
}

impl Layout {
    /// The component of this name.
    pub(super) fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().chain(self.optional).find(|component| component.name == name)
    }
}

impl Component {
    /// The name of its config file.
    pub(super) fn config(&self) -> &'static str {
        match self.kind {
            ComponentKind::Net | ComponentKind::TextEncoder => "config.json",
            ComponentKind::Tokenizer => TOKENIZER_CONFIG,
            ComponentKind::Scheduler => "scheduler_config.json",
        }
    }

    /// What its weights are called, without ending or variant, as safetensors and as `.bin`. None where it has none.
    pub(super) fn weight_stems(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            ComponentKind::Net => Some(("diffusion_pytorch_model", "diffusion_pytorch_model")),
            ComponentKind::TextEncoder => Some(("model", "pytorch_model")),
            ComponentKind::Tokenizer | ComponentKind::Scheduler => None,
        }
    }
}
