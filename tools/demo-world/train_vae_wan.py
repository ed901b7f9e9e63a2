"""Trains Wan's VAE, small, on clips of the world, for a given time: train_vae.py with clips for frames.

It begins as a VAE of pictures (a share of the schedule, --pictures): clips of one frame, of which far more fit into a step.  Its convolutions
see no past then, and in time it keeps the last of the frames that become one, and repeats it on the way back; from there the clips teach it motion.

    torchrun --nproc-per-node 2 train_vae_wan.py --atlas atlas.npz --out run --seconds 220
    python train_vae_wan.py --atlas atlas.npz --out run --resume run/vae-wan --elapsed 220 --seconds 440      # goes on
    python train_vae_wan.py --atlas atlas.npz --out new --resume run/vae-wan --decoder-only --pictures 0 --rate 3e-4 --seconds 300

Writes OUT/vae-wan (the averaged weights in fp16, and latents_mean and latents_std as they are on the world's clips) and prints the
PSNR of clips whose scenes were never trained on.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

import models
import parallel
import variety
import wan_vae
import world
from train_vae import kl_loss, psnr, reconstruction_loss
from training import Learner, Quick, Report, rehearse

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=220, help="of the whole schedule, compilation included")
    parser.add_argument("--elapsed", type=float, default=0, help="seconds of the schedule that lie behind --resume")
    parser.add_argument("--batch", type=int, default=8, help="clips a process and step")
    parser.add_argument("--pictures", type=float, default=0.25, help="share of the schedule on single frames")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--kl", type=float, default=2e-5)
    parser.add_argument("--edges", type=float, default=1.0, help="weight of the loss on differences to the next pixel")
    parser.add_argument("--square", type=float, default=2.0, help="weight of the squared error")
    parser.add_argument("--subject-weight", type=float, default=0, help="how much more the error on a subject counts")
    parser.add_argument("--base-dim", type=int, default=24)
    parser.add_argument("--dim-mult", default="1,2,3,3")
    parser.add_argument("--latent-channels", type=int, default=16)
    parser.add_argument("--resume", type=Path, help="a VAE's folder to go on from")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder alone")
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--autocast", action="store_true", help="weights in float32 and autocast, instead of all in bfloat16")
    parser.add_argument("--compile-after", type=Path, help="compile once this file is there; see --rehearse")
    parser.add_argument("--rehearse", action="store_true", help="take a few steps, as it is and compiled, and tell how fast they are")
    args = parser.parse_args()
    begin = time.time()
    rank, _, device = parallel.start()
    torch.manual_seed(0)
    vae = models.new_vae_wan(args.base_dim, [int(m) for m in args.dim_mult.split(",")], args.latent_channels)
    without_past(vae)
    if args.resume:
        vae = models.read_net(args.resume)
    if args.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    half = device.type == "cuda" and not args.autocast
    learner = Learner(vae.train(), device, args.rate, args.seconds, args.elapsed, half, warm=20 if args.resume else 200, weight_decay=1e-4, begin=begin)
    rng = np.random.default_rng([rank, 11, int(args.elapsed)])
    torch.manual_seed(1000 + rank + int(args.elapsed))
    render = world.Renderer(args.atlas, device, args.scene_seeds, 8)
    autoencode = lambda: Autoencode(learner.live, args.decoder_only)
    net, pictures = Quick(autoencode(), args.compile_after), autoencode()
    if rank == 0:
        print(f"vae-wan: {sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M parameters, ready after {time.time() - begin:.0f} s", flush=True)
    report = Report("vae-wan", learner, args.batch)
    latent = (vae.config.z_dim, models.LATENT_SIZE, models.LATENT_SIZE)

    def step(call):
        """On clips, or on eight times as many pictures."""
        nonlocal video, cover
        many, frames = (8 * args.batch, 1) if call is pictures else (args.batch, FRAMES)
        if learner.steps % 4 == 0 or len(video) != 4 * many:  # four steps from one painting
            plan = variety.sample(rng, 4 * many, scene_seeds=args.scene_seeds, frames=FRAMES)
            with torch.no_grad():
                video, cover = render(plan, rng.integers(FRAMES, size=(4 * many, 1)) if frames == 1 else None)
        x, noise = video[learner.steps % 4 :: 4], torch.randn(many, 1 + (frames - 1) // 4, *latent, device=device) * (not args.decoder_only)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and not half):
            made, mean, log_variance = call(x.bfloat16() if half else x.contiguous(), noise)
        kl = kl_loss(mean.flatten(0, 1), log_variance.flatten(0, 1))
        weight = 1 + args.subject_weight * cover[learner.steps % 4 :: 4].sum(1).flatten(0, 1)[:, None] if args.subject_weight else 1.0
        loss = reconstruction_loss(made.flatten(0, 1), x.flatten(0, 1), weight, args.edges, args.square) + args.kl * kl
        learner.learn(loss)
        report.add(loss=loss, error=(made.detach() - x).square().mean(), kl=kl)

    def write(clips):
        """The averaged weights as they are now, and (PSNR of the mean error, PSNR mean of the frames, clips) of plain and of varied clips."""
        average = learner.average
        plan = variety.sample(np.random.default_rng(98), 64, scene_seeds=args.scene_seeds, frames=FRAMES)
        with torch.no_grad():
            z = torch.cat([wan_vae.encode(average, part)[0] for part in render(plan)[0].split(8)])
        statistics = {"latents_mean": z.mean((0, 1, 3, 4)).tolist(), "latents_std": z.std((0, 1, 3, 4)).tolist()}
        if args.decoder_only:
            statistics = {name: getattr(vae.config, name) for name in statistics}
        models.write_net(average, args.out / "vae-wan", models.NET_FILE, **statistics)
        return measure(average, render, clips), measure(average, render, clips, plain=False)

    video, cover, checked = (), (), time.time()
    if args.rehearse:
        return rehearse("vae-wan", step, net.module, args.batch)
    while learner.tick() < 1:
        step(pictures if learner.done < args.pictures else net)
        if report.due():
            report.show()
        if rank == 0 and time.time() - checked > 60:
            checked = time.time()
            (pooled, mean, _), _ = write(8)
            print(f"vae-wan after {learner.elapsed():.0f} s: held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames)", flush=True)
    if rank == 0:
        (pooled, mean, clips), varied = write(64)
        world.save_sheet(clips, args.out / "vae-wan.png")
        figures = {"psnr_of_mean_error": pooled, "psnr_mean_of_frames": mean, "varied_of_mean_error": varied[0], "varied_mean_of_frames": varied[1],
                   "steps": learner.steps, "seconds": learner.elapsed(), **{k: v for k, v in vars(args).items() if isinstance(v, (int, float, str))}}
        (args.out / "vae-wan.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(f"vae-wan held-out PSNR {pooled:.2f} dB (of the mean error), {mean:.2f} dB (mean of frames), varied {varied[0]:.2f} and "
              f"{varied[1]:.2f}; {learner.steps} steps, {learner.elapsed():.0f} s", flush=True)
    parallel.stop()


if __name__ == "__main__":
    main()
