"""Writes the suites of the study of the three models (experiments/models/README.md).

    python make_clips.py --atlas in/atlas.npz --experiments --frames 17 --out ../../experiments/clips-17        # once: Wan's clips
    python write_model_suites.py --out ../../experiments/models

Of the 24 clips with one subject every second one is for choosing settings; figures are of the others.
"""

import argparse
import tomllib
from pathlib import Path

HEAD = "# Written by tools/demo-world/write_model_suites.py.\n"
MODELS = {
    "demo": ["down_blocks.0", "mid_block", "up_blocks.1"],
    "demo-animatediff": ["down_blocks.0", "mid_block", "up_blocks.1"],
    "demo-wan": [f"blocks.{i}" for i in range(8)],
}
BASE = {"steps": 25, "guided_steps": 8, "updates_per_step": 2, "step_norm": 0.015, "guidance_scale": 6.0, "tau": 0.4, "init": "noise",
        "mask_source": "noised", "noised_timesteps": [201], "keep_statistics": "channels", "lambda_cross": 1.0, "lambda_outside": 1.0,
        "lambda_self": 0.0, "lambda_temporal": 0.0}
#: One at a time, on the clips for choosing.
CHANGES = [{"noised_timesteps": [t]} for t in (51, 101, 301, 401, 601)] + [{"guided_steps": n} for n in (4, 12, 16)] \
    + [{"steps": 15, "guided_steps": 5}, {"steps": 15, "guided_steps": 5, "updates_per_step": 3}, {"steps": 40, "guided_steps": 13}] \
    + [{"step_norm": s} for s in (0.007, 0.03)] + [{"updates_per_step": n} for n in (1, 3)] + [{"guidance_scale": s} for s in (4.0, 8.0)] \
    + [{"mask_source": "inversion"}, {"mask_layers": "own"}, {"mask_layers": "finest"}, {"guidance_layers": ["auto"]}]


def value(v):
    if isinstance(v, (bool, int, float)):
        return str(v).lower()
    return "[" + ", ".join(map(value, v)) + "]" if isinstance(v, list) else f'"{v}"'


def keys(settings):
    return "".join(f"settings.{k} = {value(v)}\n" for k, v in settings.items())


def label(change):
    return ", ".join(f"{k} {'+'.join(map(str, v)) if isinstance(v, list) else v}" for k, v in change.items()) or "base"


def clip(listed, folder, prompts, masks=False):
    """A clip of the suites; with `masks` its true masks are given, in place of what attention shows."""
    motion = f'mask = ["{folder}/{listed["name"]}.npz"]\n' if masks else \
        f'source = "{folder}/{listed["source"]}"\nsource_prompt = "{listed["source_prompt"]}"\n'
    return (f'[[clip]]\nname = "{listed["name"]}"\nmotion = "{listed["motion"]}"\n{motion}truth = "{folder}/{listed["truth"]}"\n'
            f"prompts = {value(listed['prompts'][:prompts])}\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    listed = tomllib.loads((args.out.parent / "clips" / "singles.toml").read_text())["clip"]
    choosing, held_out = listed[::2], listed[1::2]
    for model, blocks in MODELS.items():
        wan = model == "demo-wan"
        folder = "../../clips-17" if wan else "../../clips"
        sampler = {"sampler": "euler"} if wan else {"sampler": "ddim"}
        video = f'video = {{ width = 128, height = 128, frames = {17 if wan else 16}, fps = 8.0 }}\n'

        def suite(name, title, seeds, clips, variants, defaults=None):
            lead = f'[defaults]\nmodel.name = "{model}"\n' + (video + keys(defaults) if defaults else "") + "\n"
            text = HEAD + f'title = "{title}"\nseeds = {value(seeds)}\n\n[measure]\ndetector = "demo-detector"\nclip = "demo-clip"\n\n' + lead + "".join(clips)
            text += "\n".join(f'[[variant]]\nname = "{label}"\n{keys(change)}' for label, change in variants)
            (args.out / f"{name}-{model}").mkdir(parents=True, exist_ok=True)
            (args.out / f"{name}-{model}" / "suite.toml").write_text(text)

        changes = [{}, *CHANGES]
        if wan:
            changes += [{"guidance_layers": blocks[a:b]} for a, b in ((0, 4), (1, 4), (2, 6), (4, 8))]
        suite("settings", f"{model}: settings, on the clips for choosing", [0, 1], [clip(c, folder, 1) for c in choosing],
              [(label(c), c) for c in changes], BASE | sampler)
        # What the checkpoint's motionflow.toml recommends by then.
        suite("held-out", f"{model}: what it recommends, on clips that nothing was chosen on", [0, 1, 2], [clip(c, folder, 1) for c in held_out],
              [("recommended", {}), ("no updates", {"updates": False})])
        suite("auto", f"{model}: guidance layers that are chosen for each source", [0], [clip(c, folder, 1) for c in choosing],
              [("recommended", {}), ("chosen", {"guidance_layers": ["auto"]})])
        each = [(b, {"guidance_layers": [b]}) for b in blocks] + [("all that guide by default", {})]
        few = BASE | sampler | {"steps": 12, "guided_steps": 5}
        suite("layers", f"{model}: which layers localise and guide", [0], [clip(c, folder, 1) for c in listed], each, few)
        given = {k: v for k, v in few.items() if k not in ("mask_source", "noised_timesteps")}
        suite("guides", f"{model}: which layers guide, with true masks", [0], [clip(c, folder, 1, masks=True) for c in listed], each, given)


if __name__ == "__main__":
    main()
