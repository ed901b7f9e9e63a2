"""Measures a checkpoint on what it was never trained on, and writes the figures and pictures.

    python evaluate.py vae iou subjects transfer --model demo --atlas atlas.npz --out figures --settings transfer-settings.json
    python evaluate.py iou transfer --model demo-wan --each-layer --out figures/layers ...          # which layers localise, and which guide

vae       PSNR of held-out frames, of plain clips and of varied ones
iou       held-out clips with one subject: the mask A > 0.4 max A of its word against the true mask (cells of which the sprite covers at least 0.4),
          per layer, in one look at the noised clip at several timesteps, and at those of an inversion
subjects  96 prompts (48 subjects x 2 kinds of scene in which the model never saw them): is the right subject there, in the right kind of scene, and
          do the colours differ from those of painted clips with the same subjects and scenes (tint)?
transfer  the motion of the experiments' 24 clips (with --pairs the 12 of two subjects) put on other subjects, for a list of settings and seeds: one line
          a result in transfer.jsonl, with the IoU of the masks that guided

The judges are models/demo-detector and models/demo-clip.  Everything also runs on a CPU: give it smaller --clips, --prompts and --steps.
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import numpy as np
import torch

import detector
import make_clips
import sampler
import train_vae
import train_vae_wan
import world
from check_clip import Judge, phrase
from denoiser import Checkpoint, side_of
from encode_clips import decode, encode, latent_cover
from sampler import Settings
from scenes import SCENES

SHIPPED = Path(__file__).resolve().parent.parent.parent
LOOKS = [51, 101, 201, 301, 401, 601, 801]


class Judges:
    def __init__(self, folder, device):
        self.detector, self.clip = detector.load(folder / "demo-detector", device), Judge(folder / "demo-clip", device)

    def scene(self, video, subjects, like):
        """Which kind of scene a clip [F, 3, 128, 128] shows, and its frames' cosine with the text `like`, in the mean."""
        seen = self.clip.images(video)
        kinds = self.clip.texts([phrase(subjects, k) for k in range(len(SCENES))])
        return int((kinds @ seen.T).mean(1).argmax()), float((self.clip.texts([like]) @ seen.T).mean())


def plain(text):
    return text.replace("[", "").replace("]", "")


def names_in(text):
    return [part.split("]")[0] for part in text.split("[")[1:]]


def truth_at(cover, places):
    """Of the latent frames' cover [B, K, f, 16, 16]: whether a cell shows the subject, [B, K, f, places]."""
    return sampler.at_side(cover.flatten(3), side_of(places)) >= 0.4


def iou_of(mask, truth):
    """[B, K, F, N] each -> [B, K]: the mean over the frames that show the subject."""
    both, either, shown = (mask & truth).sum(-1), (mask | truth).sum(-1), truth.any(-1)
    return (both / either.clamp(min=1) * shown).sum(-1) / shown.sum(-1).clamp(min=1)


def measure_vae(model, render, args, out):
    tool = train_vae_wan if model.kind.is_wan else train_vae
    figures = {}
    for name, varied in (("plain", False), ("varied", True)):
        pooled, mean, pairs = tool.measure(model.vae, render, args.clips, plain=not varied)
        figures |= {f"{name}_psnr_of_mean_error": pooled, f"{name}_psnr_mean_of_frames": mean}
        world.save_sheet(pairs, out / f"vae-{name}.png")
    return figures


