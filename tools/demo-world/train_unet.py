"""Trains the UNet and the text encoder on encoded clips, with the subjects' words grounded in the cross-attention.

    torchrun --nproc-per-node 2 train_unet.py --data run/data --out run --seconds 1000

The loss is the noise's squared error (min-SNR weighting) plus, for the attention map A of each subject's word in every
guidance layer and the share M of each cell that shows the subject,
    ground * [ BCE(A, M) + 0.5 * (1 - sum(A inside) / sum(A))^2 ]
so that A is high on the subject and next to nothing elsewhere.  In the second half, an eighth of each batch are latents
on their way through DDIM inversion by the averaged weights: those carry the grounding term alone, since there the
method will read the maps.

Every --save-every seconds and at the end: OUT/unet and OUT/text_encoder (the averaged weights, fp16) and OUT/raw (the
raw ones, fp16).  --resume FOLDER goes on from such a folder; --elapsed says how much of the schedule is behind it.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import attention
import models
import parallel
from sampler import level, move, timesteps
from tokenizer import MAX_LENGTH

GROUND_SHARE = 8  # one in so many samples is a partly inverted one


class Clips:
    """The encoded clips of this process, on its device."""

    def __init__(self, folder: Path, rank: int, device):
        files = sorted(folder.glob("clips-*.pt"))
        data = torch.load(files[rank % len(files)])
        self.latents, self.cover = data["latents"].to(device), data["cover"].to(device)
        self.ids, self.at = data["ids"].long().to(device), data["at"].long().to(device)
        self.valid = torch.arange(2, device=device) < data["count"].to(device)[:, None]  # [N, 2]

    def __len__(self):
        return len(self.latents)


def grounding(maps, cover, valid):
    """maps: one [B, 2, F, cells] a layer; cover [B, 2, F, 16, 16] in 0..1; valid [B, 2] -> (BCE, leak), scalars."""
    total, count = [], valid.sum().clamp(min=1)
    for a in maps:
        side = math.isqrt(a.shape[-1])
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
    side = math.isqrt(a.shape[-1])
    truth = F.adaptive_avg_pool2d(cover.flatten(0, 1), side).view(*cover.shape[:3], -1) >= 0.4
    mask = a > tau * a.amax(-1, keepdim=True)
    iou = (mask & truth).sum(-1) / (mask | truth).sum(-1).clamp(min=1)
    use = (truth.any(-1) & valid[..., None]).float()
    return (iou * use).sum((1, 2)) / use.sum((1, 2)).clamp(min=1)


@torch.no_grad()
def inverted_samples(net, text, clips, acp, device, many, rng):
    """Clips on their way to noise, as (x, t, clip) where the net is asked about t while x is still a step behind."""
    steps = int(rng.choice([20, 25, 25, 30, 40]))
    ratio, out = 1000 // steps, []
    for index in torch.randint(len(clips), (many,), device=device).split(64):
        z = clips.latents[index].float()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            context = text(clips.ids[index])[0]
        for t in timesteps(steps):
            if t >= 450:
                out.append((z.half(), torch.full_like(index, t), index))
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                noise = net.unet(z, t, context, return_dict=False)[0].float()
            z = move(z, noise, level(acp, t - ratio), level(acp, t))
    return tuple(torch.cat(v) for v in zip(*out))


def save(out: Path, unet, text, average, parameters, note):
    """The averaged weights in the checkpoint's layout, and the raw ones beside them; whole or not at all."""
    new = out / "saving"
    shutil.rmtree(new, ignore_errors=True)
    raw = [p.detach().clone() for p in parameters]
    models.write_unet(unet, new / "raw")
    models.write_text_encoder(text, new / "raw")
    torch._foreach_copy_([p.data for p in parameters], average)
    models.write_unet(unet, new)
    models.write_text_encoder(text, new)
    torch._foreach_copy_([p.data for p in parameters], raw)
    (new / "training.json").write_text(json.dumps(note, indent=2) + "\n")
    for name in ("raw", "unet", "text_encoder", "training.json"):
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        (new / name).rename(target)
    new.rmdir()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, required=True, help="tokens in the tokenizer")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1000, help="of the whole schedule, compilation included")
    parser.add_argument("--elapsed", type=float, default=0, help="seconds of the schedule that lie behind --resume")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--batch", type=int, default=64, help="clips a process and step")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--ground", type=float, default=0.05, help="weight of the grounding term")
    parser.add_argument("--drop", type=float, default=0.1, help="share of captions left out, for classifier-free guidance")
    parser.add_argument("--invert-from", type=float, default=0.5, help="share of the schedule after which inverted latents join")
    parser.add_argument("--invert-clips", type=int, default=192, help="clips inverted at a time, a process")
    parser.add_argument("--save-every", type=float, default=60)
    parser.add_argument("--report-every", type=int, default=200)
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    begin = time.time() - args.elapsed
    rank, world_size, device = parallel.start()
    torch.manual_seed(0)
    unet, text = models.new_unet().to(device), models.new_text_encoder(args.vocabulary, MAX_LENGTH).to(device)
    if args.resume:
        models.load_weights(unet, args.resume / "unet" / "diffusion_pytorch_model.safetensors")
        models.load_weights(text, args.resume / "text_encoder" / "model.safetensors")
    parameters = [*unet.parameters(), *text.parameters()]
    parallel.same_start(parameters)
    average = [p.detach().clone() for p in parameters]
    if args.resume:
        models.load_weights(unet, args.resume / "raw" / "unet" / "diffusion_pytorch_model.safetensors")
        models.load_weights(text, args.resume / "raw" / "text_encoder" / "model.safetensors")
    attention.faster_temporal_convolutions(unet)
    net = attention.Grounded(unet)
    quick = torch.compile(net) if device.type == "cuda" and not args.no_compile else net
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=device.type == "cuda")
    torch.manual_seed(100 + rank + int(args.elapsed))
    rng = np.random.default_rng([rank, 3, int(args.elapsed)])
    clips = Clips(args.data, rank, device)
    acp = models.new_scheduler().alphas_cumprod.to(device)
    snr = acp / (1 - acp)
    weight_of = snr.clamp(max=5) / snr
    empty = torch.tensor([args.vocabulary - 2] + [args.vocabulary - 1] * (MAX_LENGTH - 1), device=device)
    if rank == 0:
        print(f"unet {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M, text encoder "
              f"{sum(p.numel() for p in text.parameters()) / 1e6:.2f} M; {len(clips)} clips a process, {world_size} processes", flush=True)
    step, done, saved, seen, inverted, refreshed = 0, args.elapsed / args.seconds, time.time(), [], None, 0.0
    while done < 1:
        if step % 10 == 0:
            done = parallel.agree((time.time() - begin) / args.seconds)
        rate = args.rate * min(1, (step + 1) / (50 if args.resume else 300)) * 0.5 * (1 + math.cos(math.pi * min(1, done)))
        optimizer.param_groups[0]["lr"] = rate
        if done >= args.invert_from and done < 0.97 and (inverted is None or done - refreshed > 0.12):
            raw = [p.detach().clone() for p in parameters]
            torch._foreach_copy_([p.data for p in parameters], average)
            inverted, refreshed = inverted_samples(net, text, clips, acp, device, args.invert_clips, rng), done
            torch._foreach_copy_([p.data for p in parameters], raw)
        index = torch.randint(len(clips), (args.batch,), device=device)
        clean = clips.latents[index].float()
        noise = torch.randn_like(clean)
        t = ((torch.randperm(args.batch, device=device) + torch.rand(args.batch, device=device)) * 1000 / args.batch).long().clamp(max=999)
        a = acp[t].view(-1, 1, 1, 1, 1)
        x = a.sqrt() * clean + (1 - a).sqrt() * noise
        weight, dropped = weight_of[t], torch.rand(args.batch, device=device) < args.drop
        if inverted is not None:
            k = args.batch // GROUND_SHARE
            choice = torch.randint(len(inverted[0]), (k,), device=device)
            x[:k], t[:k], index[:k] = inverted[0][choice].float(), inverted[1][choice], inverted[2][choice]
            weight[:k], dropped[:k] = 0, False
        ids = torch.where(dropped[:, None], empty, clips.ids[index])
        valid = clips.valid[index] & ~dropped[:, None]
        cover = clips.cover[index].float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            guess, maps = quick(x, t, text(ids)[0], clips.at[index])
        error = ((guess.float() - noise).square().mean((1, 2, 3, 4)) * weight).mean()
        bce, leak = grounding(maps, cover, valid)
        loss = error + args.ground * (bce + 0.5 * leak)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        keep = 0.999 if args.resume else min(0.999, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - keep)
        seen.append(torch.stack([error.detach(), bce.detach(), leak.detach()]))
        if rank == 0 and (step % args.report_every == 0 or step == 1):
            late = (t >= 600) & valid.any(1)
            ious = [mean_iou(m, cover, valid) for m in maps]
            k = args.batch // GROUND_SHARE if inverted is not None else 0
            show = lambda v, use: "/".join(f"{float(i[use].mean()):.2f}" for i in v)
            first = torch.arange(args.batch, device=device) < k
            print(f"unet step {step} {time.time() - begin:.0f} s error, bce, leak "
                  + " ".join(f"{v:.4f}" for v in torch.stack(seen).mean(0).tolist())
                  + f" IoU at t >= 600: noised {show(ious, late & ~first)}" + (f" inverted {show(ious, late & first)}" if k else ""), flush=True)
            seen = []
        if rank == 0 and time.time() - saved > args.save_every:
            saved = time.time()
            save(args.out, unet, text, average, parameters, {"seconds": saved - begin, "steps": step})
    if rank == 0:
        save(args.out, unet, text, average, parameters, {"seconds": time.time() - begin, "steps": step, "finished": True})
        print(f"unet done: {step} steps, {time.time() - begin:.0f} s", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
