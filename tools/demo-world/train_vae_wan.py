"""Trains Wan's VAE, small, on clips of the world, for a given time: train_vae.py with clips for frames.

It begins as a VAE of pictures (a share of the schedule, --pictures): clips of one frame, of which far more fit into a step.  Its convolutions
see no past then, and in time it keeps the last of the frames that become one, and repeats it on the way back; from there the clips teach it motion.

    torchrun --nproc-per-node 2 train_vae_wan.py --atlas atlas.npz --out run --seconds 220
    python train_vae_wan.py --atlas atlas.npz --out run --resume run/vae-wan --elapsed 220 --seconds 440      # goes on
    python train_vae_wan.py --atlas atlas.npz --out new --resume run/vae-wan --decoder-only --pictures 0 --rate 3e-4 --seconds 300

Writes OUT/vae-wan (the averaged weights in fp16, and latents_mean and latents_std as they are on the world's clips) and prints the
PSNR of clips whose scenes were never trained on.
"""

import time

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

import models
import parallel
import variety
import wan_vae
import world
from training import Quick, rehearse
from vae_training import Trainer, options, psnr

FRAMES = 17


class Autoencode(torch.nn.Module):
    def __init__(self, vae, decoder_only=False):
        super().__init__()
        self.vae, self.decoder_only = vae, decoder_only

    def forward(self, x, noise):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.decoder_only):
            mean, log_variance = (v.float() for v in wan_vae.encode(self.vae, x))
        log_variance = log_variance.clamp(-30, 20)
        z = mean + (0.5 * log_variance).exp() * noise
        return wan_vae.decode(self.vae, z.to(x.dtype)).float(), mean, log_variance


@torch.no_grad()
def without_past(vae):
    """A new net whose convolutions see the present frame alone."""
    for name, layer in vae.named_modules():
        if not isinstance(layer, WanCausalConv3d) or layer.kernel_size[0] == 1:
            continue
        if name.endswith("time_conv"):
            same = torch.eye(layer.in_channels).repeat(layer.out_channels // layer.in_channels, 1)
            layer.weight.zero_()
            layer.weight[:, :, -1, 0, 0] = same
            layer.bias.zero_()
        else:
            layer.weight[:, :, :-1] = 0
            layer.weight[:, :, -1] *= layer.kernel_size[0] ** 0.5


@torch.no_grad()
def measure(vae, render, clips=64, plain=True):
    """PSNR of the mean's reconstruction of held-out clips, and some clips with what is made of them."""
    rng = np.random.default_rng(99)
    plan = (world.sample if plain else variety.sample)(rng, clips, "held-out", scene_seeds=8, frames=FRAMES)
    video, _ = render(plan)
    made = torch.cat([wan_vae.decode(vae, wan_vae.encode(vae, part)[0]).clamp(-1, 1) for part in video.split(8)])
    return *psnr(made.flatten(0, 1), video.flatten(0, 1)), torch.stack([video[:4], made[:4]], 1).flatten(0, 1)


def main():
    parser = options(__doc__, batch=(8, "clips"), rate=1.5e-3, latent_channels=16)
    parser.add_argument("--pictures", type=float, default=0.25, help="share of the schedule on single frames")
    parser.add_argument("--base-dim", type=int, default=24)
    parser.add_argument("--dim-mult", default="1,2,3,3")
    args = parser.parse_args()
    begin = time.time()
    _, _, device = parallel.start()
    torch.manual_seed(0)
    vae = models.new_vae_wan(args.base_dim, [int(m) for m in args.dim_mult.split(",")], args.latent_channels)
    without_past(vae)
    if args.resume:
        vae = models.read_net(args.resume)
    trainer = Trainer("vae-wan", args, vae, device, begin, seed=11)
    learner, render = trainer.learner, trainer.render
    autoencode = lambda: Autoencode(learner.live, args.decoder_only)
    net, pictures = Quick(autoencode(), args.compile_after), autoencode()
    latent = (vae.config.z_dim, models.LATENT_SIZE, models.LATENT_SIZE)

    def step(call=None):
        """On clips, or on eight times as many pictures."""
        nonlocal video, cover
        call = call or (pictures if learner.done < args.pictures else net)
        many, frames = (8 * args.batch, 1) if call is pictures else (args.batch, FRAMES)
        if learner.steps % 4 == 0 or len(video) != 4 * many:  # four steps from one painting
            plan = variety.sample(trainer.rng, 4 * many, scene_seeds=args.scene_seeds, frames=FRAMES)
            with torch.no_grad():
                video, cover = render(plan, trainer.rng.integers(FRAMES, size=(4 * many, 1)) if frames == 1 else None)
        part = slice(learner.steps % 4, None, 4)
        trainer.learn(call, video[part].contiguous(), (many, 1 + (frames - 1) // 4, *latent), cover[part].sum(1)[:, :, None])

    def write(clips):
        average = learner.average
        plan = variety.sample(np.random.default_rng(98), 64, scene_seeds=args.scene_seeds, frames=FRAMES)
        with torch.no_grad():
            z = torch.cat([wan_vae.encode(average, part)[0] for part in render(plan)[0].split(8)])
        statistics = {"latents_mean": z.mean((0, 1, 3, 4)).tolist(), "latents_std": z.std((0, 1, 3, 4)).tolist()}
        if args.decoder_only:
            statistics = {name: getattr(vae.config, name) for name in statistics}
        models.write_net(average, args.out / "vae-wan", models.NET_FILE, **statistics)
        return measure(average, render, clips), measure(average, render, clips, plain=False)

    video, cover = (), ()
    if args.rehearse:
        return rehearse("vae-wan", step, net.module, args.batch)
    trainer.go(step, write, few=8, many=64)
    parallel.stop()


if __name__ == "__main__":
    main()
