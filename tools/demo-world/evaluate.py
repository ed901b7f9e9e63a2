"""Measures a checkpoint on what it was never trained on, and writes the figures and pictures.

    python evaluate.py --model demo/ --atlas atlas.npz --out figures/ vae iou subjects transfer [--classifier run/classifier.pt]

vae       PSNR of held-out frames
iou       held-out clips (one subject) are inverted under their own prompt; the mask A > 0.4 max A of the subject's word
          is compared with the true mask (cells of which the sprite covers at least 0.4), per layer and timestep
subjects  96 prompts (48 subjects x 2 kinds of scene in which the model never saw them): is the right subject there?
transfer  the motion of held-out clips put on other subjects, for a list of settings; needs the classifier too

Everything also runs on a CPU: give it smaller --clips and --steps.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import make_clips
import models
import train_classifier
import train_vae
import world
from encode_clips import encode
from sampler import Sampler, Settings, level, mask_of, subject_maps
from scenes import SCENES
from tokenizer import Encoder


class Model:
    def __init__(self, folder: Path, device):
        self.device = device
        self.vae, unet, self.text = models.read(folder, device)
        self.acp = models.new_scheduler().alphas_cumprod.to(device)
        self.sampler = Sampler(unet, self.acp, torch.bfloat16 if device.type == "cuda" else torch.float32)
        self.encoder = Encoder(folder / "tokenizer")

    @torch.no_grad()
    def prompt(self, texts):
        ids = torch.tensor([self.encoder(t)[0] for t in texts], device=self.device)
        return self.text(ids)[0]

    def at(self, texts, subjects):
        """[B, 1]: where each text's subject is."""
        return torch.tensor([self.encoder(t, [s])[1] for t, s in zip(texts, subjects)], device=self.device)

    @torch.no_grad()
    def decode(self, z):
        flat = z.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        return torch.cat([self.vae.decode(p).sample for p in flat.split(128)]).unflatten(0, (len(z), -1))


def plain(text):
    return text.replace("[", "").replace("]", "")


def truth_at(cover, cells):
    return world.coverage(cover, cells) >= 0.4


def iou_of(mask, truth):
    """[B, F, N] each -> [B]: the mean over the frames that show the subject."""
    both, any_, shown = (mask & truth).sum(-1), (mask | truth).sum(-1), truth.any(-1)
    return (both / any_.clamp(min=1) * shown).sum(1) / shown.sum(1).clamp(min=1)


def measure_vae(model, render, args, out):
    pooled, mean, deviation, pairs = train_vae.measure(model.vae, render, model.device, args.clips)
    world.save_sheet(pairs.transpose(0, 1), out / "vae.png")
    return {"psnr_of_mean_error": pooled, "psnr_mean_of_frames": mean, "frames": 2 * args.clips}


def measure_iou(model, render, args, out):
    rng = np.random.default_rng(7)
    steps, lowest = args.steps, args.lowest
    values, sheet, noised = {}, None, {}
    for start in range(0, args.clips, args.batch):
        n = min(args.batch, args.clips - start)
        plan = world.sample(rng, n, "held-out", scene_seeds=8, two=0.0)
        video, cover = render(plan)
        texts, names = [world.caption(plan, i) for i in range(n)], [world.NAMES[s] for s in plan.sprite[:, 0]]
        z0, text, at = encode(model.vae, video), model.prompt(texts), model.at(texts, names)
        _, seen = model.sampler.invert(z0, text, [at], Settings(steps=steps))
        truth = {}
        for t, maps in seen[0].items():
            if t < lowest:
                continue
            with torch.no_grad():  # the same clips, truly noised, for comparison
                a = level(model.acp, t)
                _, kept = model.sampler.watched(a**0.5 * z0 + (1 - a) ** 0.5 * torch.randn_like(z0), t, text)
            fresh = subject_maps(kept, maps.keys(), at, z0.shape[2])
            for name, m in maps.items():
                side = round(m.shape[-1] ** 0.5)
                if side not in truth:
                    truth[side] = truth_at(cover[:, 0], side).flatten(2)
                values.setdefault(name, {}).setdefault(t, []).append(iou_of(mask_of(m, 0.4) > 0, truth[side]))
                noised.setdefault(name, []).append(iou_of(mask_of(fresh[name], 0.4) > 0, truth[side]))
        if sheet is None:
            side, t = 16, min(k for k in seen[0] if k >= lowest)
            rows = []
            for layer in (model.sampler.layers["cross"][0], model.sampler.layers["cross"][-1]):
                for t in (max(seen[0]), t):
                    m = seen[0][t][layer][:6]
                    m = (m / m.amax(-1, keepdim=True)).unflatten(-1, (side, side)).repeat_interleave(8, -1).repeat_interleave(8, -2)
                    rows.append(m[:, :, None].expand(-1, -1, 3, -1, -1) * 2 - 1)
            world.save_sheet(torch.stack([video[:6], *rows], 1).flatten(0, 1), out / "masks.png")
    layers = {n: {str(t): float(torch.cat(v).mean()) for t, v in by.items()} for n, by in values.items()}
    means = {n: float(np.mean(list(by.values()))) for n, by in layers.items()}
    fine = [n for n in means if "mid_block" not in n]
    worst = torch.stack([torch.cat(v) for n in fine for v in values[n].values()]).mean(0)
    return {"clips": args.clips, "steps": steps, "lowest_timestep": lowest, "per_layer": means, "per_layer_and_timestep": layers,
            "finest_layers_mean": float(np.mean([means[n] for n in fine])), "share_of_clips_at_least_0.5": float((worst >= 0.5).float().mean()),
            "noised_per_layer": {n: float(torch.cat(v).mean()) for n, v in noised.items()}}


