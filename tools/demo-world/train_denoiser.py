"""Trains a model's net and text encoder on encoded clips, with the subjects' words grounded in the cross-attention.

    torchrun --nproc-per-node 2 train_denoiser.py --model demo --data run/data --out run/demo --seconds 600 --stages 0.1,0.25,0.5
    python train_denoiser.py --model demo-wan --data run/data-wan --out run/demo-wan --seconds 400             # one GPU
    python train_denoiser.py --model demo --data run/data --out run/more --resume run/demo --elapsed 600 --seconds 1200      # goes on

The loss is the squared error of what the net predicts plus, for the attention map A of each subject's word in every grounded layer and the share M of
each cell that shows the subject,
    ground * [ BCE(A, M) + 0.5 * (1 - sum(A inside) / sum(A))^2 ]
so that A is high on the subject and next to nothing elsewhere; --ground 0 leaves it out.  In the second half, an eighth of each batch are latents on
their way through an inversion by the averaged weights: those carry the grounding term alone, since there the method will read the maps.

Every --save-every seconds and at the end: OUT/unet or OUT/transformer, and OUT/text_encoder (the averaged weights, fp16), and OUT/raw (the raw ones,
fp16).  --resume FOLDER goes on from such a folder, with or without raw ones; --elapsed says how much of the schedule is behind it.  --stages also writes
OUT/stages/SHARE, as OUT, when that share of the schedule is done.  With --compile-after READY the steps on few frames (--short) are compiled once
READY-short is there.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import attention
import models
import parallel
from denoiser import KINDS, side_of
from schedule import Schedule
from training import Learner, Quick, Report, options, rehearse, sums_first

GROUND_SHARE = 8  # one in so many samples is a partly inverted one


class Clips:
    """The encoded clips of this process, on its device."""

    def __init__(self, folder: Path, rank: int, device):
        files = sorted(folder.glob("clips-*.pt"))
        files = files[rank :: parallel.processes()] or [files[rank % len(files)]]
        parts = [torch.load(f) for f in files]
        whole = lambda name: torch.cat([part[name] for part in parts]).to(device)
        self.latents, self.cover = whole("latents"), whole("cover")
        self.ids, self.at = whole("ids").long(), whole("at").long()
        self.valid = torch.arange(self.at.shape[1], device=device) < whole("count")[:, None]  # [N, K]
        self.empty, self.vocabulary = parts[0]["empty"].to(device), parts[0]["vocabulary"]

    def __len__(self):
        return len(self.latents)


def grounding(maps, cover, valid):
    """maps: one [B, K, F, places] a layer; cover [B, K, F, 16, 16] in 0..1; valid [B, K] -> (BCE, leak), scalars."""
    total, count = [], valid.sum().clamp(min=1)
    for a in maps:
        side = side_of(a.shape[-1])
        m = F.adaptive_avg_pool2d(cover.flatten(0, 1), side).view(*cover.shape[:3], -1)
        a = a.float()
        near = a.clamp(1e-4, 1 - 1e-4)
        bce = -(m * near.log() + (1 - m) * (1 - near).log()).mean((2, 3))
        shown = m.sum(-1) > 0.5
        inside = (a * (m > 0.1)).sum(-1) / a.sum(-1).clamp(min=1e-4)
        leak = ((1 - inside).square() * shown).mean(2)
        total.append(torch.stack([(bce * valid).sum(), (leak * valid).sum()]) / count)
    return torch.stack(total).mean(0)


@torch.no_grad()
def mean_iou(a, cover, valid, tau=0.4):
    """IoU of A > tau*max A with cover >= 0.4, per clip (mean over its subjects and the frames that show them)."""
    truth = F.adaptive_avg_pool2d(cover.flatten(0, 1), side_of(a.shape[-1])).view(*cover.shape[:3], -1) >= 0.4
    mask = a > tau * a.amax(-1, keepdim=True)
    iou = (mask & truth).sum(-1) / (mask | truth).sum(-1).clamp(min=1)
    use = (truth.any(-1) & valid[..., None]).float()
    return (iou * use).sum((1, 2)) / use.sum((1, 2)).clamp(min=1)


def computing(device, half):
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and not half)


@torch.no_grad()
def inverted_samples(net, clips, schedule, device, half, many, rng):
    """Clips on their way to noise, as (x, t, clip) where the net is asked about t while x is still a step behind."""
    steps, out = schedule.ascending(int(rng.choice([20, 25, 25, 40]))), []
    for index in torch.randint(len(clips), (many,), device=device).split(64):
        z = clips.latents[index].float()
        with computing(device, half):
            text = net.encode(clips.ids[index])
            for step in steps:
                t = torch.full((len(index),), float(step.t), device=device)
                if step.t >= 450:
                    out.append((z.half(), t, index))
                z = schedule.move(z, net.predict(z.bfloat16() if half else z, t, text).float(), step.lower, step.upper)
    return tuple(torch.cat(v) for v in zip(*out))


def save(out: Path, kind, learner, note, raw=True):
    """The averaged weights in the checkpoint's layout, and the raw ones beside them; whole or not at all."""
    new = out / "saving"
    shutil.rmtree(new, ignore_errors=True)
    for folder, module in [(new, learner.average)] + [(new / "raw", learner.master)] * raw:
        models.write_net(module.net, folder / kind.folder, models.NET_FILE)
        models.write_text_encoder(module.text, folder)
    (new / "training.json").write_text(json.dumps(note, indent=2) + "\n")
    for part in list(new.iterdir()):
        target = out / part.name
        if target.is_dir():
            shutil.rmtree(target)
        part.rename(target)
    new.rmdir()


