"""The eight painted scenes, each drawn from a seed: smooth noise, soft edges, no detail under a few pixels.

A scene is a panorama [3, 128, 192]; a clip looks at a 128-wide window of it, perhaps mirrored.
Seeds below HELD_OUT_SEED are for training, seeds from it on are never trained on.
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SCENES = ["grass", "desert", "snow", "sea", "night", "forest", "road", "beach"]
HEIGHT, PANORAMA = 128, 192
HELD_OUT_SEED = 1_000_000


def paint(kind: str, seed: int) -> np.ndarray:
    """One panorama as [3, 128, 192] uint8.  The same kind and seed always give the same picture."""
    rng = np.random.default_rng([SCENES.index(kind), seed])
    y, x = np.mgrid[0:HEIGHT, 0:PANORAMA].astype(np.float32) / HEIGHT

    def noise(cell, amount):
        """Smooth noise with features about `cell` pixels wide."""
        grid = rng.standard_normal((HEIGHT // cell + 2, PANORAMA // cell + 2)).astype(np.float32)
        big = F.interpolate(torch.from_numpy(grid)[None, None], size=(HEIGHT, PANORAMA), mode="bicubic", align_corners=False)
        return amount * big[0, 0].numpy()

    def colour(red, green, blue, spread=0.05):
        return np.array([red, green, blue], np.float32) + rng.standard_normal(3).astype(np.float32) * spread

    def blend(below, above, edge):
        """`edge` 0: above, 1: below."""
        return above + (below - above) * edge[..., None]

    def step(value, softness=0.006):
        return 1 / (1 + np.exp(-np.clip(value / softness, -30, 30)))

    def sky(top, bottom):
        return blend(bottom, top, np.clip(y / 0.7, 0, 1))

    def flat(c, *textures):
        return c + sum(textures, np.zeros_like(y))[..., None]

    horizon = rng.uniform(0.3, 0.6)
    ground = step(y - horizon - noise(32, 0.012))
    day = sky(colour(0.45, 0.68, 0.92), colour(0.8, 0.9, 0.98))
    if kind == "grass":
        image = blend(flat(colour(0.32, 0.62, 0.26), noise(12, 0.03), noise(32, 0.03)), day, ground)
    elif kind == "desert":
        dunes = step(y - horizon - 0.14 - noise(40, 0.035), 0.008)
        sand = colour(0.87, 0.72, 0.46)
        image = blend(flat(sand, noise(24, 0.02)), sky(colour(0.62, 0.82, 0.95), colour(0.95, 0.9, 0.76)), ground)
        image = blend(flat(sand * rng.uniform(0.88, 1.06), noise(20, 0.02)), image, dunes)
    elif kind == "snow":
        image = blend(flat(colour(0.92, 0.95, 0.98, 0.02), noise(16, 0.012), noise(40, 0.02)),
                      sky(colour(0.56, 0.65, 0.78), colour(0.78, 0.83, 0.9)), ground)
    elif kind == "sea":
        waves = 0.03 * np.sin(y * rng.uniform(45, 65) + 2.5 * noise(24, 1.0))
        image = blend(flat(colour(0.12, 0.38, 0.62), waves * step(y - horizon, 0.05), -0.12 * y), day, step(y - horizon))
    elif kind == "night":
        image = sky(colour(0.03, 0.03, 0.13, 0.02), colour(0.12, 0.1, 0.28, 0.03)) + np.zeros((HEIGHT, PANORAMA, 3), np.float32)
        for _ in range(rng.integers(14, 30)):
            cy, cx, size, light = rng.uniform(0, 1), rng.uniform(0, 1.5), rng.uniform(0.008, 0.016), rng.uniform(0.4, 1)
            image += (light * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / size**2))[..., None]
        if rng.random() < 0.4:
            cy, cx, size = rng.uniform(0.1, 0.35), rng.uniform(0.1, 1.4), rng.uniform(0.06, 0.1)
            image = blend(colour(0.95, 0.93, 0.8, 0.03), image, step(size - np.hypot(y - cy, x - cx)))
    elif kind == "forest":
        image = flat(colour(0.16, 0.36, 0.18), noise(16, 0.04), 0.15 * (0.5 - y))
        floor = step(y - rng.uniform(0.7, 0.82) - noise(24, 0.012))
        trunk, spacing, at = colour(0.32, 0.22, 0.13, 0.03), rng.uniform(0.16, 0.3), rng.uniform(0, 0.2)
        while at < 1.5:
            half = rng.uniform(0.018, 0.04)
            image = blend(trunk * rng.uniform(0.85, 1.15), image, step(half - abs(x - at)))
            at += spacing * rng.uniform(0.7, 1.4)
        image = blend(flat(colour(0.26, 0.42, 0.18), noise(16, 0.03)), image, floor)
    elif kind == "road":
        image = blend(flat(colour(0.42, 0.6, 0.33), noise(16, 0.03)), day, ground)
        top, wide = horizon + rng.uniform(0.08, 0.18), rng.uniform(0.24, 0.34)
        image = blend(colour(0.36, 0.36, 0.39, 0.02), image, step(y - top) * step(top + wide - y))
        dashes = step(0.014 - abs(y - top - wide / 2)) * step(np.sin(x * rng.uniform(35, 55)) - 0.1, 0.15)
        image = blend(colour(0.95, 0.95, 0.92, 0.02), image, dashes)
    else:
        image = blend(flat(colour(0.2, 0.56, 0.76), noise(24, 0.015)), day, step(y - horizon))
        shore = y - horizon - rng.uniform(0.1, 0.18) - noise(40, 0.015)
        image = blend(colour(0.93, 0.96, 0.97, 0.02), image, step(shore + 0.025))
        image = blend(flat(colour(0.94, 0.86, 0.64, 0.03), noise(16, 0.015)), image, step(shore))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1)


def kept(seeds, cache) -> Path:
    return Path(cache) / f"scenes-{seeds.start}-{seeds.stop}.npy"


def bank(seeds, cache=None) -> torch.Tensor:
    """All kinds at these seeds, a range: [8, len(seeds), 3, 128, 192] uint8.  With a folder `cache` they are kept there."""
    if cache and kept(seeds, cache).is_file():
        return torch.from_numpy(np.load(kept(seeds, cache)))
    pictures = np.stack([all_kinds(seed) for seed in seeds], 1)
    if cache:
        keep(pictures, kept(seeds, cache))
    return torch.from_numpy(pictures)


def all_kinds(seed) -> np.ndarray:
    return np.stack([paint(kind, seed) for kind in SCENES])


def keep(pictures, file):
    part = file.with_suffix(f".{os.getpid()}.npy")
    np.save(part, pictures)
    part.rename(file)


def main():
    parser = argparse.ArgumentParser(description="Paints the scenes that trainings take, by many processes, and keeps them beside the atlas.")
    parser.add_argument("--out", required=True, help="the atlas's folder")
    parser.add_argument("--scene-seeds", type=int, default=192)
    args = parser.parse_args()
    with multiprocessing.get_context("fork").Pool(min(16, os.cpu_count() or 1), torch.set_num_threads, (1,)) as pool:
        for seeds in (range(args.scene_seeds), range(HELD_OUT_SEED, HELD_OUT_SEED + 8)):
            keep(np.stack(pool.map(all_kinds, seeds, 2), 1), kept(seeds, args.out))


if __name__ == "__main__":
    main()