@torch.no_grad()
def classify(classifier, video):
    """video [B, F, 3, H, W] -> the subject of each clip by the mean logits over its frames, and of each frame."""
    sprite, scene = zip(*[classifier(clip) for clip in video.clamp(-1, 1)])
    sprite, scene = torch.stack(sprite).float().softmax(-1), torch.stack(scene).float().softmax(-1)
    return sprite.mean(1).argmax(-1), sprite.argmax(-1), scene.mean(1).argmax(-1)


def measure_subjects(model, render, args, out):
    classifier = train_classifier.load(args.classifier, model.device)
    pairs = [(s, k) for s in range(len(world.NAMES)) for k in world.held_out_scenes(s)][: args.prompts]
    texts = [f"{world.article(world.NAMES[s])} {world.NAMES[s]} {world.SCENE_WORDS[SCENES[k]][0]}" for s, k in pairs]
    generator = torch.Generator("cpu").manual_seed(0)
    z = torch.randn(len(pairs), 4, world.FRAMES, 16, 16, generator=generator).to(model.device)
    videos = []
    for i in range(0, len(pairs), args.batch):
        text = model.prompt(texts[i : i + args.batch])
        made, _ = model.sampler.generate(z[i : i + args.batch], text, model.prompt([""]).expand_as(text), Settings(steps=args.generate_steps, guidance_scale=args.guidance_scale))
        videos.append(model.decode(made))
    videos = torch.cat(videos)
    clip, frames, scene = classify(classifier, videos)
    sprite = torch.tensor([s for s, _ in pairs], device=model.device)
    kind = torch.tensor([k for _, k in pairs], device=model.device)
    right = clip == sprite
    world.save_sheet(videos[::8], out / "generated.png", 8)
    world.save_sheet(videos[:, [8]].unflatten(0, (-1, 12))[:, :, 0] if len(pairs) == 96 else videos, out / "all-prompts.png", 12)
    return {"prompts": len(pairs), "steps": args.generate_steps, "guidance_scale": args.guidance_scale,
            "right_subject": float(right.float().mean()), "right_subject_frames": float((frames == sprite[:, None]).float().mean()),
            "right_scene": float((scene == kind).float().mean()),
            "wrong": [f"{texts[i]}: {world.NAMES[clip[i]]}" for i in range(len(pairs)) if not right[i]]}


TRANSFERS = [
    ("car-arc", "a [panda] in a forest"), ("car-arc", "a [camel] in the desert"), ("dog-bounce", "a [robot] in the snow"),
    ("butterfly-circle", "a [duck] over the sea"), ("rocket-up", "a [balloon] on a beach"), ("boat-weave", "a [fish] over the sea"),
    ("balloon-near", "a [ghost] in the night sky"), ("penguin-left", "a [tiger] on the grass"),
]


def path_of(cover):
    """cover [B, F, n, n] -> centres [B, F, 2] in picture widths, 0..1."""
    n = cover.shape[-1]
    at = (torch.arange(n, device=cover.device) + 0.5) / n
    total = cover.sum((-2, -1)).clamp(min=1e-6)
    return torch.stack([(cover.sum(-2) * at).sum(-1), (cover.sum(-1) * at).sum(-1)], -1) / total[..., None]


