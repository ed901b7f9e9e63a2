"""DDIM inversion and guided DDIM sampling for a batch of clips at once, as the method has it.

The motion of a source clip is read while it is inverted (one mask a timestep, layer and frame) and put on a new clip
by moving its latents along the gradient of the attention losses.
"""

from dataclasses import dataclass

import torch

import attention


@dataclass
class Settings:
    steps: int = 25
    guided_steps: int = 10
    updates_per_step: int = 1
    guidance_scale: float = 6.0
    tau: float = 0.4
    step_norm: float = 0.02  # move by this share of the latents' norm
    step_size: float = 0.0  # or, where not 0, by this times the gradient
    cross: float = 1.0
    self_: float = 1.0
    temporal: float = 1.0


def timesteps(steps):
    """Ascending, 'leading' spacing with an offset of 1."""
    return [i * (1000 // steps) + 1 for i in range(steps)]


def move(x, noise, a_from, a_to):
    clean = (x - (1 - a_from) ** 0.5 * noise) / a_from**0.5
    return a_to**0.5 * clean + (1 - a_to) ** 0.5 * noise


def level(acp, t):
    return acp[max(t, 0)]


def subject_maps(maps, layers, at, frames):
    """{layer: [B, F, N]}: the mean over the subject's tokens.  at: [B, K] positions."""
    out = {}
    for name in layers:
        m = maps[name].unflatten(0, (-1, frames))  # [B, F, N, L]
        index = at[:, None, None].expand(*m.shape[:3], at.shape[1])
        out[name] = m.gather(-1, index).mean(-1)
    return out


def mask_of(a, tau):
    return (a > tau * a.amax(-1, keepdim=True)).float()


class Sampler:
    def __init__(self, unet, acp, dtype=torch.float32):
        self.unet, self.acp, self.dtype = unet, acp, dtype
        self.layers = attention.guidance_layers(unet)
        self.store = attention.install(unet, {n for group in self.layers.values() for n in group})

    def noise(self, z, t, text):
        with torch.autocast(z.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.unet(z, t, text, return_dict=False)[0].float()

    def watched(self, z, t, text):
        self.store.enabled, self.store.maps = True, {}
        noise = self.noise(z, t, text)
        self.store.enabled = False
        return noise, {k: v.float() for k, v in self.store.maps.items()}

    @torch.no_grad()
    def invert(self, z, text, subjects, settings: Settings):
        """Latents [B, 4, F, h, w] to noise; and for each subject ([B, K] positions) {t: {layer: map [B, F, N]}}."""
        ratio, seen = 1000 // settings.steps, [{} for _ in subjects]
        for t in timesteps(settings.steps):
            noise, maps = self.watched(z, t, text)
            for k, at in enumerate(subjects):
                seen[k][t] = subject_maps(maps, self.layers["cross"], at, z.shape[2])
            z = move(z, noise, level(self.acp, t - ratio), level(self.acp, t))
        return z, seen

    def losses(self, maps, masks, at, frames):
        """masks {cross layer: [B, F, N]}.  (cross, self, temporal), each [B]."""
        seen = subject_maps(maps, self.layers["cross"], at, frames)
        cross = [(1 - (masks[n] * seen[n]).sum(-1) / seen[n].sum(-1)).mean(-1) for n in self.layers["cross"]]
        union = {}
        for n in self.layers["cross"]:
            key = (n.split(".attentions")[0], masks[n].shape[-1])
            union[key] = torch.maximum(union[key], masks[n]) if key in union else masks[n]
        own, over_time = [], []
        for n in self.layers["self"]:
            s = maps[n].unflatten(0, (-1, frames))  # [B, F, N, N]
            m = union[(n.split(".attentions")[0], s.shape[-1])]
            total = m.sum(-1)
            each = 1 - torch.einsum("bfq,bfqk,bfk->bf", m, s, m) / total.clamp(min=1)
            own.append((each * (total > 0)).sum(-1) / (total > 0).sum(-1).clamp(min=1))
        for n in self.layers["temporal"]:
            s = maps[n].unflatten(0, (at.shape[0], -1))  # [B, N, F, F]
            m = union[(n.split(".temp_attentions")[0], s.shape[1])].transpose(1, 2)
            over_time.append(1 - torch.einsum("bnq,bnqk,bnk->b", m, s, m) / m.sum((1, 2)).clamp(min=1))
        return torch.stack([torch.stack(v).mean(0) for v in (cross, own, over_time)])

    def generate(self, z, text, negative, settings: Settings, masks=None, subjects=None):
        """Noise to latents.  masks: one {t: {layer: [B, F, N]}} a subject; without them nothing is guided."""
        ratio, history = 1000 // settings.steps, []
        for i, t in enumerate(reversed(timesteps(settings.steps))):
            for _ in range(settings.updates_per_step if masks and i < settings.guided_steps else 0):
                with torch.enable_grad():
                    x = z.detach().requires_grad_(True)
                    _, maps = self.watched(x, t, text)
                    parts = torch.stack([self.losses(maps, m[t], at, z.shape[2]) for m, at in zip(masks, subjects)]).mean(0)
                    weights = torch.tensor([settings.cross, settings.self_, settings.temporal], device=z.device)
                    loss = (parts * weights[:, None]).sum(0)
                    (gradient,) = torch.autograd.grad(loss.sum(), x)
                norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
                if settings.step_size:
                    scale = torch.full_like(norm, settings.step_size)
                else:
                    scale = settings.step_norm * z.flatten(1).norm(dim=1) / norm
                z = z - scale.view(-1, 1, 1, 1, 1) * gradient
                history.append({"step": i, "t": t, "parts": parts.mean(1).tolist(), "norm": float(norm.mean())})
            with torch.no_grad():
                plain, wanted = self.noise(torch.cat([z, z]), t, torch.cat([negative, text])).chunk(2)
                noise = plain + settings.guidance_scale * (wanted - plain)
                z = move(z, noise, level(self.acp, t), level(self.acp, t - ratio))
        return z, history
