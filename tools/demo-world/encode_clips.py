"""Paints clips, encodes them, and keeps for each: latents, caption's token ids, and where the subjects are.

    torchrun --nproc-per-node 2 encode_clips.py --model demo --atlas atlas.npz --vae run/vae --tokenizer tokenizer --out run/data --seconds 60
    torchrun --nproc-per-node 2 encode_clips.py --model demo-wan --atlas atlas.npz --vae run/vae-wan --tokenizer tokenizer-wan \\
        --out run/data-wan --seconds 60

The data of `demo` are those of `demo-animatediff`, too.  Every process writes OUT/clips-RANK.pt with as many clips as it managed in the time:
    latents [N, C, f, 16, 16] fp16 (mean 0, variance 1), ids [N, 32] int16, at [N, 3] int16 (token of each subject), count [N] int8,
    cover [N, 3, f, 16, 16] uint8 (255: the whole cell shows the subject, in all frames of a latent frame), empty [32] (an empty
    caption's ids), vocabulary
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import models
import parallel
import variety
import wan_vae
import world
from denoiser import KINDS


@torch.no_grad()
def encode(vae, video):
    """video [B, F, 3, H, W] -> latents [B, C, f, h, w] float32 as the denoiser knows them."""
    b, f = video.shape[:2]
    with torch.autocast(video.device.type, torch.bfloat16, enabled=video.device.type == "cuda"):
        if hasattr(vae.config, "z_dim"):
            z = torch.cat([wan_vae.encode(vae, part)[0].float() for part in video.split(64)])
            mean, deviation = wan_vae.statistics(vae, z)
            return ((z - mean) / deviation).transpose(1, 2).contiguous()
        parts = video.flatten(0, 1).contiguous(memory_format=torch.channels_last).split(1024)
        z = torch.cat([vae.encode(part).latent_dist.mean.float() for part in parts])
    return z.unflatten(0, (b, f)).transpose(1, 2).contiguous() * vae.config.scaling_factor


@torch.no_grad()
def decode(vae, z):
    """The other way: frames in -1..1."""
    with torch.autocast(z.device.type, torch.bfloat16, enabled=z.device.type == "cuda"):
        if hasattr(vae.config, "z_dim"):
            z = z.transpose(1, 2)
            mean, deviation = wan_vae.statistics(vae, z)
            return torch.cat([wan_vae.decode(vae, p).float() for p in (z * deviation + mean).split(16)]).clamp(-1, 1)
        flat = z.transpose(1, 2).flatten(0, 1) / vae.config.scaling_factor
        return torch.cat([vae.decode(p).sample.float() for p in flat.split(256)]).unflatten(0, (len(z), -1)).clamp(-1, 1)


def latent_cover(cover, latent_frames):
    """[B, K, F, ...] -> [B, K, f, ...]: the mean over the frames of a latent frame, of which the first has one, the others four."""
    if cover.shape[2] == latent_frames:
        return cover
    later = cover[:, :, 1:].unflatten(2, (latent_frames - 1, -1)).mean(3)
    return torch.cat([cover[:, :, :1], later], 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["demo", "demo-wan"], default="demo")
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=100000, help="at most so many a process")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--scene-seeds", type=int, default=192)
    args = parser.parse_args()
    rank, _, device = parallel.start()
    kind = KINDS[args.model]
    vae = models.read_net(args.vae).to(device, memory_format=torch.preserve_format if kind.is_wan else torch.channels_last).eval()
    render = world.Renderer(args.atlas, device, args.scene_seeds)
    encoder = kind.encoder(args.tokenizer)
    rng = np.random.default_rng([rank, 2])
    kept = {"latents": [], "ids": [], "at": [], "count": [], "cover": []}
    total, begin, batch = 0, time.time(), 128 if device.type == "cuda" else 2
    while total < args.clips and time.time() - begin < args.seconds:
        plan = variety.sample(rng, batch, scene_seeds=args.scene_seeds, frames=kind.frames)
        video, cover = render(plan)
        kept["latents"].append(encode(vae, video).half())
        kept["cover"].append((latent_cover(world.coverage(cover, 16), kind.latent_frames) * 255).round().byte())
        for i in range(batch):
            names, text = [world.NAMES[s] for s in plan.sprite[i, : plan.count[i]]], world.caption(plan, i, rng)
            if kind.is_wan and rng.random() < 0.2:  # its tokenizer tells capitals apart
                text = text[0].upper() + text[1:]
            ids, at = encoder(text, names)
            kept["ids"].append(ids)
            kept["at"].append((at + at[:1] * 2)[: variety.SLOTS])
        kept["count"].append(torch.from_numpy(plan.count).char())
        total += batch
    data = {k: torch.cat(v).cpu() for k, v in kept.items() if k not in ("ids", "at")}
    data |= {k: torch.tensor(kept[k], dtype=torch.int16) for k in ("ids", "at")}
    data |= {"empty": torch.tensor(encoder("")[0]), "vocabulary": encoder.size}
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(data, args.out / f"clips-{rank}.pt")
    print(f"encoded {total} clips in {time.time() - begin:.0f} s; deviation {data['latents'][:2000].float().std():.3f}", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
