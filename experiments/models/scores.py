"""How well the scores of `--guidance-layers auto` foretell the true IoU of blocks and timesteps, and what was chosen.

    python scores.py OUT/auto-demo report/iou-demo.json

OUT is the folder of `motionflow eval` on a suite auto-*.  Spearman's correlation of a block's score at a timestep, mean over the clips, and its IoU, mean
over its layers (128 other clips); the interval is of 2,000 resamplings of clips.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from correlate import spearman

LOOKS = {100: "noised 101", 200: "noised 201", 400: "noised 401", 600: "noised 601"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("iou", type=Path)
    args = parser.parse_args()
    records = [json.loads(file.read_text()) for file in sorted(args.folder.glob("cells/*/run.json"))]
    choices = [record["layer_choice"] for record in records if record.get("layer_choice")]
    table = json.loads(args.iou.read_text())["table"]
    places = sorted({(s["block"], s["timestep"]) for s in choices[0]["scores"]})
    true = [np.mean([looks[LOOKS[t]] for layer, looks in table.items() if layer.startswith(f"{block}.")]) for block, t in places]
    score_at = [{(s["block"], s["timestep"]): s["score"] for s in choice["scores"]} for choice in choices]
    scores = np.array([[at[place] for place in places] for at in score_at])
    rng = np.random.default_rng(0)
    again = [spearman(scores[rng.integers(len(scores), size=len(scores))].mean(0), true) for _ in range(2000)]
    print(f"{len(choices)} clips: Spearman {spearman(scores.mean(0), true):.2f} ({np.quantile(again, 0.025):.2f} to {np.quantile(again, 0.975):.2f})")
    print("| block | timestep | score | IoU |\n|---|---:|---:|---:|")
    for (block, t), score, iou in zip(places, scores.mean(0), true):
        print(f"| {block} | {t} | {score:.3f} | {iou:.3f} |")
    for name, values in (("timestep", [c["timestep"] for c in choices]), ("blocks", [b for c in choices for b in c["blocks"]])):
        print(f"chosen {name}: " + ", ".join(f"{value} {n} times" for value, n in Counter(values).most_common()))


if __name__ == "__main__":
    main()
