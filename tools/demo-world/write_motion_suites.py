"""Writes the experiments on motion that is given: tracks, masks, changes, and a motion a subject.

    python write_motion_suites.py --out ../../experiments/motion --motionflow ../../target/debug/motionflow

Twelve drawn tracks of which none is a motion that the checkpoint was trained on, the truth of each motion by `motionflow track`, and
four suites. Needs nothing but Python.
"""

import argparse
import itertools
import math
import subprocess
from pathlib import Path

FRAMES = 16
SIZE = ["-W", "128", "-H", "128", "--frames", str(FRAMES)]
#: Width and height of a drawn subject.
SUBJECT = 0.34

PROMPTS = ["a [panda] in the snow", "a [car] on a road", "a [ball] on the grass", "an [owl] in the night sky", "a [boat] over the sea",
           "a [robot] in a forest", "a [fox] on a beach", "a [bus] in the desert", "a [balloon] over the sea", "a [penguin] in the snow",
           "a [rocket] in the night sky", "a [pumpkin] on the grass"]

#: Clips with one subject that moves and stays in the picture.
SINGLES = {
    "bus-right": "a [bus] on a road",
    "horse-left": "a [horse] in the desert",
    "balloon-up": "a [balloon] over the sea",
    "umbrella-down": "an [umbrella] on the grass",
    "frog-bounce": "a [frog] on the grass",
    "rabbit-bounce": "a [rabbit] in the snow",
    "owl-circle": "an [owl] in the night sky",
    "bee-circle": "a [bee] in a forest",
    "fish-zigzag": "a [fish] over the sea",
    "car-zigzag": "a [car] in the snow",
    "ghost-free": "a [ghost] in the night sky",
    "tiger-near": "a [tiger] in a forest",
}

CHANGES = {
    "moved": ["move 0.08 -0.08"],
    "scaled": ["scale 0.75 picture"],
    "mirrored": ["mirror"],
    "reversed": ["reverse"],
}


def along(corners, closed=False):
    """Points at equal distances on a line through corners, one a frame."""
    corners = corners + corners[:1] if closed else corners
    lengths = [math.dist(a, b) for a, b in zip(corners, corners[1:])]
    points = []
    for frame in range(FRAMES):
        left = sum(lengths) * frame / (FRAMES - 1)
        for (a, b), length in zip(zip(corners, corners[1:]), lengths):
            if left <= length + 1e-9:
                points.append(tuple(p + (q - p) * left / length for p, q in zip(a, b)))
                break
            left -= length
    return points


def curve(place):
    return [place(frame / (FRAMES - 1)) for frame in range(FRAMES)]


def polygon(count, radius, step=1, turn=-math.pi / 2):
    angles = [turn + 2 * math.pi * step * k / count for k in range(count)]
    return [(0.5 + radius * math.cos(a), 0.52 + radius * math.sin(a)) for a in angles]


def heart(t):
    a = 2 * math.pi * t
    y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
    return 0.5 + 0.27 * math.sin(a) ** 3, 0.48 - 0.27 * y / 16


TRACKS = {
    "figure-eight": curve(lambda t: (0.5 + 0.28 * math.sin(2 * math.pi * t), 0.5 + 0.22 * math.sin(4 * math.pi * t))),
    "spiral": curve(lambda t: (0.5 + 0.3 * t * math.cos(3 * math.pi * t), 0.5 + 0.3 * t * math.sin(3 * math.pi * t))),
    "stairs": along([(0.2, 0.78), (0.4, 0.78), (0.4, 0.52), (0.6, 0.52), (0.6, 0.26), (0.8, 0.26)]),
    "zigzag-up": along([(0.3, 0.8), (0.7, 0.65), (0.3, 0.5), (0.7, 0.35), (0.3, 0.2)]),
    "square": along([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)], closed=True),
    "triangle": along(polygon(3, 0.3), closed=True),
    "star": along(polygon(5, 0.3, step=2), closed=True),
    "heart": curve(heart),
    "loop": curve(lambda t: (0.2 + 0.6 * t - 0.12 * math.sin(2 * math.pi * t), 0.5 + 0.24 * math.cos(2 * math.pi * t))),
    "pendulum": curve(lambda t: (0.5 + 0.32 * math.sin(0.9 * math.cos(3 * math.pi * t)) / 0.78,
                                 0.2 + 0.5 * math.cos(0.9 * math.cos(3 * math.pi * t)))),
    "s-curve": curve(lambda t: (0.5 + 0.25 * math.sin(2 * math.pi * t), 0.8 - 0.6 * t)),
    "u-turn": along([(0.2, 0.3), (0.75, 0.3), (0.78, 0.5), (0.75, 0.7), (0.2, 0.7)]),
}

