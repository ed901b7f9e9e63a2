"""Write wan_vae/: a small random `AutoencoderKLWan` as published, a clip and latents, and what diffusers makes of them.

    python make_wan_vae.py
    python make_wan_vae.py --out OUT --dim 8 --mult 1,2,4,4 --layers 2 --halved 0,1,1 --frames 13 --latent 4x6

OUT/config.json, OUT/diffusion_pytorch_model.safetensors (float16), and in OUT/case.safetensors, in float32:
frames [F,3,H,W] in [-1,1] -> mean [1,C,f,h,w], normalised [1,C,f,h,w]; latents [1,C,f,h,w] -> decoded [F,3,H,W].

Needs torch 2.11.0, diffusers 0.42.1, safetensors.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--out", type=Path, default=Path(__file__).parent / "wan_vae")
p.add_argument("--seed", type=int, default=0)
p.add_argument("--dim", type=int, default=4)
p.add_argument("--mult", default="1,1,1,2")
p.add_argument("--layers", type=int, default=1)
p.add_argument("--halved", default="0,1,1", help="temperal_downsample")
p.add_argument("--channels", type=int, default=3, help="of the latents")
p.add_argument("--frames", type=int, default=9)
p.add_argument("--latent", default="1x3", help="height x width")
a = p.parse_args()

torch.manual_seed(a.seed)
torch.set_grad_enabled(False)
mult, halved = [int(x) for x in a.mult.split(",")], [x == "1" for x in a.halved.split(",") if x]
h, w = (int(x) for x in a.latent.split("x"))
scale, time_scale = 2 ** (len(mult) - 1), 2 ** sum(halved)
vae = AutoencoderKLWan(
    base_dim=a.dim, z_dim=a.channels, dim_mult=mult, num_res_blocks=a.layers, temperal_downsample=halved,
    latents_mean=[round(x, 4) for x in torch.randn(a.channels).tolist()],
    latents_std=[round(x, 4) for x in (torch.rand(a.channels) + 0.5).tolist()],
    scale_factor_temporal=time_scale, scale_factor_spatial=scale)
for parameter in vae.parameters():
    parameter.add_(torch.randn_like(parameter) * 0.05)
    parameter.copy_(parameter.half())
frames = torch.rand(a.frames, 3, h * scale, w * scale) * 2 - 1
latents = torch.randn(1, a.channels, 1 + (a.frames - 1) // time_scale, h, w)
mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))


def compute(dtype):
    vae.to(dtype)
    encoded = vae.encode(frames.to(dtype).permute(1, 0, 2, 3)[None]).latent_dist.mean
    return encoded, vae.decode(latents.to(dtype)).sample[0].permute(1, 0, 2, 3)


exact, (encoded, decoded) = compute(torch.float64), compute(torch.float32)
for single, double in zip((encoded, decoded), exact):
    difference = ((single - double).norm() / double.norm()).item()
    assert difference < 2e-5, f"float32 is off by {difference}: take another --seed"

a.out.mkdir(exist_ok=True, parents=True)
config = {key: value for key, value in vae.config.items() if key != "_use_default_values"}
(a.out / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan"} | config, indent=2) + "\n")
save_file({key: value.half() for key, value in vae.state_dict().items()}, a.out / "diffusion_pytorch_model.safetensors")
tensors = {"frames": frames, "mean": encoded, "normalised": (encoded - mean) * (1 / std), "latents": latents, "decoded": decoded}
save_file({key: value.contiguous() for key, value in tensors.items()}, a.out / "case.safetensors")
