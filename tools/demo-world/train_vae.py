"""Trains the image VAE on single frames of the world, for a given time.

    torchrun --nproc-per-node 2 train_vae.py --atlas atlas.npz --out run --seconds 220
    python train_vae.py --atlas atlas.npz --out run --seconds 440                       # one GPU
    python train_vae.py --atlas atlas.npz --out run --resume run/vae --elapsed 220 --seconds 440      # goes on
    python train_vae.py --atlas atlas.npz --out new --resume run/vae --decoder-only --subject-weight 3 --rate 3e-4 \\
        --batch 8 --seconds 600       # polish the decoder alone: latents that are in use already stay what they are

Writes OUT/vae (the averaged weights in fp16, latents of mean 0 and variance 1 in every channel) and prints the PSNR of frames
whose scenes were never trained on.  The schedule is by the clock, so it ends, and saves, when the time is up.
"""

import copy
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import models
import parallel
import variety
import world
from training import Quick, rehearse, sums_first
from vae_training import Trainer, options, psnr


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


@torch.no_grad()
def measure(vae, render, clips=128, plain=True):
    """PSNR of the mean's reconstruction on held-out scenes, and some pairs of frames."""
    rng = np.random.default_rng(99)
    plan = (world.sample if plain else variety.sample)(rng, clips, "held-out", scene_seeds=8)
    video, _ = render(plan, frames=np.tile([[3, 12]], (clips, 1)))
    x = video.reshape(-1, 3, world.SIZE, world.SIZE)
    made = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in x.split(32)])
    return *psnr(made, x), torch.stack([x[:16:2], made[:16:2]])


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
    parser = options(__doc__, batch=(64, "frames"), rate=1e-3, latent_channels=8)
    parser.add_argument("--channels", default="48,64,128,128", help="of each level")
    parser.add_argument("--plain", action="store_true", help="train on plain clips alone")
    args = parser.parse_args()
    begin = time.time()
    _, _, device = parallel.start()
    torch.manual_seed(0)
    vae = models.new_vae([int(c) for c in args.channels.split(",")], args.latent_channels)
    if args.resume:
        vae = AutoencoderKL.from_pretrained(args.resume, torch_dtype=torch.float32)
    trainer = Trainer("vae", args, vae.to(memory_format=torch.channels_last), device, begin, seed=1)
    learner, render = trainer.learner, trainer.render
    net = Quick(Autoencode(learner.live, args.decoder_only), args.compile_after)
    noise = (args.batch, vae.config.latent_channels, models.LATENT_SIZE, models.LATENT_SIZE)
    sample = world.sample if args.plain else variety.sample

    def step(call=net):
        nonlocal video, cover
        if learner.steps % 4 == 0:  # four steps from one painting: the second frame of a clip adds little to the same step
            plan = sample(trainer.rng, args.batch, scene_seeds=args.scene_seeds)
            frames = np.argsort(trainer.rng.random((args.batch, world.FRAMES)), 1)[:, :4]
            with torch.no_grad():
                video, cover = render(plan, frames=frames)
        x = video[:, learner.steps % 4].contiguous(memory_format=torch.channels_last)
        trainer.learn(call, x, noise, cover[:, :, learner.steps % 4].sum(1, keepdim=True))

    def write(clips):
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
    trainer.go(step, write, few=16, many=128)
    parallel.stop()


if __name__ == "__main__":
    main()
