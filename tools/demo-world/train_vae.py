"""Trains the image VAE on single frames of the world, for a given time.

    torchrun --nproc-per-node 2 train_vae.py --atlas atlas.npz --out run --seconds 220
    python train_vae.py --atlas atlas.npz --out run --seconds 440                       # one GPU
    python train_vae.py --atlas atlas.npz --out run --resume run/vae --elapsed 220 --seconds 440      # goes on
    python train_vae.py --atlas atlas.npz --out new --resume run/vae --decoder-only --subject-weight 3 --rate 3e-4 \\
        --batch 8 --seconds 600       # polish the decoder alone: latents that are in use already stay what they are

Writes OUT/vae (the averaged weights in fp16, latents of mean 0 and variance 1 in every channel) and prints the PSNR of frames
whose scenes were never trained on.  The schedule is by the clock, so it ends, and saves, when the time is up.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import models
import parallel
import variety
import world
from training import Learner, Quick, Report, rehearse, sums_first


class Autoencode(torch.nn.Module):
    def __init__(self, vae, decoder_only=False):
        super().__init__()
        self.vae, self.decoder_only = vae, decoder_only
        wide_colours(vae.encoder.conv_in, vae.decoder.conv_out)
        sums_first(vae)

    def forward(self, x, noise):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.decoder_only):
            mean, log_variance = self.vae.quant_conv(self.vae.encoder(x)).float().chunk(2, 1)
        log_variance = log_variance.clamp(-30, 20)
        z = mean + (0.5 * log_variance).exp() * noise
        return self.vae.decoder(self.vae.post_quant_conv(z.to(x.dtype))).float(), mean, log_variance


def wide_colours(first, last):
    """For training only: the convolutions from and to three colours as ones of eight, which GPUs are quick at, five of them zero."""

    def from_colours(self, x):
        return F.conv2d(F.pad(x, (0, 0, 0, 0, 0, 5)), F.pad(self.weight, (0, 0, 0, 0, 0, 5)), self.bias, padding=1)

    def to_colours(self, x):
        return F.conv2d(x, F.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, 5)), F.pad(self.bias, (0, 5)), padding=1)[:, :3]

    first.forward, last.forward = from_colours.__get__(first), to_colours.__get__(last)


def reconstruction_loss(made, x, weight=1.0, edges=1.0, square=2.0):
    """L1 on the values and on their differences to the next pixel, and the squared error that PSNR measures.
    weight: of each pixel, [B, 1, H, W] or 1."""
    error = (made - x) * weight
    loss = error.abs().mean() + square * (error * (made - x)).mean()
    if edges:
        dx, dy = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
        loss = loss + edges * (dx.abs().mean() + dy.abs().mean())
    return loss


def kl_loss(mean, log_variance):
    """Of the latents at a place, mean over places."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


def psnr(made, x):
    """(of the mean error, mean of the frames), in dB for values of range 2; frames first."""
    error = (made.float().clamp(-1, 1) - x).square().mean((1, 2, 3))
    return 10 * math.log10(4 / float(error.mean())), float((10 * (4 / error).log10()).mean())


@torch.no_grad()
def measure(vae, render, clips=128, plain=True):
    """PSNR of the mean's reconstruction on held-out scenes, and some pairs of frames."""
    rng = np.random.default_rng(99)
    plan = (world.sample if plain else variety.sample)(rng, clips, "held-out", scene_seeds=8)
    video, _ = render(plan, frames=np.tile([[3, 12]], (clips, 1)))
    x = video.reshape(-1, 3, world.SIZE, world.SIZE)
    made = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in x.split(32)])
    return *psnr(made, x), torch.stack([x[:16:2], made[:16:2]], 1)


