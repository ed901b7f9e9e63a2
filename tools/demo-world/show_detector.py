"""Shows what the referee makes of videos: the outline of each subject's mask, red for the first, blue for the second.

    python show_detector.py --detector ../../models/demo-detector --sheet seen.png out/dog/result.mp4:dog \\
        out/pair/result.mp4:robot,bee

Where the truth lies beside a video, as with experiments/clips/*.mp4, the mean error and IoU are printed too.
"""

import argparse
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch

import detector
import world
from check_detector import overlay


def frames_of(path):
    """A video of 128x128 -> [F, 3, 128, 128] in -1..1."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    return torch.from_numpy(data.reshape(-1, world.SIZE, world.SIZE, 3).copy()).permute(0, 3, 1, 2) / 127.5 - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEO:SUBJECT[,SUBJECT]")
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, required=True)
    args = parser.parse_args()
    net, rows = detector.load(args.detector), []
    for given in args.videos:
        path, _, subjects = given.rpartition(":")
        video, names = frames_of(path)[: world.FRAMES], subjects.split(",")
        wanted = [1 + world.NAMES.index(name) for name in names]
        p = detector.look(net, video)
        read = detector.read(p, wanted)
        rows.append(torch.cat([video, overlay(video, [mask for _, mask, _, _ in read])], 2))
        beside = Path(path).with_suffix(".npz")
        truth = np.load(beside) if beside.exists() else None
        for k, (name, right, (centre, mask, seen, own)) in enumerate(zip(names, detector.right(p, wanted), read)):
            if truth is not None:
                place, shape = torch.from_numpy(truth["centres"][:, k]), torch.from_numpy(truth["masks"][:, k]) > 0
                there = ~place[:, 0].isnan()
                print(f"{path}: {name} error {(centre - place).norm(dim=1)[there].mean():.4f} "
                      f"IoU {detector.iou(mask, shape)[there].mean():.3f}")
            print(f"{path}: {name} {'right' if right else 'not right'}; by its own class in {int(own.sum())} of {len(video)} "
                  f"frames, not seen in {int((~seen).sum())}; from {centre[0].tolist()} to {centre[-1].tolist()}")
    world.save_sheet(torch.stack(rows), args.sheet)


if __name__ == "__main__":
    main()
