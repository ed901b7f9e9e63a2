"""Writes the source clips of assets/clips/: held-out scenes of the world as small H.264 files, and their README.

    python make_clips.py --atlas atlas.npz --out ../../assets/clips [--sheet sheet.png]

Needs ffmpeg (one on the PATH, or the package imageio-ffmpeg).  Every clip comes from a seed, so that it can be made
again.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import numpy as np

import world
from scenes import SCENES

# file, subjects, scene, motions, seed.  The scenes' seeds are held out; "pair" means that the model was never shown
# this subject in this kind of scene.
CLIPS = [
    ("car-arc", ["car"], "road", ["right"], 342),
    ("dog-bounce", ["dog"], "grass", ["bounce"], 2),
    ("butterfly-circle", ["butterfly"], "forest", ["circle"], 3),
    ("rocket-up", ["rocket"], "night", ["up"], 24),
    ("boat-weave", ["boat"], "sea", ["zigzag"], 5),
    ("balloon-near", ["balloon"], "desert", ["near"], 6),
    ("penguin-left", ["penguin"], "snow", ["left"], 7),
    ("dog-and-car", ["dog", "car"], "road", ["left", "right"], 20),
]


def plan_of(subjects, scene, motions, seed):
    """One clip as a world.Plan of length 1.  Its path, place and scene are drawn from the seed."""
    rng = np.random.default_rng([seed, 2025])
    index = [world.NAMES.index(s) for s in subjects]
    moves = [world.MOTIONS.index(m) for m in motions]
    two = len(subjects) == 2
    return world.sample(rng, 1, "held-out", two=float(two), sprite=[index if two else index * 2],
                        motion=[moves if two else moves * 2], scene=[SCENES.index(scene)])


def write_video(frames: np.ndarray, path: Path, fps=8):
    """frames [F, H, W, 3] uint8 -> H.264, yuv420p."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        import imageio_ffmpeg

        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    f, h, w, _ = frames.shape
    subprocess.run([ffmpeg, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(fps),
                    "-i", "-", "-c:v", "libx264", "-preset", "veryslow", "-crf", "12", "-pix_fmt", "yuv420p",
                    "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-vf",
                    "scale=out_color_matrix=bt709:out_range=tv", "-movflags", "+faststart", "-bitexact", str(path)],
                   input=frames.tobytes(), check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", type=Path, default=Path("atlas.npz"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet")
    args = parser.parse_args()
    render = world.Renderer(np.load(args.atlas)["atlas"])
    args.out.mkdir(parents=True, exist_ok=True)
    rows, videos = [], []
    for name, subjects, scene, motions, seed in CLIPS:
        plan = plan_of(subjects, scene, motions, seed)
        video, _ = render(plan)
        videos.append(video)
        frames = ((video[0].permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
        write_video(frames, args.out / f"{name}.mp4")
        new = any(world.HELD_OUT[world.NAMES.index(s), SCENES.index(scene)] for s in subjects)
        kind = "scene never trained on" + ("; subject never seen in such a scene" if new else "")
        rows.append(f"| `{name}.mp4` | `{world.caption(plan, 0, brackets=True)}` | {' and '.join(motions)} | {kind} |")
    (args.out / "README.md").write_text(
        "# Source clips\n\nSixteen frames of 128×128 at 8 frames a second, H.264. Painted by `tools/demo-world/make_clips.py`, from\n"
        "seeds that the shipped checkpoint was never trained on. Sprites: Noto Color Emoji, SIL Open Font License 1.1.\n\n"
        "| file | source prompt | motion | held out |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    if args.sheet:
        import torch

        world.save_sheet(torch.cat(videos), args.sheet)


if __name__ == "__main__":
    main()