@torch.no_grad()
def normalise(vae, x):
    """Gives every channel of the latents of frames x mean 0 and variance 1, by the pointwise convolutions around them."""
    z = torch.cat([vae.encode(part).latent_dist.mean for part in x.split(64)])
    mean, deviation = z.mean((0, 2, 3)), z.std((0, 2, 3))
    n = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:n] /= deviation.view(-1, 1, 1, 1)
    before.bias[:n] = (before.bias[:n] - mean) / deviation
    before.bias[n:] -= 2 * deviation.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation.view(1, -1, 1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=220, help="of the whole schedule, compilation included")
    parser.add_argument("--elapsed", type=float, default=0, help="seconds of the schedule that lie behind --resume")
    parser.add_argument("--batch", type=int, default=64, help="frames a process and step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--kl", type=float, default=2e-5)
    parser.add_argument("--edges", type=float, default=1.0, help="weight of the loss on differences to the next pixel")
    parser.add_argument("--square", type=float, default=2.0, help="weight of the squared error")
    parser.add_argument("--channels", default="48,64,128,128", help="of each level")
    parser.add_argument("--latent-channels", type=int, default=8)
    parser.add_argument("--subject-weight", type=float, default=0, help="how much more the error on a subject counts")
    parser.add_argument("--resume", type=Path, help="a VAE's folder to go on from")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder alone")
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--plain", action="store_true", help="train on plain clips alone")
    parser.add_argument("--autocast", action="store_true", help="weights in float32 and autocast, instead of all in bfloat16")
    parser.add_argument("--compile-after", type=Path, help="compile once this file is there; see --rehearse")
    parser.add_argument("--rehearse", action="store_true", help="take a few steps, as it is and compiled, and tell how fast they are")
    args = parser.parse_args()
    begin = time.time()
    rank, _, device = parallel.start()
    torch.manual_seed(0)
    vae = models.new_vae([int(c) for c in args.channels.split(",")], args.latent_channels)
    if args.resume:
        vae = AutoencoderKL.from_pretrained(args.resume, torch_dtype=torch.float32)
    vae = vae.train().to(memory_format=torch.channels_last)
    if args.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    half = device.type == "cuda" and not args.autocast
    learner = Learner(vae, device, args.rate, args.seconds, args.elapsed, half, warm=20 if args.resume else 200, weight_decay=1e-4, begin=begin)
    rng = np.random.default_rng([rank, 1, int(args.elapsed)])
    torch.manual_seed(1000 + rank + int(args.elapsed))
    render = world.Renderer(args.atlas, device, args.scene_seeds, 8)
    net = Quick(Autoencode(learner.live, args.decoder_only), args.compile_after)
    if rank == 0:
        print(f"vae: {sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M parameters, ready after {time.time() - begin:.0f} s", flush=True)
    report, latent = Report("vae", learner, args.batch), vae.config.latent_channels
    sample = world.sample if args.plain else variety.sample

    def step(call):
        nonlocal video, cover
        if learner.steps % 4 == 0:  # four steps from one painting: the second frame of a clip adds little to the same step
            plan = sample(rng, args.batch, scene_seeds=args.scene_seeds)
            frames = np.argsort(rng.random((args.batch, world.FRAMES)), 1)[:, :4]
            with torch.no_grad():
                video, cover = render(plan, frames=frames)
        x = video[:, learner.steps % 4].contiguous(memory_format=torch.channels_last)
        noise = torch.randn(args.batch, latent, models.LATENT_SIZE, models.LATENT_SIZE, device=device) * (not args.decoder_only)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and not half):
            made, mean, log_variance = call(x.bfloat16() if half else x, noise)
        weight = 1 + args.subject_weight * cover[:, :, learner.steps % 4].sum(1, keepdim=True) if args.subject_weight else 1.0
        kl = kl_loss(mean, log_variance)
        loss = reconstruction_loss(made, x, weight, args.edges, args.square) + args.kl * kl
        learner.learn(loss)
        report.add(loss=loss, error=(made.detach() - x).square().mean(), kl=kl)

    def write(clips):
        """The averaged weights as they are now; returns (PSNR of the mean error, PSNR mean of the frames, pictures)."""
        average = copy.deepcopy(learner.average)
        if not args.decoder_only:
            plan = sample(np.random.default_rng(98), 256, scene_seeds=args.scene_seeds)
            normalise(average, render(plan, frames=np.full((256, 1), 8))[0][:, 0])
        factor = vae.config.scaling_factor if args.decoder_only else 1.0
        models.write_net(average, args.out / "vae", models.NET_FILE, scaling_factor=factor)
        return measure(average, render, clips), measure(average, render, clips, plain=False)

    video = cover = None
    if args.rehearse:
        return rehearse("vae", step, net.module, args.batch)
    checked = time.time()
    while learner.tick() < 1:
        step(net)
        if report.due():
            report.show()
        if rank == 0 and time.time() - checked > 60:
            checked = time.time()
            (pooled, mean, _), _ = write(16)
            print(f"vae after {learner.elapsed():.0f} s: held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames)", flush=True)
    if rank == 0:
        (pooled, mean, pairs), varied = write(128)
        world.save_sheet(pairs.transpose(0, 1), args.out / "vae.png")
        figures = {"psnr_of_mean_error": pooled, "psnr_mean_of_frames": mean, "varied_of_mean_error": varied[0], "varied_mean_of_frames": varied[1],
                   "steps": learner.steps, "seconds": learner.elapsed(), **{k: v for k, v in vars(args).items() if isinstance(v, (int, float, str))}}
        (args.out / "vae.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(f"vae held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames), varied {varied[0]:.2f} and {varied[1]:.2f}; "
              f"{learner.steps} steps, {learner.elapsed():.0f} s", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
