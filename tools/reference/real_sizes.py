"""The published sizes of both architectures, with random weights, and tiny ones to try a script on: for
bench_reference_arch.py.  Needs torch and diffusers alone."""

from __future__ import annotations

from dataclasses import dataclass

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, DDIMScheduler, UNetMotionModel, WanTransformer3DModel

import motionflow_arch as arch

diffusers.utils.logging.set_verbosity_error()

# What diffusers keeps in float32 when it loads the transformer in half precision.
WAN_FLOAT32 = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")


@dataclass
class Size:
    """A net at some size, and the video it is timed on."""

    video: str  # WxHxF in pixels and frames
    net: dict
    vae: dict
    text: tuple[int, int]  # tokens, features
    guidance: tuple[int, int] | None = None  # Wan: first and last guidance block


SD15_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
TINY_VAE = {"block_out_channels": (16, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 8}
WAN_13B = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
SIZES = {
    "animatediff": Size("512x512x16", {"cross_attention_dim": 768, "num_attention_heads": 8, "use_motion_mid_block": True}, SD15_VAE, (77, 768)),
    "animatediff-v3": Size("512x512x16", {"cross_attention_dim": 768, "num_attention_heads": 8, "use_motion_mid_block": False}, SD15_VAE, (77, 768)),
    "animatediff-tiny": Size("64x64x4", {"cross_attention_dim": 16, "num_attention_heads": 2, "motion_num_attention_heads": 2, "norm_num_groups": 8,
                                         "block_out_channels": (16, 16, 32, 32), "layers_per_block": 1}, TINY_VAE, (77, 16)),
    "wan-1.3b": Size("832x480x81", WAN_13B, {}, (512, 4096), (10, 19)),
    "wan-14b": Size("832x480x81", {}, {}, (512, 4096), (13, 26)),
    "wan-tiny": Size("64x64x9", {"num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64, "num_layers": 4, "text_dim": 24, "freq_dim": 32},
                     {"base_dim": 8, "num_res_blocks": 1}, (512, 24), (1, 2)),
}


@dataclass
class Case:
    """Nets and inputs; latents, text and frames as the nets take them."""

    net: arch.Net
    vae: torch.nn.Module
    shape: tuple  # of the latents
    pixels: tuple  # frames, height, width
    text: tuple

    @property
    def is_wan(self):
        return isinstance(self.net, arch.Wan)


def build(name, video=None, guidance=None, self_attention=False) -> Case:
    """On torch's default device and in its default dtype, weights as torch initialises them.  `guidance`: (first, last)
    block; `self_attention`: Wan's same-frame and same-place maps too."""
    size = SIZES[name]
    width, height, frames = (int(x) for x in (video or size.video).split("x"))
    if name.startswith("wan"):
        first, last = guidance or size.guidance
        transformer, vae = WanTransformer3DModel(**size.net), AutoencoderKLWan(**size.vae)
        for parameter_name, parameter in transformer.named_parameters():
            if any(kept in parameter_name for kept in WAN_FLOAT32):
                parameter.data = parameter.data.float()
        net = arch.Wan(transformer, 3.0, range(first, last + 1), self_attention)
        shape = (1, 16, 1 + (frames - 1) // 4, height // 8, width // 8)
    else:
        net = arch.AnimateDiff(UNetMotionModel(sample_size=64, **size.net), DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1))
        vae = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, **size.vae)
        shape = (1, 4, frames, height // 8, width // 8)
    for module in (net.module, vae):
        module.eval().requires_grad_(False)
    return Case(net, vae, shape, (frames, height, width), (1, *size.text))
