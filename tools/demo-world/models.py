"""The nets' shapes, and how a checkpoint folder is read and written (diffusers layout)."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, DDIMScheduler, FlowMatchEulerDiscreteScheduler, UNet3DConditionModel, UNetMotionModel, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, UMT5Config, UMT5EncoderModel

LATENT_SIZE, TEXT = 16, 128
NET_FILE, TEXT_FILE = "diffusion_pytorch_model.safetensors", "model.safetensors"


def new_vae(channels=(48, 64, 128, 128), latent_channels=8, layers=1):
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4,
                         up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=list(channels),
                         layers_per_block=layers, latent_channels=latent_channels, norm_num_groups=16, sample_size=128, scaling_factor=1.0)


def new_vae_wan(base_dim=24, dim_mult=(1, 2, 3, 3), z_dim=16, layers=1):
    return AutoencoderKLWan(base_dim=base_dim, z_dim=z_dim, dim_mult=list(dim_mult), num_res_blocks=layers, temperal_downsample=[False, True, True],
                            latents_mean=[0.0] * z_dim, latents_std=[1.0] * z_dim)


def new_unet(latent_channels, width=96):
    return UNet3DConditionModel(sample_size=LATENT_SIZE, in_channels=latent_channels, out_channels=latent_channels,
                                block_out_channels=(width, 2 * width), down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), layers_per_block=1,
                                cross_attention_dim=TEXT, attention_head_dim=32, norm_num_groups=32)


def new_unet_motion(latent_channels, width=80):
    return UNetMotionModel(sample_size=LATENT_SIZE, in_channels=latent_channels, out_channels=latent_channels,
                           block_out_channels=(width, 2 * width), down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
                           up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"), layers_per_block=1, cross_attention_dim=TEXT,
                           num_attention_heads=4, motion_num_attention_heads=4, norm_num_groups=16, motion_max_seq_length=32, use_motion_mid_block=False)


def new_transformer(latent_channels, width=256, layers=8):
    return WanTransformer3DModel(patch_size=(1, 2, 2), num_attention_heads=width // 64, attention_head_dim=64, in_channels=latent_channels,
                                 out_channels=latent_channels, text_dim=TEXT, freq_dim=256, ffn_dim=3 * width, num_layers=layers,
                                 cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=128)


def new_clip_text(vocabulary: int, length: int):
    """One layer only: a word's meaning stays in the word's own token, where the cross-attention can be grounded."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=TEXT, intermediate_size=512, projection_dim=128, num_hidden_layers=1,
        num_attention_heads=4, hidden_act="gelu", max_position_embeddings=length, bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1))


def new_umt5(vocabulary: int, length: int):
    """One layer, as new_clip_text."""
    return UMT5EncoderModel(UMT5Config(vocab_size=vocabulary, d_model=TEXT, d_kv=32, d_ff=256, num_layers=1, num_heads=4, dropout_rate=0.0,
                                       feed_forward_proj="gated-gelu", tie_word_embeddings=False))


def new_diffusion():
    """No signal is left at the last timestep, and sampling begins there (https://arxiv.org/abs/2305.08891)."""
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
                         steps_offset=0, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True)


def new_flow():
    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def write_net(module, folder: Path, file: str, prefix="", **changes):
    """The net's config.json, with changes, and its weights as fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(module, "to_json_file"):  # diffusers
        config = json.loads(module.to_json_string()) | changes
    else:
        config = json.loads(module.config.to_json_string(use_diff=False))
        clip = ["vocab_size", "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers", "num_attention_heads",
                "max_position_embeddings", "hidden_act", "layer_norm_eps", "attention_dropout", "initializer_factor", "initializer_range",
                "bos_token_id", "eos_token_id", "pad_token_id", "model_type"]
        umt5 = ["vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "relative_attention_num_buckets",
                "relative_attention_max_distance", "dropout_rate", "layer_norm_epsilon", "feed_forward_proj", "dense_act_fn", "is_gated_act",
                "tie_word_embeddings", "pad_token_id", "eos_token_id", "model_type"]
        keys = clip if config["model_type"].startswith("clip") else umt5
        config = {k: config[k] for k in keys} | {"architectures": [type(module).__name__], "dtype": "float16"}
    config = {k: v for k, v in config.items() if k != "_name_or_path"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    # transformers 5 drops the prefix that every published file has
    name = lambda k: k if k.startswith(prefix) else prefix + k
    state = {name(k): v.detach().half().cpu().contiguous() for k, v in module.state_dict().items() if "position_ids" not in k}
    if "shared.weight" in state:
        state.pop("encoder.embed_tokens.weight", None)  # the same again
    save_file(state, folder / file, metadata={"format": "pt"})


def write_text_encoder(text, out: Path):
    write_net(text, out / "text_encoder", TEXT_FILE, prefix="text_model." if isinstance(text, CLIPTextModel) else "")


def read_text_encoder(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "umt5":
        text = UMT5EncoderModel(UMT5Config(**config))
    else:
        text = CLIPTextModel(CLIPTextConfig(**config))
    load_weights(text.float(), folder / TEXT_FILE)
    return text


def read_net(folder: Path):
    """A net of diffusers, float32, whichever its config names."""
    name = json.loads((folder / "config.json").read_text())["_class_name"]
    known = [AutoencoderKL, AutoencoderKLWan, UNet3DConditionModel, UNetMotionModel, WanTransformer3DModel]
    return {c.__name__: c for c in known}[name].from_pretrained(folder, torch_dtype=torch.float32)


def read(folder: Path, device="cpu"):
    """(vae, denoiser, text encoder), float32, frozen, from a checkpoint folder."""
    folder = Path(folder)
    net = folder / ("transformer" if (folder / "transformer").is_dir() else "unet")
    nets = read_net(folder / "vae"), read_net(net), read_text_encoder(folder / "text_encoder")
    return tuple(m.to(device).eval().requires_grad_(False) for m in nets)


def load_weights(module, file):
    """Fills a net from fp16 safetensors, whichever of the two text-encoder prefixes it and the net have."""
    given = {k.removeprefix("text_model."): v.float() for k, v in load_file(file).items()}
    if "shared.weight" in given:
        given["encoder.embed_tokens.weight"] = given["shared.weight"]
    want = {k: k.removeprefix("text_model.") for k in module.state_dict() if "position_ids" not in k}
    missing = [k for k, short in want.items() if short not in given]
    if missing:
        raise SystemExit(f"{file}: no {missing[:3]}")
    module.load_state_dict({k: given[short] for k, short in want.items()}, strict=False)
