"""What the trainings of both VAEs share: options, losses, how good they are, and the loop."""

import json
import math
import time

import numpy as np
import torch

import parallel
import training
import world
from training import Learner, Report


def options(description, batch, rate, latent_channels):
    """A parser with the options of both. batch: (default, of what)."""
    parser = training.options(description, seconds=220)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--batch", type=int, default=batch[0], help=f"{batch[1]} a process and step")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--kl", type=float, default=2e-5)
    parser.add_argument("--edges", type=float, default=1.0, help="weight of the loss on differences to the next pixel")
    parser.add_argument("--square", type=float, default=2.0, help="weight of the squared error")
    parser.add_argument("--subject-weight", type=float, default=0, help="how much more the error on a subject counts")
    parser.add_argument("--latent-channels", type=int, default=latent_channels)
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder alone")
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--autocast", action="store_true", help="weights in float32 and autocast, instead of all in bfloat16")
    return parser


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


class Trainer:
    """A VAE that learns: `learner`, and what it learns from."""

    def __init__(self, name, args, vae, device, begin, seed):
        self.name, self.args, self.device, self.rank = name, args, device, parallel.rank()
        if args.decoder_only:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        self.half = device.type == "cuda" and not args.autocast
        warm = 20 if args.resume else 200
        self.learner = Learner(vae.train(), device, args.rate, args.seconds, args.elapsed, self.half, warm, weight_decay=1e-4, begin=begin)
        self.report = Report(name, self.learner, args.batch)
        self.rng = np.random.default_rng([self.rank, seed, int(args.elapsed)])
        torch.manual_seed(1000 + self.rank + int(args.elapsed))
        self.render = world.Renderer(args.atlas, device, args.scene_seeds, 8)
        if self.rank == 0:
            print(f"{name}: {sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M parameters, ready after {time.time() - begin:.0f} s", flush=True)

    def learn(self, call, x, noise_shape, cover):
        """One step on frames or clips x. call: (x, noise) to what is made, mean and log variance, frames or clips first; cover: of x's
        subjects, as x but for its channels."""
        args = self.args
        noise = torch.randn(noise_shape, device=self.device) * (not args.decoder_only)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda" and not self.half):
            made, mean, log_variance = call(x.bfloat16() if self.half else x, noise)
        made, x, cover, mean, log_variance = (v.reshape(-1, *v.shape[-3:]) for v in (made, x, cover, mean, log_variance))
        weight = 1 + args.subject_weight * cover if args.subject_weight else 1.0
        kl = kl_loss(mean, log_variance)
        loss = reconstruction_loss(made, x, weight, args.edges, args.square) + args.kl * kl
        self.learner.learn(loss)
        self.report.add(loss=loss, error=(made.detach() - x).square().mean(), kl=kl)

    def go(self, step, write, few, many):
        """Steps until the time is up.  Every minute and at the end it writes the weights and says how good they are.
        write: how many held-out clips to how good, twice: (PSNR of the mean error, PSNR mean of the frames, pictures), plain and varied."""
        learner, checked = self.learner, time.time()
        while learner.tick() < 1:
            step()
            if self.report.due():
                self.report.show()
            if self.rank == 0 and time.time() - checked > 60:
                checked = time.time()
                (pooled, mean, _), _ = write(few)
                print(f"{self.name} after {learner.elapsed():.0f} s: held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames)",
                      flush=True)
        if self.rank == 0:
            (pooled, mean, pictures), (varied_pooled, varied_mean, _) = write(many)
            out = self.args.out
            world.save_sheet(pictures, out / f"{self.name}.png")
            figures = {"psnr_of_mean_error": pooled, "psnr_mean_of_frames": mean, "varied_of_mean_error": varied_pooled,
                       "varied_mean_of_frames": varied_mean, "steps": learner.steps, "seconds": learner.elapsed(),
                       **{k: v for k, v in vars(self.args).items() if isinstance(v, (int, float, str))}}
            (out / f"{self.name}.json").write_text(json.dumps(figures, indent=1) + "\n")
            print(f"{self.name} held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames), varied {varied_pooled:.2f} and "
                  f"{varied_mean:.2f}; {learner.steps} steps, {learner.elapsed():.0f} s", flush=True)
