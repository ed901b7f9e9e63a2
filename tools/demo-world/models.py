"""The nets' shapes, the noise schedule, and how a checkpoint folder is read and written (diffusers layout)."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS, LATENT_SIZE = 4, 16


def new_vae():
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4,
                         up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=[32, 64, 128, 128],
                         layers_per_block=1, latent_channels=LATENT_CHANNELS, norm_num_groups=16, sample_size=128,
                         scaling_factor=1.0)


def new_unet(width=96):
    return UNet3DConditionModel(sample_size=LATENT_SIZE, block_out_channels=(width, 2 * width),
                                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), layers_per_block=1,
                                cross_attention_dim=128, attention_head_dim=32, norm_num_groups=32)


def new_text_encoder(vocabulary: int, length: int):
    """One layer only: a word's meaning stays in the word's own token, where the cross-attention can be grounded."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=512, projection_dim=128, num_hidden_layers=1,
        num_attention_heads=4, hidden_act="gelu", max_position_embeddings=length, bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1))


def new_scheduler():
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=False, steps_offset=1)


def write_net(module, folder: Path, file: str, prefix="", scaling_factor=None):
    """The net's config.json and its weights as fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(module, "to_json_file"):  # diffusers
        config = json.loads(module.to_json_string())
        if scaling_factor is not None:
            config["scaling_factor"] = scaling_factor
    else:
        config = json.loads(module.config.to_json_string(use_diff=False))
        config = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "projection_dim",
                  "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "hidden_act",
                  "layer_norm_eps", "attention_dropout", "initializer_factor", "initializer_range", "bos_token_id",
                  "eos_token_id", "pad_token_id", "model_type")} | {"architectures": ["CLIPTextModel"], "dtype": "float16"}
    config = {k: v for k, v in config.items() if k != "_name_or_path"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    # transformers 5 drops the prefix that every published file has
    name = lambda k: k if k.startswith(prefix) else prefix + k
    state = {name(k): v.detach().half().cpu().contiguous() for k, v in module.state_dict().items() if "position_ids" not in k}
    save_file(state, folder / file, metadata={"format": "pt"})


def write_unet(unet, out: Path):
    write_net(unet, out / "unet", "diffusion_pytorch_model.safetensors")


def write_vae(vae, out: Path, scaling_factor: float):
    write_net(vae, out / "vae", "diffusion_pytorch_model.safetensors", scaling_factor=scaling_factor)


def write_text_encoder(text, out: Path):
    write_net(text, out / "text_encoder", "model.safetensors", prefix="text_model.")


def write_index(out: Path):
    """model_index.json and the scheduler's config."""
    new_scheduler().save_pretrained(out / "scheduler")
    (out / "model_index.json").write_text(json.dumps({
        "_class_name": "TextToVideoSDPipeline", "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"]}, indent=2) + "\n")


def read(folder: Path, device="cpu"):
    """(vae, unet, text encoder), float32, frozen, from a checkpoint folder."""
    folder = Path(folder)
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    unet = UNet3DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    text = CLIPTextModel(CLIPTextConfig(**config)).float()
    load_weights(text, folder / "text_encoder" / "model.safetensors")
    return tuple(m.to(device).eval().requires_grad_(False) for m in (vae, unet, text))


def load_weights(module, file):
    """Fills a net from fp16 safetensors, whichever of the two text-encoder prefixes it and the net have."""
    given = {k.removeprefix("text_model."): v.float() for k, v in load_file(file).items()}
    want = {k: k.removeprefix("text_model.") for k in module.state_dict() if "position_ids" not in k}
    missing = [k for k, short in want.items() if short not in given]
    if missing:
        raise SystemExit(f"{file}: no {missing[:3]}")
    module.load_state_dict({k: given[short] for k, short in want.items()}, strict=False)
