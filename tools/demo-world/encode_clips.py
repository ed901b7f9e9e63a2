"""Paints clips, encodes them, and keeps for each: latents, caption's token ids, and where the subjects are.

    torchrun --nproc-per-node 2 encode_clips.py --atlas atlas.npz --vae run/vae --tokenizer tokenizer --out run/data \\
        --clips 60000 --seconds 60

Every process writes OUT/clips-RANK.pt with as many clips as it managed in the time:
    latents [N, 4, 16, 16, 16] fp16 (scaled), ids [N, 32] int16, at [N, 2] int16 (token of each subject),
    count [N] int8, cover [N, 2, 16, 16, 16] uint8 (255: the whole cell shows the subject)
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

import parallel
import world
from tokenizer import Encoder


@torch.no_grad()
def encode(vae, video):
    """video [B, F, 3, H, W] -> scaled latents [B, 4, F, h, w] float32."""
    b, f = video.shape[:2]
    with torch.autocast(video.device.type, torch.bfloat16, enabled=video.device.type == "cuda"):
        parts = video.flatten(0, 1).contiguous(memory_format=torch.channels_last).split(1024)
        z = torch.cat([vae.encode(part).latent_dist.mean.float() for part in parts])
    return z.unflatten(0, (b, f)).transpose(1, 2).contiguous() * vae.config.scaling_factor


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60000, help="at most so many a process")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--scene-seeds", type=int, default=192)
    args = parser.parse_args()
    rank, _, device = parallel.start()
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).to(device, memory_format=torch.channels_last).eval()
    render = world.Renderer(args.atlas, device, args.scene_seeds)
    encoder = Encoder(args.tokenizer)
    rng = np.random.default_rng([rank, 2])
    kept = {"latents": [], "ids": [], "at": [], "count": [], "cover": []}
    total, begin, batch = 0, time.time(), 128 if device.type == "cuda" else 2
    while total < args.clips and time.time() - begin < args.seconds:
        plan = world.sample(rng, batch, scene_seeds=args.scene_seeds)
        video, cover = render(plan)
        kept["latents"].append(encode(vae, video).half())
        kept["cover"].append((world.coverage(cover, 16) * 255).round().byte())
        for i in range(batch):
            names = [world.NAMES[s] for s in plan.sprite[i, : plan.count[i]]]
            ids, at = encoder(world.caption(plan, i, rng), names)
            kept["ids"].append(ids)
            kept["at"].append((at * 2)[:2])
        kept["count"].append(torch.from_numpy(plan.count).char())
        total += batch
    data = {k: torch.cat(v).cpu() for k, v in kept.items() if k not in ("ids", "at")}
    data |= {k: torch.tensor(kept[k], dtype=torch.int16) for k in ("ids", "at")}
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(data, args.out / f"clips-{rank}.pt")
    print(f"encoded {total} clips in {time.time() - begin:.0f} s; deviation {data['latents'][:2000].float().std():.3f}", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
