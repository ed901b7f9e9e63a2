"""Writes source clips, held-out scenes of the world as small H.264 files, and their README.

    python make_clips.py --atlas atlas.npz --out ../../assets/clips [--sheet sheet.png]
    python make_clips.py --atlas atlas.npz --experiments --out ../../experiments/clips [--sheet sheet.png]
    python make_clips.py --atlas atlas.npz --experiments --frames 17 --out ../../experiments/clips-17   # Wan takes 4k+1 frames
    python make_clips.py --atlas atlas.npz --varied 24 --out varied        # turns, props in front, pans, up to three subjects

The clips of the experiments come with the truth, NAME.npz: `centres` [frames, subjects, 2] float32, x right and y down
in fractions of the width, NaN where the subject is not seen, and `masks` [frames, subjects, 64, 64] uint8. Those of the varied
clips also have `whole_centres`, of all of a subject, whatever hides it.

Needs ffmpeg (one on the PATH, or the package imageio-ffmpeg).  Every clip comes from a seed, so that it can be made
again.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import numpy as np

import variety
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
# Seeds at which the subjects move visibly, stay in the picture and, where there are two, begin apart.
EXPERIMENTS = [
    ("bus-right", ["bus"], "road", ["right"], 100),
    ("fox-right", ["fox"], "snow", ["right"], 137),
    ("turtle-right", ["turtle"], "beach", ["right"], 174),
    ("horse-left", ["horse"], "desert", ["left"], 211),
    ("truck-left", ["truck"], "road", ["left"], 248),
    ("ball-left", ["ball"], "grass", ["left"], 285),
    ("balloon-up", ["balloon"], "sea", ["up"], 323),
    ("helicopter-up", ["helicopter"], "forest", ["up"], 359),
    ("umbrella-down", ["umbrella"], "grass", ["down"], 397),
    ("ufo-down", ["ufo"], "desert", ["down"], 434),
    ("frog-bounce", ["frog"], "grass", ["bounce"], 470),
    ("rabbit-bounce", ["rabbit"], "snow", ["bounce"], 507),
    ("pumpkin-bounce", ["pumpkin"], "beach", ["bounce"], 545),
    ("owl-circle", ["owl"], "night", ["circle"], 581),
    ("bee-circle", ["bee"], "forest", ["circle"], 618),
    ("boat-circle", ["boat"], "sea", ["circle"], 655),
    ("fish-zigzag", ["fish"], "sea", ["zigzag"], 692),
    ("car-zigzag", ["car"], "snow", ["zigzag"], 729),
    ("cow-still", ["cow"], "grass", ["still"], 766),
    ("robot-still", ["robot"], "night", ["still"], 803),
    ("butterfly-free", ["butterfly"], "beach", ["free"], 843),
    ("ghost-free", ["ghost"], "night", ["free"], 877),
    ("tiger-near", ["tiger"], "forest", ["near"], 914),
    ("tractor-near", ["tractor"], "desert", ["near"], 951),
    ("cat-right-balloon-up", ["cat", "balloon"], "grass", ["right", "up"], 988),
    ("dog-left-ball-bounce", ["dog", "ball"], "beach", ["left", "bounce"], 1027),
    ("car-right-owl-circle", ["car", "owl"], "road", ["right", "circle"], 1074),
    ("boat-left-ufo-zigzag", ["boat", "ufo"], "sea", ["left", "zigzag"], 1102),
    ("panda-bounce-umbrella-down", ["panda", "umbrella"], "snow", ["bounce", "down"], 1148),
    ("rocket-up-ghost-free", ["rocket", "ghost"], "night", ["up", "free"], 1181),
    ("horse-right-butterfly-circle", ["horse", "butterfly"], "desert", ["right", "circle"], 1212),
    ("truck-left-rabbit-bounce", ["truck", "rabbit"], "road", ["left", "bounce"], 1248),
    ("duck-still-whale-left", ["duck", "whale"], "sea", ["still", "left"], 1289),
    ("crab-right-bee-free", ["crab", "bee"], "beach", ["right", "free"], 1323),
    ("robot-up-frog-left", ["robot", "frog"], "forest", ["up", "left"], 1361),
    ("tractor-zigzag-cow-still", ["tractor", "cow"], "grass", ["zigzag", "still"], 1395),
]


TRUTH = """Beside each clip is its truth, `NAME.npz`: `centres` [frames, subjects, 2], x to the right and y down, both in fractions
of the width, NaN where the subject is not seen, and `masks` [frames, subjects, 64, 64].

"""


def plan_of(subjects, scene, motions, seed, frames=world.FRAMES):
    """One clip as a world.Plan of length 1.  Its path, place and scene are drawn from the seed."""
    rng = np.random.default_rng([seed, 2025])
    index = [world.NAMES.index(s) for s in subjects]
    moves = [world.MOTIONS.index(m) for m in motions]
    two = len(subjects) == 2
    return world.sample(rng, 1, "held-out", two=float(two), sprite=[index if two else index * 2],
                        motion=[moves if two else moves * 2], scene=[SCENES.index(scene)], frames=frames)


def varied(number, frames):
    """Held-out clips as (name, plan) with what `variety` adds."""
    plans = [variety.sample(np.random.default_rng([seed, 2026]), 1, "held-out", frames=frames, in_front=1, camera=0.3) for seed in range(number)]
    return [(f"varied-{i:02}", plan) for i, plan in enumerate(plans)]


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
    parser.add_argument("--experiments", action="store_true", help="the clips of the experiments")
    parser.add_argument("--varied", type=int, default=0, help="instead, so many clips with what variety.py adds")
    parser.add_argument("--frames", type=int, default=world.FRAMES)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet")
    args = parser.parse_args()
    render = world.Renderer(args.atlas)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, videos = [], []
    clips = [(name, plan_of(*of, args.frames)) for name, *of in (EXPERIMENTS if args.experiments else CLIPS)]
    for name, plan in varied(args.varied, args.frames) if args.varied else clips:
        video, cover, whole = render(plan, whole=True)
        videos.append(video)
        frames = ((video[0].permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
        write_video(frames, args.out / f"{name}.mp4")
        subjects = range(plan.count[0])
        centres, masks = zip(*(world.truth(cover[0, k]) for k in subjects))
        truth = {"centres": np.stack([c.numpy() for c in centres], 1), "masks": np.stack([m.numpy().astype(np.uint8) for m in masks], 1)}
        if args.varied:
            truth["whole_centres"] = np.stack([world.truth(whole[0, k])[0].numpy() for k in subjects], 1)
        np.savez_compressed(args.out / f"{name}.npz", **truth)
        new = any(world.HELD_OUT[plan.sprite[0, k], plan.scene[0]] for k in subjects)
        kind = "scene never trained on" + ("; subject never seen in such a scene" if new else "")
        motions = " and ".join(world.MOTIONS[plan.motion[0, k]] for k in subjects)
        rows.append(f"| `{name}.mp4` | `{world.caption(plan, 0, brackets=True)}` | {motions} | {kind} |")
    lead = {16: "Sixteen", 17: "Seventeen"}.get(args.frames, str(args.frames))
    (args.out / "README.md").write_text(
        f"# Source clips\n\n{lead} frames of 128×128 at 8 frames a second, H.264. Painted by `tools/demo-world/make_clips.py`, from\n"
        "seeds that the shipped checkpoint was never trained on. Sprites: Noto Color Emoji, SIL Open Font License 1.1.\n\n"
        + TRUTH + "| file | source prompt | motion | held out |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    if args.sheet:
        import torch

        world.save_sheet(torch.cat(videos), args.sheet)


if __name__ == "__main__":
    main()
