//! The shapes that `random-checkpoint` knows: files as they are published, and every tensor.

/// A checkpoint's shape.
pub struct Shape {
    /// What `--like` calls it.
    pub name: &'static str,
    /// Every tensor: a line for each layer, with its weight's shape and whether it has a bias, or `pe` where a positional
    /// embedding is all that it has. `motionflow` tests that its nets ask for exactly these
    /// (`tests/random_checkpoints.rs`).
    pub tensors: &'static str,
    /// Files that are text: configs as published, and a vocabulary that is at hand.
    pub files: &'static [(&'static str, &'static str)],
    /// The file for the weights of each component of the list.
    pub weights: &'static [(&'static str, &'static str)],
}

macro_rules! text {
    ($path:literal) => {
        include_str!(concat!("../", $path))
    };
}

const VOCABULARY: &str = text!("../models/demo/tokenizer/vocab.json");
const MERGES: &str = text!("../models/demo/tokenizer/merges.txt");
const VAE: &str = text!("zeroscope/vae/config.json");

/// Every shape, the default first.
pub const SHAPES: [Shape; 2] = [
    Shape {
        name: "zeroscope",
        tensors: text!("zeroscope/tensors.txt"),
        files: &[
            ("model_index.json", text!("zeroscope/model_index.json")),
            ("unet/config.json", text!("zeroscope/unet/config.json")),
            ("vae/config.json", VAE),
            ("text_encoder/config.json", text!("zeroscope/text_encoder/config.json")),
            ("scheduler/scheduler_config.json", text!("zeroscope/scheduler/scheduler_config.json")),
            ("tokenizer/tokenizer_config.json", text!("zeroscope/tokenizer/tokenizer_config.json")),
            ("tokenizer/special_tokens_map.json", text!("zeroscope/tokenizer/special_tokens_map.json")),
            ("tokenizer/vocab.json", VOCABULARY),
            ("tokenizer/merges.txt", MERGES),
        ],
        weights: &[
            ("text_encoder", "text_encoder/model.safetensors"),
            ("unet", "unet/diffusion_pytorch_model.safetensors"),
            ("vae", "vae/diffusion_pytorch_model.safetensors"),
        ],
    },
    // Stable Diffusion 1.5 and the motion adapter v1-5-2, in a folder each; the VAE has ZeroScope's shape.
    Shape {
        name: "animatediff",
        tensors: text!("animatediff/tensors.txt"),
        files: &[
            ("base/model_index.json", text!("animatediff/base/model_index.json")),
            ("base/unet/config.json", text!("animatediff/base/unet/config.json")),
            ("base/vae/config.json", VAE),
            ("base/text_encoder/config.json", text!("animatediff/base/text_encoder/config.json")),
            (
                "base/scheduler/scheduler_config.json",
                text!("animatediff/base/scheduler/scheduler_config.json"),
            ),
            (
                "base/tokenizer/tokenizer_config.json",
                text!("animatediff/base/tokenizer/tokenizer_config.json"),
            ),
            (
                "base/tokenizer/special_tokens_map.json",
                text!("animatediff/base/tokenizer/special_tokens_map.json"),
            ),
            ("base/tokenizer/vocab.json", VOCABULARY),
            ("base/tokenizer/merges.txt", MERGES),
            ("motion-adapter/config.json", text!("animatediff/motion-adapter/config.json")),
        ],
        weights: &[
            ("text_encoder", "base/text_encoder/model.safetensors"),
            ("unet", "base/unet/diffusion_pytorch_model.safetensors"),
            ("vae", "base/vae/diffusion_pytorch_model.safetensors"),
            ("motion_adapter", "motion-adapter/diffusion_pytorch_model.safetensors"),
        ],
    },
];