#: Which motion each of three subjects has, and where it is put so that the three keep apart.
TRIPLES = [
    ("bus-right", "frog-bounce", "figure-eight"),
    ("horse-left", "bee-circle", "stairs"),
    ("car-zigzag", "owl-circle", "zigzag-up"),
    ("fish-zigzag", "rabbit-bounce", "spiral"),
    ("bus-right", "owl-circle", "heart"),
    ("horse-left", "frog-bounce", "square"),
    ("car-zigzag", "bee-circle", "s-curve"),
    ("fish-zigzag", "owl-circle", "pendulum"),
]
PLACES = [["scale 0.5 picture", "move 0 -0.26"], ["scale 0.5 picture", "move -0.24 0.2"], ["scale 0.5 picture", "move 0.24 0.2"]]
TRIPLE_PROMPTS = ["a [panda] and a [car] and a [balloon] on the grass", "a [boat] and an [owl] and a [robot] over the sea"]

HEAD = "# Written by tools/demo-world/write_motion_suites.py.\n"
SUITE = HEAD + """title = "{title}"

[measure]
detector = "demo-detector"
clip = "demo-clip"

{defaults}{clips}{variants}"""
PLAIN = '[[variant]]\nname = "{}"\n'


def table(points):
    rows = "".join(f"{frame},{x:.4f},{y:.4f},{SUBJECT},{SUBJECT}\n" for frame, (x, y) in enumerate(points))
    return "frame,x,y,width,height\n" + rows


def listed(values):
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def clip(name, motion, prompts, truth, **keys):
    lines = "".join(f"{key} = {value if isinstance(value, str) and value.startswith('[') else chr(34) + value + chr(34)}\n"
                    for key, value in keys.items())
    return f'[[clip]]\nname = "{name}"\nmotion = "{motion}"\n{lines}truth = "{truth}"\nprompts = {listed(prompts)}\n\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--motionflow", default="motionflow", help="the program")
    args = parser.parse_args()
    clips_folder = args.out.parent / "clips"
    deck = itertools.cycle(PROMPTS)
    take = lambda count: [next(deck) for _ in range(count)]

    def folder(name):
        (args.out / name).mkdir(parents=True, exist_ok=True)
        return args.out / name

    def truth(out, *files, changes=()):
        flags = [flag for change in changes for flag in ("--transform", change)]
        subprocess.run([args.motionflow, "track", *map(str, files), *flags, *SIZE, "-o", str(out), "-q"], check=True)

    def suite(name, title, clips, variants, defaults=""):
        (folder(name) / "suite.toml").write_text(SUITE.format(title=title, clips=clips, variants=variants, defaults=defaults))

    tracks, clips = folder("tracks"), ""
    for name, points in TRACKS.items():
        (tracks / f"{name}.csv").write_text(table(points))
        truth(tracks / f"{name}.npz", tracks / f"{name}.csv")
        clips += clip(name, name, take(3), f"{name}.npz", track=listed([f"{name}.csv"]))
    suite("tracks", "Twelve drawn tracks", clips, PLAIN.format("drawn"))

    clips = ""
    for name, prompt in SINGLES.items():
        prompts = take(2)
        path = f"../../clips/{name}"
        clips += clip(f"{name}, attention", "attention's mask", prompts, f"{path}.npz", source=f"{path}.mp4", source_prompt=prompt)
        clips += clip(f"{name}, truth", "true mask", prompts, f"{path}.npz", mask=listed([f"{path}.npz"]))
    suite("true-masks", "True masks against attention's", clips, PLAIN.format("from noise"))

    changed, clips = folder("changes"), ""
    for (name, prompt), (kind, changes) in itertools.product(SINGLES.items(), CHANGES.items()):
        truth(changed / f"{name}-{kind}.npz", clips_folder / f"{name}.npz", changes=changes)
        clips += clip(f"{name}, {kind}", kind, take(1), f"{name}-{kind}.npz", source=f"../../clips/{name}.mp4", source_prompt=prompt,
                      transform=listed(changes))
    suite("changes", "Motions moved, scaled, mirrored and reversed", clips, PLAIN.format("changed"))

    three, clips = folder("three-subjects"), ""
    for index, (first, second, drawn) in enumerate(TRIPLES):
        files = [clips_folder / f"{first}.npz", clips_folder / f"{second}.npz", tracks / f"{drawn}.csv"]
        changes = [f"{k}: {change}" for k, place in enumerate(PLACES, 1) for change in place]
        truth(three / f"{index + 1}.npz", *files, changes=changes)
        own = [f'source = "../../clips/{name}.mp4"\nsource_prompt = "{SINGLES[name]}"' for name in (first, second)]
        own.append(f'track = "../tracks/{drawn}.csv"')
        subjects = "".join(f"[[clip.subject]]\n{motion}\ntransform = {listed(place)}\n\n" for motion, place in zip(own, PLACES))
        clips += clip(f"{first}, {second}, {drawn}", "three sources", TRIPLE_PROMPTS, f"{index + 1}.npz") + subjects
    apart = '[[variant]]\nname = "from noise"\n\n[[variant]]\nname = "kept apart"\nsettings.lambda_other = 1.0\n'
    suite("three-subjects", "Three subjects from three sources", clips, apart)


if __name__ == "__main__":
    main()