def measure_iou(model, render, args, out):
    rng, settings, found = np.random.default_rng(7), Settings(), {}
    layers, sheet = model.denoiser.layers, None
    for start in range(0, args.clips, args.batch):
        n = min(args.batch, args.clips - start)
        plan = world.sample(rng, n, "held-out", scene_seeds=8, two=0.0, frames=model.kind.frames)
        video, cover = render(plan)
        cover = latent_cover(world.coverage(cover[:, :1], 16), model.kind.latent_frames)
        texts = [world.caption(plan, i) for i in range(n)]
        text, at = model.prompt(texts), model.at(texts, [[world.NAMES[s]] for s in plan.sprite[:, 0]])
        z = encode(model.vae, video)
        seen = {f"noised {t}": sampler.noised_look(model, z, t, text, at, layers) for t in LOOKS}
        seen |= {f"inverted {round(t)}": maps for t, maps in sampler.invert(model, z, text, at, layers, args.steps)[1].items()}
        for when, maps in seen.items():
            for name, mask in sampler.masks_of(maps, settings).items():
                found.setdefault(name, {}).setdefault(when, []).append(iou_of(mask > 0, truth_at(cover, mask.shape[-1]))[:, 0])
        if sheet is None:
            rows = [video[:6]]
            for when in ("noised 201", max((w for w in seen if w.startswith("inverted")), key=lambda w: int(w.split()[1]))):
                m = seen[when][model.denoiser.grounded[-1]][:6, 0]
                side = side_of(m.shape[-1])
                m = (m / m.amax(-1, keepdim=True)).unflatten(-1, (side, side)).repeat_interleave(128 // side, -1).repeat_interleave(128 // side, -2)
                m = m[:, torch.linspace(0, m.shape[1] - 1, video.shape[1]).round().long()]
                rows.append(m[:, :, None].expand(-1, -1, 3, -1, -1) * 2 - 1)
            sheet = world.save_sheet(torch.stack(rows, 1).flatten(0, 1), out / "masks.png") or True
    table = {name: {when: float(torch.cat(v).mean()) for when, v in by.items()} for name, by in found.items()}
    mean = lambda name, kind: float(np.mean([v for when, v in table[name].items() if when.startswith(kind)]))
    return {"clips": args.clips, "steps": args.steps, "noised": {n: mean(n, "noised") for n in table}, "inverted": {n: mean(n, "inverted") for n in table},
            "noised_201": {n: table[n]["noised 201"] for n in table}, "table": table}


@torch.no_grad()
def made_of(model, texts, settings, seed, batch):
    """Clips [B, F, 3, 128, 128] of prompts, nothing guided."""
    made = []
    for i in range(0, len(texts), batch):
        part = texts[i : i + batch]
        z = noise_for(model, len(part), seed * 1000 + i)
        made.append(decode(model.vae, sampler.generate(model, z, model.prompt(part), model.prompt([""] * len(part)), settings)))
    return torch.cat(made)


def noise_for(model, n, seed):
    channels = model.denoiser.net.config.in_channels
    shape = (n, channels, model.kind.latent_frames, 16, 16)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)).to(model.device)


def measure_subjects(model, render, args, out):
    judges = Judges(args.judges, model.device)
    pairs = [(s, k) for s in range(len(world.NAMES)) for k in world.held_out_scenes(s)][: args.prompts]
    texts = [phrase([s], k) for s, k in pairs]
    videos = made_of(model, texts, Settings(steps=args.steps, guidance_scale=args.guidance_scale), 0, args.batch)
    rng = np.random.default_rng(3)
    plan = world.sample(rng, len(pairs), "held-out", scene_seeds=8, two=0.0, sprite=[s for s, _ in pairs], scene=[k for _, k in pairs])
    painted = torch.cat([render(plan, frames=np.full((len(pairs), 1), 8))[0]])[:, 0]
    rows, shift = [], (videos.mean((1, 3, 4)) - painted.mean((2, 3))) * 127.5  # [prompts, 3]
    for (s, k), text, video in zip(pairs, texts, videos):
        p = detector.look(judges.detector, video)
        scene, cosine = judges.scene(video, [s], text)
        rows.append([detector.right(p, [1 + s])[0], float(((p[:, 1:].sum((2, 3)).argmax(1)) == s).float().mean()), scene == k, cosine])
    right, frames, scene, cosine = np.array(rows, float).T
    kinds = np.array([k for _, k in pairs])
    tint = np.stack([shift.cpu().numpy()[kinds == k].mean(0) for k in sorted(set(kinds))])
    world.save_sheet(videos[::8], out / "generated.png", 8)
    if len(pairs) == 96:
        world.save_sheet(videos[:, [8]].unflatten(0, (-1, 12))[:, :, 0], out / "all-prompts.png", 12)
    return {"prompts": len(pairs), "steps": args.steps, "guidance_scale": args.guidance_scale, "right_subject": right.mean(),
            "right_subject_frames": frames.mean(), "right_scene": scene.mean(), "text_similarity": cosine.mean(),
            "tint_red_green_blue": tint.mean(0).round(2).tolist(), "tint_of_kinds": dict(zip(np.array(SCENES)[sorted(set(kinds))], tint.round(1).tolist())),
            **several(model, judges, args, 2), **several(model, judges, args, 3),
            "wrong": [t for t, r in zip(texts, right) if not r], "wrong_scene": [t for t, r in zip(texts, scene) if not r]}


