"""Looks at a source, inversion, and guided sampling for a batch of clips at once, for all three kinds of model.

The motion of a source clip is read from the maps of its subjects' words, as masks, and put on a new clip by moving its latents along the gradient of
two losses of attention: what of it lies outside the mask, and how uneven it is inside.  The program has more of everything; this is for figures on
a GPU in minutes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from denoiser import Checkpoint, side_of, words


@dataclass
class Settings:
    steps: int = 25
    guided_steps: int = 8
    updates_per_step: int = 2
    guidance_scale: float = 6.0
    tau: float = 0.4
    step_norm: float = 0.03  # of the latents' norm
    cross: float = 1.0
    outside: float = 1.0
    masks: str = "noised"  # of one look at the noised source; or "inversion", or "truth"
    timestep: int = 201  # of that look
    init: str = "noise"  # or "inverted"
    layers: tuple = ()  # that are looked at and guide; those that training grounds, where there are none
    mask_layers: str = "own"  # each layer's own map, or "finest": the mean of those of the finest


def computing(x):
    return torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda")


def looked(model: Checkpoint, z, t, text, at, layers):
    """Prediction and {layer: map [B, K, F, places]} of latents at a timestep."""
    with computing(z):
        out, maps = model.denoiser.predict(z, torch.full((len(z),), float(t), device=z.device), text, watch=True)
    return out.float(), {name: words(maps[name].float(), at) for name in layers}


@torch.no_grad()
def noised_look(model, z, t, text, at, layers, seed=7):
    noise = torch.randn(z.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(z.device)
    return looked(model, model.schedule.noised(z, noise, torch.full((len(z),), t, device=z.device)), t, text, at, layers)[1]


@torch.no_grad()
def invert(model, z, text, at, layers, steps):
    """Latents to noise, and the maps of each timestep."""
    seen = {}
    for step in model.schedule.ascending(steps):
        out, seen[step.t] = looked(model, z, step.t, text, at, layers)
        z = model.schedule.move(z, out, step.lower, step.upper)
    return z, seen


def masks_of(maps, settings: Settings):
    """{layer: map [B, K, F, places]} -> {layer: mask}."""
    top = lambda m: m / m.amax(-1, keepdim=True).clamp(min=1e-9)
    if settings.mask_layers == "finest":
        finest = max(m.shape[-1] for m in maps.values())
        mean = torch.stack([top(m) for m in maps.values() if m.shape[-1] == finest]).mean(0)
        maps = {name: at_side(mean, side_of(m.shape[-1])) for name, m in maps.items()}
    return {name: (top(m) > settings.tau).float() for name, m in maps.items()}


def at_side(m, side):
    """[B, K, F, places] at so many cells a side."""
    own = side_of(m.shape[-1])
    if own == side:
        return m
    return F.adaptive_avg_pool2d(m.unflatten(-1, (own, own)).flatten(0, 2), side).flatten(1).unflatten(0, m.shape[:3])


def losses(maps, masks, valid, settings: Settings):
    """One a clip, [B]; valid [B, K]."""
    total = 0
    for name, m in maps.items():
        mask = masks[name]
        mean = lambda v, where: (v * where).sum(-1) / where.sum(-1).clamp(min=1)
        top = m / m.amax(-1, keepdim=True)
        shown = (mask.sum(-1) > 0).float()
        outside = ((mean(top, 1 - mask) + mean(1 - top, mask)) * shown).sum(-1) / shown.sum(-1).clamp(min=1)
        cross = (1 - (m * mask).sum(-1) / m.sum(-1)).mean(-1)
        total = total + settings.cross * cross + settings.outside * outside
    return (total / len(maps) * valid).sum(1) / valid.sum(1)


def keep_statistics(moved, before):
    """Each channel's mean and deviation as before."""
    of = lambda v: (v.mean((2, 3, 4), keepdim=True), v.std((2, 3, 4), keepdim=True))
    (mean, deviation), (was, spread) = of(moved), of(before)
    return (moved - mean) / deviation * spread + was


def generate(model, z, text, nothing, settings: Settings, masks=None, at=None, valid=None):
    """Noise to latents.  masks: of each timestep {layer: mask}, a function; without it nothing is guided."""
    for i, step in enumerate(reversed(model.schedule.ascending(settings.steps))):
        for _ in range(settings.updates_per_step if masks and i < settings.guided_steps else 0):
            now = masks(step.t)
            with torch.enable_grad():
                x = z.detach().requires_grad_(True)
                loss = losses(looked(model, x, step.t, text, at, now)[1], now, valid, settings)
                (gradient,) = torch.autograd.grad(loss.sum(), x)
            size = lambda v: v.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1, 1)
            z = keep_statistics(z - settings.step_norm * size(z) / size(gradient) * gradient, z)
        with torch.no_grad(), computing(z):
            t = torch.full((len(z),), float(step.t), device=z.device)
            plain, wanted = (model.denoiser.predict(z, t, words).float() for words in (nothing, text))
            z = model.schedule.move(z, plain + settings.guidance_scale * (wanted - plain), step.upper, step.lower)
    return z
