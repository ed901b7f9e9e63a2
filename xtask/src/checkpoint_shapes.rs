//! The shapes that `random-checkpoint` knows: files as they are published, and every tensor.

/// A checkpoint's shape.
pub struct Shape {
    /// What `--like` calls it.
    pub name: &'static str,
    /// Every tensor, as [`crate::tensor_list`] reads it. `motionflow` tests that its nets ask for exactly these
    /// (`tests/random_checkpoints.rs`).
    pub tensors: &'static [&'static str],
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
pub const SHAPES: [Shape; 4] = [
    Shape {
        name: "zeroscope",
        tensors: &[text!("zeroscope/tensors.txt")],
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
        tensors: &[text!("animatediff/tensors.txt")],
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
    wan("wan-1.3b", &[WAN, text!("wan/1.3b/tensors.txt")], &SMALL_WAN_FILES),
    wan("wan-14b", &[WAN, text!("wan/14b/tensors.txt")], &LARGE_WAN_FILES),
];

/// UMT5 and the VAE, which both sizes of Wan 2.1 have.
const WAN: &str = text!("wan/tensors.txt");

const SMALL_WAN_FILES: [(&str, &str); 8] = wan_files(text!("wan/1.3b/transformer/config.json"));
const LARGE_WAN_FILES: [(&str, &str); 8] = wan_files(text!("wan/14b/transformer/config.json"));

/// Wan 2.1 text-to-video. The published files are float32 and in several shards; here each component is one file of float16.
const fn wan(
    name: &'static str,
    tensors: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
) -> Shape {
    Shape {
        name,
        tensors,
        files,
        weights: &[
            ("text_encoder", "text_encoder/model.safetensors"),
            ("transformer", "transformer/diffusion_pytorch_model.safetensors"),
            ("vae", "vae/diffusion_pytorch_model.safetensors"),
        ],
    }
}

/// The tokenizer knows few words: 400 pieces and UMT5's extra ids.
const fn wan_files(transformer: &'static str) -> [(&'static str, &'static str); 8] {
    [
        ("model_index.json", text!("wan/model_index.json")),
        ("transformer/config.json", transformer),
        ("vae/config.json", text!("wan/vae/config.json")),
        ("text_encoder/config.json", text!("wan/text_encoder/config.json")),
        ("scheduler/scheduler_config.json", text!("wan/scheduler/scheduler_config.json")),
        ("tokenizer/tokenizer.json", text!("wan/tokenizer/tokenizer.json")),
        ("tokenizer/tokenizer_config.json", text!("wan/tokenizer/tokenizer_config.json")),
        ("tokenizer/special_tokens_map.json", text!("wan/tokenizer/special_tokens_map.json")),
    ]
}
