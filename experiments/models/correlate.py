"""How the masks' overlap with the truth goes with how well the motion arrives, from what tools/demo-world/evaluate.py wrote.

    python correlate.py figures-*/transfer.jsonl --step-norm 0.015 --out correlation.md

Takes the guided results from noise of one step norm whose variants differ in where the masks come from alone.  Correlations are Spearman's, of results and of the means of a model's variants; intervals are of 2,000 resamplings of
clips, since results of one clip are alike.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np


def ranks(values):
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    out[order] = np.arange(len(values))
    for value in np.unique(values):  # ties share their mean rank
        out[values == value] = out[values == value].mean()
    return out


def spearman(x, y):
    x, y = ranks(np.asarray(x)), ranks(np.asarray(y))
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else float("nan")


def with_interval(rows, figure, of_means):
    """(correlation, low, high) of mask_iou with a figure."""
    def correlation(rows):
        if of_means:
            groups = defaultdict(list)
            for row in rows:
                groups[row["model"], json.dumps(row["variant"])].append((row["mask_iou"], row[figure]))
            points = [np.mean(group, 0) for group in groups.values()]
        else:
            points = [(row["mask_iou"], row[figure]) for row in rows]
        return spearman(*np.array(points).T) if len(points) > 2 else float("nan")

    of_clip = defaultdict(list)
    for row in rows:
        of_clip[row["clip"]].append(row)
    rng, clips = np.random.default_rng(0), list(of_clip)
    again = [correlation([row for c in rng.choice(clips, len(clips)) for row in of_clip[c]]) for _ in range(2000 if len(rows) < 5000 else 300)]
    return correlation(rows), *np.nanquantile(again, [0.025, 0.975])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--step-norm", type=float, required=True)
    args = parser.parse_args()
    rows = [json.loads(line) for file in args.files for line in file.read_text().splitlines()]
    others = lambda variant: {k: v for k, v in variant.items() if k not in ("masks", "timestep")}
    alike = [r for r in rows if others(r["variant"]) == {"step_norm": args.step_norm}]
    seen = [r for r in alike if r["variant"].get("masks") != "truth"]  # of true masks the overlap says nothing
    text = "| model | variant | results | mask IoU | trajectory error | subject right | text similarity |\n|---|---|---:|---:|---:|---:|---:|\n"
    groups = defaultdict(list)
    for row in rows:
        groups[row["model"], json.dumps(row["variant"])].append(row)
    spread = lambda values: f"{np.mean(values):.3f} ± {1.96 * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0:.3f}"
    for (model, variant), group in groups.items():
        figures = " | ".join(spread([r[k] for r in group]) for k in ("mask_iou", "trajectory_error", "right_subject", "text_similarity"))
        text += f"| {Path(model).name} | {variant} | {len(group)} | {figures} |\n"
    text += "\n| mask IoU with | among | Spearman | 95 % interval |\n|---|---|---:|---|\n"
    for figure in ("trajectory_error", "right_subject", "text_similarity"):
        for among, of_means in (("results", False), ("means of a model's variant", True)):
            value, low, high = with_interval(seen, figure, of_means)
            text += f"| {figure} | {among} | {value:.2f} | {low:.2f} to {high:.2f} |\n"
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