def several(model, judges, args, count):
    """Prompts of several subjects: the share of subjects that are there, and of clips that have all."""
    rng = np.random.default_rng(count)
    plan = world.sample(rng, max(args.prompts // 2, 1), "train", two=0.0)
    subjects = [[int(plan.sprite[i, 0]), *map(int, rng.permutation([s for s in range(len(world.NAMES)) if s != plan.sprite[i, 0]])[: count - 1])] for i in range(len(plan))]
    texts = [phrase(s, k) for s, k in zip(subjects, plan.scene)]
    videos = made_of(model, texts, Settings(steps=args.steps, guidance_scale=args.guidance_scale), count, args.batch)
    right = np.array([detector.right(detector.look(judges.detector, video), [1 + s for s in of]) for video, of in zip(videos, subjects)], float)
    return {f"{count}_subjects_right": right.mean(), f"all_of_{count}_right": right.all(1).mean()}


def sources(model, render, args):
    """The experiments' clips as (name, source prompt, prompts), their latents and cover, and the true places [B, K, F, 2]."""
    listed = tomllib.loads((args.suites / ("pairs.toml" if args.pairs else "singles.toml")).read_text())["clip"][: args.sources]
    of = {c[0]: c for c in make_clips.EXPERIMENTS}
    painted = [render(make_clips.plan_of(*of[c["name"]][1:], model.kind.frames)) for c in listed]
    video, cover = torch.cat([v for v, _ in painted]), torch.cat([c for _, c in painted])[:, : 2 if args.pairs else 1]
    places = torch.stack([torch.stack([world.truth(c)[0] for c in clip]) for clip in cover])
    return listed, encode(model.vae, video), latent_cover(world.coverage(cover, 16), model.kind.latent_frames), places


def guiding(model, z, text, at, cover, settings, layers):
    """Where sampling starts, the masks at a timestep, and the IoU of the masks with the truth [B, K], the mean over layers."""
    if settings.masks == "truth":
        sides = sampler.noised_look(model, z, settings.timestep, text, at, layers)
        fixed = {name: truth_at(cover, m.shape[-1]).float() for name, m in sides.items()}
    elif settings.masks == "noised":
        fixed = sampler.masks_of(sampler.noised_look(model, z, settings.timestep, text, at, layers), settings)
    start, by_time = None, {}
    if settings.masks == "inversion" or settings.init == "inverted":
        start, seen = sampler.invert(model, z, text, at, layers, settings.steps)
        by_time = {t: sampler.masks_of(maps, settings) for t, maps in seen.items()}
    guided = [s.t for s in reversed(model.schedule.ascending(settings.steps))][: max(settings.guided_steps, 1)]
    masks = (lambda t: by_time[t]) if settings.masks == "inversion" else (lambda t: fixed)
    iou = torch.stack([iou_of(m > 0, truth_at(cover, m.shape[-1])) for t in guided for m in masks(t).values()]).mean(0)
    return (start if settings.init == "inverted" else None), masks, iou


def measure_transfer(model, render, args, out):
    judges, begin = Judges(args.judges, model.device), time.time()
    listed, z0, cover, places = sources(model, render, args)
    variants = json.loads(Path(args.settings).read_text()) if args.settings else [{}]
    if args.each_layer:
        variants = [v | {"layers": [layer], "masks": masks} for v in variants for layer in model.denoiser.layers for masks in ("truth", "noised")]
    log, table = (out / "transfer.jsonl").open("a"), []
    source = [c["source_prompt"] for c in listed]
    s_text, s_at = model.prompt([plain(s) for s in source]), model.at([plain(s) for s in source], [names_in(s) for s in source])
    for variant in variants:
        settings = Settings(**variant | {"layers": tuple(variant.get("layers", ()))})
        layers = list(settings.layers or model.denoiser.grounded)
        start, masks, ious = guiding(model, z0, s_text, s_at, cover, settings, layers)
        rows = []
        for seed in range(args.seeds):
            for k in range(args.prompts_per_clip):
                if time.time() - begin > args.seconds:
                    break
                prompts = [c["prompts"][k % len(c["prompts"])] for c in listed]
                texts, subjects = [plain(p) for p in prompts], [names_in(p) for p in prompts]
                text, nothing, at = model.prompt(texts), model.prompt([""] * len(texts)), model.at(texts, subjects)
                z = start if start is not None else noise_for(model, len(texts), 1 + seed)
                guide = masks if settings.guided_steps else None
                made = torch.cat([sampler.generate(model, z[i], take(text, i), take(nothing, i), settings, guide and part_of(guide, i), at[i],
                                                   torch.ones(at[i].shape, device=z.device)) for i in torch.arange(len(texts)).split(args.batch)])
                for i, video in enumerate(decode(model.vae, made)):
                    rows.append(judge(judges, video, texts[i], subjects[i], places[i]) | {
                        "model": str(args.model), "variant": variant, "clip": listed[i]["name"], "prompt": prompts[i], "seed": seed,
                        "mask_iou": float(ious[i].mean())})
                    log.write(json.dumps(rows[-1]) + "\n")
                log.flush()
                if seed == 0 and k == 0:
                    world.save_sheet(decode(model.vae, torch.stack([v for c in args.show for v in (z0[c], made[c])])), out / f"transfer-{len(table):02}.png")
        if not rows:
            print("out of time: the remaining settings were not tried")
            break
        mean = lambda key: float(np.mean([r[key] for r in rows]))
        table.append({"variant": variant, "results": len(rows), **{key: mean(key) for key in ("trajectory_error", "right_subject", "text_similarity", "mask_iou")}})
        print(json.dumps(table[-1]), flush=True)
    return {"table": table}


def take(text, i):
    features, scores = text
    return features[i], None if scores is None else scores[i]


def part_of(masks, i):
    return lambda t: {name: m[i] for name, m in masks(t).items()}


def judge(judges, video, text, subjects, places):
    """One result: how far its subjects are from the source's true places, in widths, whether they are right, and its cosine with the prompt."""
    p, wanted = detector.look(judges.detector, video), [1 + world.NAMES.index(s) for s in subjects]
    apart = []
    for (centre, _, _, _), true in zip(detector.read(p, wanted), places):
        there = ~true[:, 0].isnan()
        apart.append(float((centre - true).norm(dim=1)[there].mean()))
    cosine = float((judges.clip.texts([text]) @ judges.clip.images(video).T).mean())
    return {"trajectory_error": float(np.mean(apart)), "right_subject": float(np.mean(detector.right(p, wanted))), "text_similarity": cosine}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["vae", "iou", "subjects", "transfer"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--judges", type=Path, default=SHIPPED / "models", help="folder of demo-detector and demo-clip")
    parser.add_argument("--suites", type=Path, default=SHIPPED / "experiments" / "clips", help="folder of singles.toml and pairs.toml")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--steps", type=int, default=25, help="of inversion, and of the clips of 'subjects'")
    parser.add_argument("--guidance-scale", type=float, default=6.0, help="of 'subjects'")
    parser.add_argument("--settings", help="JSON list of sampler.Settings for 'transfer'")
    parser.add_argument("--each-layer", action="store_true", help="each of them with each layer alone, with true masks and with its own")
    parser.add_argument("--pairs", action="store_true", help="the clips with two subjects")
    parser.add_argument("--sources", type=int, help="at most so many source clips")
    parser.add_argument("--prompts-per-clip", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="most time for 'transfer'")
    parser.add_argument("--show", type=int, nargs="*", default=[0, 9, 13], help="source clips of which to write sheets")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(0)
    model = Checkpoint(args.model, device)
    render = world.Renderer(args.atlas, device, 0, 8)
    measures = {"vae": measure_vae, "iou": measure_iou, "subjects": measure_subjects, "transfer": measure_transfer}
    for what in args.what:
        begin = time.time()
        figures = measures[what](model, render, args, args.out)
        figures["seconds"] = time.time() - begin
        (args.out / f"{what}.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(what, json.dumps({k: v for k, v in figures.items() if k not in ("table", "wrong", "wrong_scene")}), flush=True)


if __name__ == "__main__":
    main()
