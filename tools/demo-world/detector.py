"""The referee: a small convolutional net that says where the world's subjects are in a frame, and how it is read.

crates/motionflow-eval/src/detector.rs does the same in Rust.
"""

import json
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import world

GROUPS = 8
CHANNELS = [32, 64, 96, 96]
SURE = 0.5  # a cell shows a class where its probability is above this
FLOOR = 0.1  # below this there is nothing, not even something blurred
LEAST = 8  # cells of 64 x 64 that a subject has at least


class Block(nn.Module):
    """Same size in and out."""

    def __init__(self, channels):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


class Detector(nn.Module):
    """Frames [B, 3, 128, 128] in -1..1 -> logits [B, 1 + subjects, 64, 64]; class 0 is the scene."""

    def __init__(self, classes=1 + len(world.NAMES), channels=CHANNELS):
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 3, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(channels, channels[1:]))
        self.encoder = nn.ModuleList(Block(c) for c in channels)
        wide = [channels[1], *channels[1:]]  # the finest level has room for all classes
        self.skip = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(channels[:-1], wide[:-1]))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(wide, wide[1:]))
        self.decoder = nn.ModuleList(Block(w) for w in wide[:-1])
        self.norm, self.head = nn.GroupNorm(GROUPS, wide[0]), nn.Conv2d(wide[0], classes, 1)

    def forward(self, x):
        x = self.encoder[0](self.stem(x))
        kept = []
        for down, block in zip(self.down, self.encoder[1:]):
            kept.append(x)
            x = block(down(x))
        for i in reversed(range(len(self.up))):
            x = F.interpolate(self.up[i](x), scale_factor=2.0, mode="nearest") + self.skip[i](kept[i])
            x = self.decoder[i](x)
        return self.head(F.silu(self.norm(x)))


def save(net, out: Path):
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().half().cpu().contiguous() for k, v in net.state_dict().items()}, out / "model.safetensors",
              metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps({
        "architectures": ["DemoDetector"], "image_size": world.SIZE, "grid": world.SIZE // 2, "channels": CHANNELS,
        "norm_num_groups": GROUPS, "subjects": world.NAMES}, indent=2) + "\n")


def load(folder, device="cpu"):
    net = Detector()
    net.load_state_dict({k: v.float() for k, v in load_file(Path(folder) / "model.safetensors").items()})
    return net.to(device).eval().requires_grad_(False)


@torch.no_grad()
def look(net, frames):
    """Frames [N, 3, 128, 128] -> probabilities [N, 1 + subjects, 64, 64]."""
    return torch.cat([net(part).float().softmax(1) for part in frames.split(64)])


def read(p, wanted):
    """Where each wanted class is.  p: probabilities [F, classes, n, n] of a clip; wanted: classes, from 1.

    A subject's map is its own class's probability in frames in which that is above SURE somewhere; else what is
    foreground and of none of the other wanted classes, if that is above FLOOR somewhere; else the subject is not seen.
    Its mask is where the map is above SURE, or above half of the map's maximum if that is less; its centre the mean of
    the mask's cells, weighted by the map.  Centres are in fractions of the width; where a subject is not seen, the
    picture's centre.

    Gives per wanted class: centres [F, 2], masks [F, n, n], seen [F], own [F] (by its own class).
    """
    n = p.shape[-1]
    at = (torch.arange(n, device=p.device) + 0.5) / n
    out = []
    for k in wanted:
        own = p[:, k]
        others = [c for c in wanted if c != k]
        rest = (1 - p[:, 0] - p[:, others].sum(1)).clamp(min=0)
        sure = own.amax((1, 2)) > SURE
        m = torch.where(sure[:, None, None], own, rest)
        top = m.amax((1, 2))
        seen = top > FLOOR
        mask = (m > (top / 2).clamp(max=SURE)[:, None, None]) & seen[:, None, None]
        weight = m * mask
        total = weight.sum((1, 2)).clamp(min=1e-12)
        centre = torch.stack([(weight.sum(1) * at).sum(1), (weight.sum(2) * at).sum(1)], 1) / total[:, None]
        centre = torch.where(seen[:, None], centre, torch.full_like(centre, 0.5))
        out.append((centre, mask, seen, (own > SURE).sum((1, 2)) >= LEAST))
    return out


def right(p, wanted):
    """Whether the clip shows each wanted class.  One: something is there in most frames, and most of all that class.
    Several: each is there, by its own class, in most frames."""
    frames = len(p)
    if len(wanted) == 1:
        there = ((1 - p[:, 0] > SURE).sum((1, 2)) >= LEAST).sum() * 2 > frames
        return [bool(there) and int(p[:, 1:].sum((0, 2, 3)).argmax()) + 1 == wanted[0]]
    return [bool(((p[:, k] > SURE).sum((1, 2)) >= LEAST).sum() * 2 > frames) for k in wanted]


def iou(a, b):
    """Of masks [F, n, n], per frame; nothing and nothing is 1."""
    both, either = (a & b).sum((1, 2)).float(), (a | b).sum((1, 2)).float()
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))