def load(module, folder: Path, kind):
    models.load_weights(module.net, folder / kind.folder / models.NET_FILE)
    models.load_weights(module.text, folder / "text_encoder" / models.TEXT_FILE)


def main():
    parser = options(__doc__, seconds=1000)
    parser.add_argument("--model", choices=KINDS, default="demo")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, help="clips a process and step; 64, of Wan 128")
    parser.add_argument("--rate", type=float, help="6e-4, of Wan 8e-4")
    parser.add_argument("--ground", type=float, default=0.05, help="weight of the grounding term")
    parser.add_argument("--subject-weight", type=float, default=2, help="how much more the error on a subject counts, times the signal's share")
    parser.add_argument("--drop", type=float, default=0.1, help="share of captions left out, for classifier-free guidance")
    parser.add_argument("--invert-from", type=float, default=0.5, help="share of the schedule after which inverted latents join")
    parser.add_argument("--invert-clips", type=int, default=192, help="clips inverted at a time, a process")
    parser.add_argument("--stages", default="", help="shares of the schedule, with commas between")
    parser.add_argument("--save-every", type=float, default=60)
    parser.add_argument("--short", type=float, default=0, help="share of the schedule on few frames of twice as many clips")
    parser.add_argument("--short-frames", type=int, default=4)
    parser.add_argument("--half", action="store_true", help="a UNet's weights in bfloat16 beside float32 ones, instead of autocast")
    args = parser.parse_args()
    begin = time.time()
    rank, world_size, device = parallel.start()
    torch.manual_seed(0)
    kind = KINDS[args.model]
    clips_a_step, rate = args.batch or (128 if kind.is_wan else 64), args.rate or (8e-4 if kind.is_wan else 6e-4)
    half = args.half and not kind.is_wan and device.type == "cuda"
    clips = Clips(args.data, rank, device)
    net = kind.new(clips.latents.shape[1], clips.vocabulary)
    if args.resume:
        raw = args.resume / "raw"
        load(net, raw if raw.is_dir() else args.resume, kind)
    if not kind.is_wan:
        attention.faster_temporal_convolutions(net)
    learner = Learner(net, device, rate, args.seconds, args.elapsed, half, warm=50 if args.resume else 300, begin=begin)
    if args.resume:
        load(learner.average, args.resume, kind)
    live = learner.live.train()
    sums_first(live)
    ready = args.compile_after
    quick, short = Quick(live, ready), Quick(live, ready and ready.with_name(f"{ready.name}-short"))
    torch.manual_seed(100 + rank + int(args.elapsed))
    rng = np.random.default_rng([rank, 3, int(args.elapsed)])
    schedule = Schedule(kind.scheduler())
    if rank == 0:
        print(f"{kind.name}: net {sum(p.numel() for p in net.net.parameters()) / 1e6:.2f} M, text encoder "
              f"{sum(p.numel() for p in net.text.parameters()) / 1e6:.2f} M; {len(clips)} clips a process, {world_size} processes, ready after "
              f"{time.time() - begin:.0f} s", flush=True)
    report, saved, inverted, refreshed = Report(kind.name, learner, clips_a_step * world_size), time.time(), None, 0.0
    stages = [float(s) for s in args.stages.split(",") if s and float(s) > learner.done]
    note = lambda: {"model": kind.name, "ground": args.ground, "seconds": learner.elapsed(), "of_seconds": args.seconds, "steps": learner.steps,
                    "batch": clips_a_step * world_size, "parameters": sum(p.numel() for p in net.parameters())}

    def step(call):
        """On whole clips, or on a few frames of twice as many, from anywhere in them and at any pace."""
        few = call is short or args.rehearse and args.short > 0
        batch = (2 if few else 1) * clips_a_step
        index = torch.randint(len(clips), (batch,), device=device)
        frames = slice(None)
        if few:
            pace = 1 + int(torch.randint((kind.latent_frames - 1) // (args.short_frames - 1), ()))
            span = pace * (args.short_frames - 1) + 1
            first = int(torch.randint(kind.latent_frames - span + 1, ()))
            frames = slice(first, first + span, pace)
        clean = clips.latents[index][:, :, frames].float()
        noise = torch.randn_like(clean)
        t = schedule.draw(batch, device, learner.steps)
        x, target = schedule.noised(clean, noise, t), schedule.target(clean, noise, t)
        weight, dropped, k = schedule.weight(t), torch.rand(batch, device=device) < args.drop, 0
        if inverted is not None and not few:
            k = batch // GROUND_SHARE
            choice = torch.randint(len(inverted[0]), (k,), device=device)
            x[:k], t[:k], index[:k] = inverted[0][choice].float(), inverted[1][choice].to(t.dtype), inverted[2][choice]
            weight[:k], dropped[:k] = 0, False
        ids = torch.where(dropped[:, None], clips.empty, clips.ids[index])
        valid = clips.valid[index] & ~dropped[:, None]
        cover = clips.cover[index][:, :, frames].float() / 255
        with computing(device, half):
            guess, maps = call(x.bfloat16() if half else x, t, ids, clips.at[index])
        error = (guess.float() - target).square().mean(1)
        if args.subject_weight:
            error = error * (1 + args.subject_weight * schedule.levels(t)[0][:, 0] * cover.sum(1).clamp(max=1))
        error = (error.mean((1, 2, 3)) * weight).mean()
        bce, leak = grounding(maps, cover, valid)
        learner.learn(error + args.ground * (bce + 0.5 * leak) if args.ground else error)
        report.add(error=error, bce=bce, leak=leak)
        if report.due():
            late = (t >= 600) & valid.any(1)
            first = torch.arange(batch, device=device) < k
            ious = [mean_iou(m, cover, valid) for m in maps]
            show = lambda use: "/".join(f"{float(i[use].mean()):.2f}" for i in ious)
            report.show(f" IoU at t >= 600: noised {show(late & ~first)}" + (f" inverted {show(late & first)}" if k else ""))

    if args.rehearse:
        return rehearse(kind.name, step, live, (2 if args.short else 1) * clips_a_step)
    while (done := learner.tick()) < 1:
        if args.ground and max(args.invert_from, args.short) <= done < 0.97 and (inverted is None or done - refreshed > 0.12):
            learner.compute_with(learner.average)
            inverted, refreshed = inverted_samples(live, clips, schedule, device, half, args.invert_clips, rng), done
            learner.compute_with(learner.master)
        step(short if done < args.short else quick)
        if rank == 0 and stages and done >= stages[0]:
            save(args.out / "stages" / f"{stages.pop(0):.2f}", kind, learner, note(), raw=False)
        if rank == 0 and time.time() - saved > args.save_every:
            saved = time.time()
            save(args.out, kind, learner, note())
    if rank == 0:
        save(args.out, kind, learner, note() | {"finished": True})
        print(f"{kind.name} done: {learner.steps} steps, {learner.elapsed():.0f} s", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
