"""Trains the VAE on single frames of the world, for a given time.

    torchrun --nproc-per-node 2 train_vae.py --atlas atlas.npz --out run --seconds 220
    python train_vae.py --atlas atlas.npz --out run --seconds 440                       # one GPU
    python train_vae.py --atlas atlas.npz --out new --resume run/vae --decoder-only --subject-weight 3 --rate 3e-4 \\
        --batch 8 --seconds 600       # polish the decoder alone: latents that are in use already stay what they are

Writes OUT/vae (fp16, with the scaling factor that gives the latents unit variance) and prints the PSNR of frames whose
scenes were never trained on.  The schedule is by the clock, so it ends, and saves, when the time is up.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import models
import parallel
import world


class Autoencode(torch.nn.Module):
    def __init__(self, vae, decoder_only=False):
        super().__init__()
        self.vae, self.decoder_only = vae, decoder_only

    def forward(self, x, noise):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.decoder_only):
            mean, log_variance = self.vae.quant_conv(self.vae.encoder(x)).float().chunk(2, 1)
        log_variance = log_variance.clamp(-30, 20)
        z = mean + (0.5 * log_variance).exp() * noise
        return self.vae.decoder(self.vae.post_quant_conv(z)).float(), mean, log_variance


def reconstruction_loss(made, x, weight=1.0):
    """L1 on the values and on their differences to the next pixel (edges), and the squared error that PSNR measures.
    weight: of each pixel, [B, 1, H, W] or 1."""
    error = (made - x) * weight
    dx, dy = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    return error.abs().mean() + dx.abs().mean() + dy.abs().mean() + 2 * (error * (made - x)).mean()


@torch.no_grad()
def measure(vae, render, device, clips=128):
    """PSNR of the mean's reconstruction on held-out scenes, in dB for values of range 2, and the latents' deviation."""
    rng = np.random.default_rng(99)
    plan = world.sample(rng, clips, "held-out", scene_seeds=8)
    video, _ = render(plan, frames=np.tile([[3, 12]], (clips, 1)))
    x = video.reshape(-1, 3, world.SIZE, world.SIZE)
    z = torch.cat([vae.encode(part).latent_dist.mean for part in x.split(32)])
    made = torch.cat([vae.decode(part).sample for part in z.split(32)])
    error = (made.clamp(-1, 1) - x).square().mean((1, 2, 3))
    pooled, mean = 10 * math.log10(4 / error.mean()), float((10 * (4 / error).log10()).mean())
    return pooled, mean, float(z.std()), torch.stack([x[:16:2], made[:16:2]], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=220, help="of training, compilation included")
    parser.add_argument("--batch", type=int, default=128, help="frames a process and step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--kl", type=float, default=2e-5)
    parser.add_argument("--subject-weight", type=float, default=0, help="how much more the error on a subject counts")
    parser.add_argument("--resume", type=Path, help="a VAE's folder to go on from")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder and the scaling factor alone")
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    begin = time.time()
    rank, _, device = parallel.start()
    torch.manual_seed(0)
    vae = models.new_vae()
    if args.resume:
        vae = AutoencoderKL.from_pretrained(args.resume, torch_dtype=torch.float32)
    vae = vae.train().to(device, memory_format=torch.channels_last)
    learning = [vae.decoder, vae.post_quant_conv] if args.decoder_only else [vae]
    parameters = [p for module in learning for p in module.parameters()]
    parallel.same_start(parameters)
    rng = np.random.default_rng([rank, 1])
    torch.manual_seed(1000 + rank)
    render = world.Renderer(args.atlas, device, args.scene_seeds, 8)
    net = Autoencode(vae, args.decoder_only)
    if not args.no_compile and device.type == "cuda":
        net = torch.compile(net)
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=device.type == "cuda")
    if rank == 0:
        print(f"vae: {sum(p.numel() for p in parameters) / 1e6:.2f} M parameters, ready after {time.time() - begin:.0f} s", flush=True)
    step, done = 0, 0.0
    while done < 1:
        if step % 10 == 0:
            done = parallel.agree((time.time() - begin) / args.seconds)
        rate = args.rate * min(1, (step + 1) / (20 if args.resume else 200)) * 0.5 * (1 + math.cos(math.pi * min(1, done)))
        optimizer.param_groups[0]["lr"] = rate
        if step % 4 == 0:  # four steps from one painting: the second frame of a clip adds little to the same step
            plan = world.sample(rng, args.batch, scene_seeds=args.scene_seeds)
            frames = np.argsort(rng.random((args.batch, world.FRAMES)), 1)[:, :4]
            with torch.no_grad():
                video, cover = render(plan, frames=frames)
        x = video[:, step % 4].contiguous(memory_format=torch.channels_last)
        noise = torch.randn(args.batch, models.LATENT_CHANNELS, models.LATENT_SIZE, models.LATENT_SIZE, device=device)
        if args.decoder_only:
            noise = torch.zeros_like(noise)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made, mean, log_variance = net(x, noise)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean() / models.LATENT_SIZE**2
        loss = reconstruction_loss(made, x, 1 + args.subject_weight * cover[:, :, step % 4].sum(1, keepdim=True)) + args.kl * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if rank == 0 and (step % (200 if device.type == "cuda" else 20) == 0 or step == 1):
            with torch.no_grad():
                psnr = 10 * math.log10(4 / F.mse_loss(made, x))
            print(f"vae step {step} {time.time() - begin:.0f} s loss {loss.item():.4f} psnr {psnr:.2f} kl {kl.item():.1f}", flush=True)
    if rank == 0:
        vae.eval()
        pooled, mean, deviation, pairs = measure(vae, render, device)
        factor = vae.config.scaling_factor if args.decoder_only else 1 / deviation
        models.write_vae(vae, args.out, factor)
        world.save_sheet(pairs.transpose(0, 1), args.out / "vae.png")
        print(f"vae held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames); scaling factor "
              f"{factor:.4f}; {step} steps, {time.time() - begin:.0f} s", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