def measure_transfer(model, render, args, out):
    """Each setting: does the subject's place (its map on the finished latents) follow the source's true mask, is it the
    right subject, and did the picture stay near the model's own (norm of the latents)?"""
    classifier = train_classifier.load(args.classifier, model.device)
    clips = {c[0]: c for c in make_clips.CLIPS}
    chosen = [TRANSFERS[i] for i in args.transfers] if args.transfers else TRANSFERS
    plans = [make_clips.plan_of(*clips[name][1:]) for name, _ in chosen]
    painted = [render(p) for p in plans]
    video, cover = torch.cat([v for v, _ in painted]), torch.cat([c for _, c in painted])[:, 0]
    sources = [world.caption(p, 0, brackets=True) for p in plans]
    word = lambda text: text.split("[")[1].split("]")[0]
    s_text, t_text = [plain(s) for s in sources], [plain(t) for _, t in chosen]
    s_at, t_at = model.at(s_text, map(word, sources)), model.at(t_text, [word(t) for _, t in chosen])
    z0, context, target = encode(model.vae, video), model.prompt(s_text), model.prompt(t_text)
    negative = model.prompt([""]).expand_as(target)
    want = torch.tensor([world.NAMES.index(word(t)) for _, t in chosen], device=model.device)
    place, true_path = truth_at(cover, 16).flatten(2), path_of(world.coverage(cover, 16))
    noise = torch.randn(z0.shape, generator=torch.Generator("cpu").manual_seed(1)).to(model.device)
    inverted, table, sheets = {}, [], {}
    begin = time.time()
    for line in json.loads(Path(args.settings).read_text()) if args.settings else [{}]:
        if time.time() - begin > args.seconds:
            print("out of time: the remaining settings were not tried")
            break
        init, label = line.pop("init", "inverted"), json.dumps(line)
        settings = Settings(**line)
        if settings.steps not in inverted:
            inverted[settings.steps] = model.sampler.invert(z0, context, [s_at], settings)
        zT, seen = inverted[settings.steps]
        masks = {t: {n: mask_of(m, settings.tau) for n, m in by.items()} for t, by in seen[0].items()}
        started = time.time()
        made, history = model.sampler.generate(zT if init == "inverted" else noise, target, negative, settings,
                                               [masks] if settings.guided_steps else None, [t_at])
        with torch.no_grad():
            _, kept = model.sampler.watched(made, 1, target)
        final = subject_maps(kept, model.sampler.layers["cross"][-1:], t_at, z0.shape[2])[model.sampler.layers["cross"][-1]]
        follow = iou_of(mask_of(final, 0.4) > 0, place)
        apart = (path_of(final.unflatten(-1, (16, 16))) - true_path).norm(dim=-1).mean(1)
        result = model.decode(made)
        clip, frames, _ = classify(classifier, result)
        row = {"init": init, **line, "place_iou": float(follow.mean()), "path_error": float(apart.mean()),
               "right": float((clip == want).float().mean()), "right_frames": float((frames == want[:, None]).float().mean()),
               "deviation": float(made.std()), "seconds": time.time() - started,
               "first_losses": history[0]["parts"] if history else None, "last_losses": history[-1]["parts"] if history else None}
        table.append(row)
        sheets[f"{init} {label}"] = result.cpu()
        print(f"{init:8} {label}: place {row['place_iou']:.3f} path {row['path_error']:.3f} right {row['right']:.2f} frames "
              f"{row['right_frames']:.2f} deviation {row['deviation']:.2f} {row['seconds']:.1f} s", flush=True)
    keep = list(sheets)
    for c in args.show:
        rows = torch.cat([video[[c]].cpu(), *[sheets[k][[c]] for k in keep]])
        world.save_sheet(rows, out / f"transfer-{c}.png")
    return {"settings": table, "transfers": [f"{s} -> {t}" for s, (_, t) in zip(sources, chosen)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["vae", "iou", "subjects", "transfer"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=25, help="of inversion")
    parser.add_argument("--generate-steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float, default=6.0)
    parser.add_argument("--lowest", type=int, default=600, help="lowest timestep of the guided range")
    parser.add_argument("--settings", help="JSON list of sampler.Settings for 'transfer', each with an optional init")
    parser.add_argument("--transfers", type=int, nargs="*", help="which of the list, all if left out")
    parser.add_argument("--seconds", type=float, default=1e9, help="most time for 'transfer'")
    parser.add_argument("--show", type=int, nargs="*", default=[0, 2], help="transfers of which to write all settings' sheets")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = Model(args.model, device)
    render = world.Renderer(args.atlas, device, 0, 8)
    for what in args.what:
        begin = time.time()
        figures = {"vae": measure_vae, "iou": measure_iou, "subjects": measure_subjects, "transfer": measure_transfer}[what](model, render, args, args.out)
        figures["seconds"] = time.time() - begin
        (args.out / f"{what}.json").write_text(json.dumps(figures, indent=1) + "\n")
        short = {k: v for k, v in figures.items() if k not in ("per_layer_and_timestep", "settings")}
        print(what, json.dumps(short), flush=True)


if __name__ == "__main__":
    main()
