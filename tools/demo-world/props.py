"""What stands about in the scenes and may hide a subject: trees, rocks, lamp posts. Painted from a seed, soft-edged.

    python props.py --sheet props.png     # look at them
"""

import argparse

import numpy as np
import torch

SIDE = 128
SEEDS = 20  # for training
HELD_OUT_SEEDS = 4  # the seeds behind those
#: What may stand in a kind of scene.
OF_SCENE = {
    "grass": ["tree", "bush", "rock"], "desert": ["cactus", "rock"], "snow": ["fir", "rock"], "sea": ["rock"],
    "night": ["cloud"], "forest": ["fir", "tree", "bush"], "road": ["lamp", "tree", "sign"], "beach": ["palm", "rock"],
}
KINDS = ["tree", "fir", "bush", "rock", "cactus", "palm", "lamp", "sign", "cloud"]
#: Half of the width of what hides, and the least and the most scale.
HALF_WIDTH = {"tree": 0.45, "fir": 0.35, "bush": 0.6, "rock": 0.6, "cactus": 0.3, "palm": 0.4, "lamp": 0.12, "sign": 0.25, "cloud": 0.7}
SCALE = {"tree": (0.5, 0.8), "fir": (0.5, 0.85), "bush": (0.25, 0.4), "rock": (0.2, 0.4), "cactus": (0.4, 0.65), "palm": (0.55, 0.85),
         "lamp": (0.6, 0.95), "sign": (0.4, 0.6), "cloud": (0.3, 0.5)}


def paint(kind: str, seed: int) -> np.ndarray:
    """[4, SIDE, SIDE] uint8, premultiplied. The same kind and seed always give the same picture."""
    rng = np.random.default_rng([KINDS.index(kind), seed, 77])
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE * 2 - 1
    image, alpha = np.zeros((SIDE, SIDE, 3), np.float32), np.zeros((SIDE, SIDE), np.float32)
    edge = lambda distance: 1 / (1 + np.exp(-np.clip(distance / 0.018, -30, 30)))  # distance: positive inside
    colour = lambda r, g, b, spread=0.04: np.array([r, g, b], np.float32) + rng.standard_normal(3).astype(np.float32) * spread

    def lay(shape, c, shade=0.0):
        nonlocal image, alpha
        picture = c + shade * (0.35 - x - 0.7 * y)[..., None] * 0.12
        image, alpha = image + (picture - image) * shape[..., None], alpha + (1 - alpha) * shape

    box = lambda cx, half, top, bottom: edge(np.minimum(half - abs(x - cx), np.minimum(y - top, bottom - y)))
    blob = lambda cx, cy, rx, ry: edge((1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry))
    trunk = colour(0.4, 0.28, 0.17)
    if kind == "tree":
        lay(box(0, rng.uniform(0.07, 0.11), -0.2, 0.95), trunk, 1)
        leaves = colour(0.2, 0.45, 0.18)
        for _ in range(7):
            lay(blob(rng.uniform(-0.3, 0.3), rng.uniform(-0.65, -0.1), rng.uniform(0.22, 0.34), rng.uniform(0.2, 0.3)),
                leaves * rng.uniform(0.9, 1.1), 1)
    elif kind == "fir":
        lay(box(0, 0.06, 0.6, 0.95), trunk, 1)
        needles = colour(0.13, 0.33, 0.22)
        for top, bottom, half in ((0.05, 0.75, 0.45), (-0.4, 0.3, 0.36), (-0.92, -0.15, 0.26)):
            inside = np.minimum((y - top) * half / (bottom - top) - abs(x), bottom - y)
            lay(edge(inside), needles * rng.uniform(0.9, 1.12), 1)
    elif kind == "bush":
        leaves = colour(0.24, 0.46, 0.2)
        for _ in range(6):
            lay(blob(rng.uniform(-0.5, 0.5), rng.uniform(0.15, 0.5), rng.uniform(0.28, 0.42), rng.uniform(0.25, 0.4)),
                leaves * rng.uniform(0.88, 1.12), 1)
    elif kind in ("rock", "cloud"):
        stone = colour(0.5, 0.48, 0.46) if kind == "rock" else colour(0.3, 0.3, 0.45)
        for _ in range(5):
            lay(blob(rng.uniform(-0.45, 0.45), rng.uniform(0.0, 0.35), rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45)),
                stone * rng.uniform(0.92, 1.08), 2)
    elif kind == "cactus":
        green = colour(0.25, 0.5, 0.28)
        side = rng.choice([-1, 1])
        for sign, low, high in ((side, 0.25, -0.3), (-side, 0.0, -0.5)):
            lay(box(sign * 0.32, 0.08, high, low), green, 1)
            lay(box(sign * 0.18, 0.2, low - 0.14, low), green, 1)
        lay(box(0, 0.13, -0.85, 0.95), green, 1)
    elif kind == "palm":
        lean = rng.uniform(-0.15, 0.15)
        lay(edge(np.minimum(0.055 - abs(x - lean * (0.95 - y)), np.minimum(y + 0.5, 0.95 - y))), trunk * 1.2, 1)
        leaves = colour(0.24, 0.5, 0.22)
        for turn in np.linspace(-2.6, -0.5, 6):
            cx, cy = lean * 1.45 + 0.24 * np.cos(turn), -0.5 + 0.24 * np.sin(turn) + 0.1
            u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
            lay(edge((1 - np.hypot(u / 0.3, v / 0.09)) * 0.09), leaves * rng.uniform(0.85, 1.15), 1)
    elif kind == "lamp":
        steel = colour(0.2, 0.22, 0.25, 0.02)
        lay(box(0, 0.045, -0.7, 0.97), steel)
        lay(box(0, 0.12, 0.88, 0.97), steel)
        lay(blob(0, -0.78, 0.14, 0.14), colour(0.98, 0.9, 0.6, 0.02))
        lay(box(0, 0.15, -0.95, -0.88), steel)
    else:
        lay(box(0, 0.04, -0.3, 0.97), colour(0.55, 0.56, 0.58, 0.02))
        face = [colour(0.8, 0.2, 0.16), colour(0.15, 0.35, 0.7), colour(0.95, 0.8, 0.2)][rng.integers(3)]
        lay(blob(0, -0.5, 0.3, 0.3), np.array([0.95, 0.95, 0.95], np.float32))
        lay(blob(0, -0.5, 0.24, 0.24), face)
    return (np.clip(np.concatenate([image, alpha[..., None]], -1), 0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1)


def bank() -> torch.Tensor:
    """All kinds at all seeds: [kinds, SEEDS + HELD_OUT_SEEDS, 4, SIDE, SIDE] float32 in 0..1, premultiplied."""
    seeds = range(SEEDS + HELD_OUT_SEEDS)
    return torch.from_numpy(np.stack([np.stack([paint(kind, seed) for seed in seeds]) for kind in KINDS])).float() / 255


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", default="props.png")
    args = parser.parse_args()
    from PIL import Image

    flat = bank()[:, :8]
    flat = flat[:, :, :3] + 0.7 * (1 - flat[:, :, 3:])
    rows = [torch.cat(list(kind), -1) for kind in flat]
    Image.fromarray((torch.cat(rows, -2).permute(1, 2, 0) * 255).byte().numpy()).save(args.sheet)


if __name__ == "__main__":
    main()
