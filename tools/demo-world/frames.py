"""Frames to train judges on: painted by world.py, then made to look like what the demo model gives.

`plans` draws batches in other processes; `painted` paints them; `worn` wears frames down (VAE round trip with noisy
latents, blur, colours, noise); `Remade` is a store of clips that the demo model itself has painted over: noised to a
timestep low enough that everything stays in its place, and sampled back.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

import world
from denoiser import Checkpoint
from encode_clips import decode, encode
from tokenizer import Encoder


class _Plans(IterableDataset):
    def __init__(self, batch, frames, tokenizer, seed, scene_seeds, every_pair, two, empty):
        self.batch, self.frames, self.tokenizer, self.seed = batch, frames, tokenizer, seed
        self.scene_seeds, self.every_pair, self.two, self.empty = scene_seeds, every_pair, two, empty

    def __iter__(self):
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        encoder = Encoder(self.tokenizer)
        while True:
            scene = rng.integers(8, size=self.batch) if self.every_pair else None
            plan = world.sample(rng, self.batch, "train", scene_seeds=self.scene_seeds, two=self.two, scene=scene)
            ids = torch.tensor([encoder(world.caption(plan, i, rng))[0] for i in range(self.batch)])
            plan.count[rng.random(self.batch) < self.empty] = 0
            if self.frames == world.FRAMES:
                pick = np.arange(world.FRAMES)[None].repeat(self.batch, 0)
            else:
                pick = rng.integers(world.FRAMES, size=(self.batch, self.frames))
            yield plan, pick, ids


def plans(batch, frames, tokenizer, seed, scene_seeds, every_pair=False, two=0.3, empty=0.0, workers=6):
    """Endless (plan, frames to paint [B, frames], token ids of a caption [B, 32])."""
    data = _Plans(batch, frames, tokenizer, seed, scene_seeds, every_pair, two, empty)
    return iter(DataLoader(data, batch_size=None, num_workers=workers))


def painted(render, plan, pick):
    """Frames [N, 3, 128, 128], each frame's cover [N, 2, 64, 64], sprites [N, 2], count [N] and scene [N]."""
    video, cover = render(plan, pick)
    each = lambda v: torch.from_numpy(v).to(video.device).repeat_interleave(pick.shape[1], 0)
    cover = world.coverage(cover, world.CELLS).transpose(1, 2).flatten(0, 1)
    return video.flatten(0, 1), cover, each(plan.sprite), each(plan.count), each(plan.scene)


@torch.no_grad()
def through_vae(vae, x, noise=0.0):
    """There and back, with noise of up to this deviation on the latents."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        z = vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        z = z + noise * torch.rand(len(z), 1, 1, 1, device=z.device) * torch.randn_like(z)
        return vae.decode(z).sample.float()


def blurred(x, sigma):
    at = torch.arange(-3, 4, device=x.device).float()
    line = torch.exp(-(at**2) / (2 * sigma**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, 7)
    x = F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), line, groups=x.shape[1])
    return F.conv2d(x, line.transpose(2, 3), groups=x.shape[1])


def worn(vae, x):
    """Half of the frames go through the VAE; then some of all are blurred, and all get other colours and noise."""
    half = len(x) // 2
    x = torch.cat([through_vae(vae, x[:half], 0.5), x[half:]])
    each = lambda *shape: torch.randn(len(x), *shape, device=x.device)
    soft = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.3
    x = torch.where(soft, blurred(x, float(np.random.uniform(0.5, 1.5))), x)
    x = x * (1 + 0.15 * each(1, 1, 1)) + 0.08 * each(3, 1, 1) + 0.05 * each(1, 1, 1)
    x = x + 0.05 * torch.rand(len(x), 1, 1, 1, device=x.device) * torch.randn_like(x)
    return x.clamp(-1, 1)


class Remade:
    """Frames that the demo model painted over, made for some seconds and kept."""

    STEPS, GUIDANCE = 25, 6.0

    def __init__(self, model, device):
        self.model, self.device = Checkpoint(model, device), device
        self.vae, self.text = self.model.vae.to(memory_format=torch.channels_last), self.model.denoiser.text
        self.kept = []

    @torch.no_grad()
    def over(self, video, ids, top):
        """video [B, 16, 3, 128, 128] noised to timestep `top` or just below it and sampled back, guided by its caption."""
        denoiser, schedule = self.model.denoiser, self.model.schedule
        steps = [step for step in schedule.ascending(self.STEPS) if step.t <= top][::-1]
        with torch.autocast(video.device.type, torch.bfloat16, enabled=video.device.type == "cuda"):
            z = encode(self.vae, video)
            nothing = self.model.ids([""]).expand_as(ids)
            words = denoiser.encode(torch.cat([nothing, ids]))
            signal, share = steps[0].upper
            z = signal * z + share * torch.randn_like(z)
            for step in steps:
                t = torch.full((2 * len(z),), step.t, device=z.device)
                plain, wanted = denoiser.predict(torch.cat([z, z]), t, words).float().chunk(2)
                z = schedule.move(z, plain + self.GUIDANCE * (wanted - plain), step.upper, step.lower)
            return decode(self.vae, z).flatten(0, 1)

    def fill(self, render, source, seconds, tops=(281, 441, 561)):
        begin = time.time()
        while time.time() - begin < seconds:
            plan, pick, ids = next(source)
            x, *rest = painted(render, plan, pick)
            ids = ids.to(self.device)
            made = self.over(x.unflatten(0, pick.shape), ids, tops[len(self.kept) % len(tops)])
            rest[0] = (rest[0] * 255).round().byte()
            self.kept.append([((made + 1) * 127.5).round().byte(), *rest, ids.repeat_interleave(pick.shape[1], 0)])
        self.all = [torch.cat(parts) for parts in zip(*self.kept)]
        self.kept = []
        print(f"{len(self.all[0])} frames painted over in {time.time() - begin:.0f} s", flush=True)

    def take(self, n):
        """As `painted`, and the token ids [n, 32]."""
        at = torch.randint(len(self.all[0]), (n,), device=self.device)
        x, cover, *rest = (v[at] for v in self.all)
        return [x.float() / 127.5 - 1, cover.float() / 255, *rest]


def mixed(render, remade, vae, drawn, share=0.25):
    """A batch: painted and worn, and a share of it taken from what the demo model painted over."""
    plan, pick, ids = drawn
    fresh = [*painted(render, plan, pick), ids.to(remade.device).repeat_interleave(pick.shape[1], 0)]
    fresh[0] = worn(vae, fresh[0])
    old = remade.take(int(len(fresh[0]) * share))
    return [torch.cat([a, b]) for a, b in zip(fresh, old)]
