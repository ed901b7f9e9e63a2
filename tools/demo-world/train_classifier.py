"""Trains the small classifier that says which sprites are in a frame (and which kind of scene it is).

    python train_classifier.py --atlas atlas.npz --vae run/vae --out run/classifier.pt --seconds 60

It sees frames as painted and as the VAE gives them back.  Its own accuracy is measured on held-out scenes.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL

import parallel
import world


class Classifier(nn.Module):
    """Frames [B, 3, 128, 128] in -1..1 -> logits of the sprites [B, 48] (one sprite a frame: softmax) and scenes [B, 8]."""

    def __init__(self, width=48):
        super().__init__()
        layers, channels = [], 3
        for i, out in enumerate([width, 2 * width, 4 * width, 4 * width]):
            layers += [nn.Conv2d(channels, out, 3, 2 if i else 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True),
                       nn.Conv2d(out, out, 3, 2 if i < 1 else 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)]
            channels = out
        self.trunk = nn.Sequential(*layers)
        self.sprite = nn.Linear(channels, len(world.NAMES))
        self.scene = nn.Linear(channels, len(world.SCENES))

    def forward(self, x):
        f = self.trunk(x)
        # the sprite is somewhere: its strongest place; the scene is everywhere: the mean
        return self.sprite(f.amax((2, 3))), self.scene(f.mean((2, 3)))


@torch.no_grad()
def through_vae(vae, x):
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        return vae.decode(vae.encode(x).latent_dist.mean).sample.float()


def batch(render, rng, n, split, device, seeds):
    plan = world.sample(rng, n, split, scene_seeds=seeds, two=0.0)
    video, _ = render(plan, frames=rng.integers(world.FRAMES, size=(n, 1)))
    target = lambda v: torch.from_numpy(v).to(device)
    return video[:, 0], target(plan.sprite[:, 0]), target(plan.scene)


def load(path, device="cpu"):
    net = Classifier()
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in torch.load(path, map_location="cpu").items()})
    return net.to(device).eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--scene-seeds", type=int, default=192)
    args = parser.parse_args()
    _, _, device = parallel.start()
    render = world.Renderer(args.atlas, device, args.scene_seeds, 8)
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).to(device).eval()
    net, rng, begin, step = Classifier().to(device, memory_format=torch.channels_last), np.random.default_rng(5), time.time(), 0
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    while (done := (time.time() - begin) / args.seconds) < 1:
        x, sprite, scene = batch(render, rng, args.batch, "train", device, args.scene_seeds)
        half = args.batch // 2
        x = torch.cat([through_vae(vae, x[:half]), x[half:]])
        x = x * (1 + 0.1 * torch.randn(len(x), 1, 1, 1, device=device)) + 0.05 * torch.randn(len(x), 3, 1, 1, device=device)
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            a, b = net(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(a.float(), sprite) + 0.3 * F.cross_entropy(b.float(), scene)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"classifier step {step} {time.time() - begin:.0f} s loss {loss.item():.4f}", flush=True)
    net.eval()
    right = torch.zeros(3)
    with torch.no_grad():
        for _ in range(8):
            x, sprite, scene = batch(render, rng, args.batch, "held-out", device, 8)
            a, b = net(x)
            back = net(through_vae(vae, x))[0]
            right += torch.stack([(a.argmax(1) == sprite).sum(), (back.argmax(1) == sprite).sum(), (b.argmax(1) == scene).sum()]).cpu()
    right = (right / (8 * args.batch)).tolist()
    print(f"classifier on {8 * args.batch} held-out frames: sprite {right[0]:.4f} as painted, {right[1]:.4f} through the VAE; scene {right[2]:.4f}; {step} steps")
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
