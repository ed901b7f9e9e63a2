"""Measures models/demo-detector on held-out clips, as painted and through the demo model's VAE.

    python check_detector.py --atlas atlas.npz --model ../../models/demo --detector ../../models/demo-detector \\
        --out detector.json --sheet detector.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import detector
import frames
import models
import parallel
import world


def judged(net, video, cover, sprites):
    """One clip [F, 3, 128, 128]: per subject a dict of errors [F'], IoUs, right frames, right."""
    p = detector.look(net, video)
    wanted = [1 + int(s) for s in sprites]
    by_cell = (p[:, 1:].sum((2, 3)).argmax(1) + 1).tolist()
    out = []
    for k, (centre, mask, _, own), good in zip(range(len(wanted)), detector.read(p, wanted), detector.right(p, wanted)):
        place, shape = world.truth(cover[k])
        there = ~place[:, 0].isnan()
        out.append({"error": (centre - place).norm(dim=1)[there].tolist(), "iou": detector.iou(mask, shape)[there].tolist(),
                    "right": good, "frames": (own if len(wanted) > 1 else torch.tensor([k == wanted[0] for k in by_cell])).tolist()})
    return out


def summary(rows):
    flat = lambda key: np.array([v for row in rows for v in row[key]], float)
    error = flat("error")
    return {"centre_error_mean": float(error.mean()), "centre_error_95": float(np.quantile(error, 0.95)),
            "centre_error_max": float(error.max()), "mask_iou": float(flat("iou").mean()),
            "right_clips": float(np.mean([row["right"] for row in rows])), "right_frames": float(flat("frames").mean()),
            "subjects": len(rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--model", type=Path, required=True, help="the demo checkpoint, for its VAE")
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--each", type=int, default=24, help="clips of each motion")
    args = parser.parse_args()
    _, _, device = parallel.start()
    render = world.Renderer(args.atlas, device, 0, 16)
    vae, net = models.read(args.model, device)[0], detector.load(args.detector, device)
    rng, figures, pictures = np.random.default_rng(99), {}, []
    groups = {f"one: {m}": dict(two=0.0, motion=[i] * args.each) for i, m in enumerate(world.PLAIN_MOTIONS)}
    groups |= {"two subjects": dict(two=1.0)}
    rows = {"as painted": {}, "through the VAE": {}}
    for group, asked in groups.items():
        n = args.each * (4 if group == "two subjects" else 1)
        plan = world.sample(rng, n, "held-out", scene_seeds=16, **asked)
        video, cover = render(plan)
        for i in range(n):
            back = torch.cat([frames.through_vae(vae, p) for p in video[i].split(64)]).clamp(-1, 1)
            for look, x in (("as painted", video[i]), ("through the VAE", back)):
                rows[look].setdefault(group, []).extend(judged(net, x, cover[i], plan.sprite[i, : plan.count[i]]))
            if i == 0 and args.sheet:
                p = detector.look(net, back)
                masks = [m for _, m, _, _ in detector.read(p, [1 + int(s) for s in plan.sprite[i, : plan.count[i]]])]
                pictures.append(overlay(back, masks))
    for look, by_group in rows.items():
        one = [row for group, part in by_group.items() if group != "two subjects" for row in part]
        figures[look] = {"one subject": summary(one), **{group: summary(part) for group, part in by_group.items()}}
    plan = world.sample(rng, args.each * 8, "held-out", scene_seeds=16)
    plan.count[:] = 0
    x = frames.painted(render, plan, rng.integers(world.FRAMES, size=(len(plan), 1)))[0]
    for look, y in (("as painted", x), ("through the VAE", frames.through_vae(vae, x).clamp(-1, 1))):
        p = detector.look(net, y)
        found = ((p[:, 1:].amax(1) > detector.SURE).sum((1, 2)) >= detector.LEAST).float()
        figures[look]["no subject"] = {"false_alarms": float(found.mean()), "frames": len(x)}
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    for look, groups in figures.items():
        for group, figure in groups.items():
            print(f"{look:16} {group:14} " + " ".join(f"{k} {v:.4f}" for k, v in figure.items()), flush=True)
    if args.sheet:
        world.save_sheet(torch.stack(pictures).cpu(), args.sheet)


def overlay(video, masks):
    """The first mask's outline in red, the second's in blue."""
    video = video.clone()
    for mask, colour in zip(masks, ((1, -1, -1), (-1, -1, 1))):
        big = mask.float()[:, None].repeat_interleave(2, -1).repeat_interleave(2, -2)
        edge = (torch.nn.functional.max_pool2d(big, 3, 1, 1) - big) > 0
        video = torch.where(edge, torch.tensor(colour, device=video.device).float().view(1, 3, 1, 1), video)
    return video


if __name__ == "__main__":
    main()
