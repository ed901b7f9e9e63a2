"""Writes what the referee sees in three frames, for the Rust side to be compared with.

    python detector_case.py --atlas atlas.npz --detector ../../models/demo-detector \\
        --out ../../crates/motionflow-eval/tests/cases/detector.npz

`frames` [3, 128, 128, 3] uint8; `probabilities` [3, 49, 8, 8]: every eighth row and column of the 64; and three
readings I, each with `wantedI` (classes), `centresI` [subjects, 3, 2], `cellsI` [subjects, 3] of the masks, `rightI`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import detector
import make_clips
import world

# both subjects that are there; one that is not, beside one that is; one alone that is not
READINGS = [["cat", "balloon"], ["guitar", "balloon"], ["guitar"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    _, subjects, scene, motions, seed = next(c for c in make_clips.EXPERIMENTS if c[0] == "cat-right-balloon-up")
    video, _ = world.Renderer(args.atlas)(make_clips.plan_of(subjects, scene, motions, seed))
    bytes_ = ((video[0, [0, 7, 15]] + 1) * 127.5).round().byte()
    net = detector.load(args.detector)
    p = detector.look(net, bytes_.float() / 127.5 - 1)
    case = {"frames": bytes_.permute(0, 2, 3, 1).numpy(), "probabilities": p[:, :, ::8, ::8].numpy()}
    for i, names in enumerate(READINGS):
        wanted = [1 + world.NAMES.index(name) for name in names]
        read = detector.read(p, wanted)
        case |= {f"wanted{i}": np.array(wanted), f"centres{i}": torch.stack([r[0] for r in read]).numpy(),
                 f"cells{i}": torch.stack([r[1].sum((1, 2)) for r in read]).numpy(),
                 f"right{i}": np.array(detector.right(p, wanted))}
    np.savez_compressed(args.out, **case)


if __name__ == "__main__":
    main()
