"""The noise schedules, diffusion's and flow matching's, as one.

Latents at a level are x = signal * clean + noise_share * noise.  A level is (signal, noise_share); a step of a run has the timestep that the net
is told, the level below and the level above.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

TRAINED = 1000


@dataclass
class Step:
    t: float
    lower: tuple[float, float]
    upper: tuple[float, float]


class Schedule:
    """Of a scheduler of diffusers, or of a checkpoint's folder."""

    def __init__(self, scheduler):
        config = scheduler.config
        self.is_flow = "Flow" in scheduler.__class__.__name__
        if self.is_flow:
            self.shift = config.shift
        else:
            self.kind, self.spacing, self.offset = config.prediction_type, config.timestep_spacing, config.steps_offset
            self.alphas = scheduler.alphas_cumprod.double()
            self.last = 1.0 if config.set_alpha_to_one else float(self.alphas[0])

    @classmethod
    def read(cls, folder):
        from diffusers import FlowMatchEulerDiscreteScheduler

        folder = Path(folder) / "scheduler"
        name = json.loads((folder / "scheduler_config.json").read_text())["_class_name"]
        return cls((FlowMatchEulerDiscreteScheduler if name.startswith("Flow") else DDIMScheduler).from_pretrained(folder))

    def levels(self, t):
        """(signal, noise share) of timesteps [B], each [B, 1, 1, 1, 1]."""
        if self.is_flow:
            noise = t.double() / TRAINED
            signal = 1 - noise
        else:
            alpha = self.alphas.to(t.device)[t.long()]
            signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
        return tuple(v.float().view(-1, 1, 1, 1, 1) for v in (signal, noise))

    def noised(self, clean, noise, t):
        signal, share = self.levels(t)
        return signal * clean + share * noise

    def target(self, clean, noise, t):
        """What the net is to predict."""
        if self.is_flow:
            return noise - clean
        signal, share = self.levels(t)
        return {"epsilon": lambda: noise, "v_prediction": lambda: signal * noise - share * clean}[self.kind]()

    def weight(self, t):
        """How much a timestep counts in training, [B]: min-SNR of 5 (https://arxiv.org/abs/2303.09556) on the side of little noise."""
        if self.is_flow:
            return torch.ones_like(t, dtype=torch.float32)
        alpha = self.alphas.to(t.device)[t.long()]
        return (5 * (1 - alpha) / alpha.clamp(min=1e-9)).clamp(max=1).float()

    def draw(self, n, device, step):
        """n timesteps for training, evenly spread; flow matching's are shifted towards noise in every other step."""
        u = (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n
        if not self.is_flow:
            return (u * TRAINED).long().clamp(max=TRAINED - 1)
        if step % 2:
            u = self.shift * u / (1 + (self.shift - 1) * u)
        return (u * TRAINED).clamp(1, TRAINED)

    def split(self, x, prediction, level):
        """(clean, noise) as the net sees them in latents of a level."""
        signal, share = level
        if self.is_flow:
            return x - share * prediction, x + signal * prediction
        if self.kind == "epsilon":
            return (x - share * prediction) / signal, prediction
        return signal * x - share * prediction, share * x + signal * prediction

    def move(self, x, prediction, here, there):
        clean, noise = self.split(x, prediction, here)
        return there[0] * clean + there[1] * noise

    def ascending(self, steps):
        """The steps of an inversion, which those of sampling are in reverse."""
        if self.is_flow:
            shifted = lambda sigma: self.shift * sigma / (1 + (self.shift - 1) * sigma)
            low = np.float32(shifted(np.float32(1 / TRAINED)))
            sigmas = [float(np.float32(shifted(s))) for s in np.linspace(1000, 1000 * float(low), steps) / 1000]
            sigmas = [0.0, *reversed(sigmas)]
            return [Step(float(np.float32(b) * np.float32(TRAINED)), (1 - a, a), (1 - b, b)) for a, b in zip(sigmas, sigmas[1:])]
        ratio = TRAINED // steps
        if self.spacing == "leading":
            times = [i * ratio + self.offset for i in range(steps)]
        else:
            times = (np.round(np.arange(TRAINED, 0, -TRAINED / steps)) - 1).astype(int)[::-1].tolist()
        level = lambda t: (lambda alpha: (alpha**0.5, (1 - alpha) ** 0.5))(float(self.alphas[t]) if t >= 0 else self.last)
        return [Step(t, level(t - ratio), level(t)) for t in times]


def check():
    """That what the net is to predict gives back what was noised, and that steps and levels are diffusers'."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    import models

    torch.manual_seed(0)
    old = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    for scheduler in (models.new_diffusion(), old, models.new_flow()):
        schedule, clean, noise = Schedule(scheduler), *torch.randn(2, 4, 2, 3, 2, 2)
        for t in ([0, 250, 900, 999] if scheduler is not old else [0, 250, 500, 750]):
            t = torch.full((4,), float(t)) if schedule.is_flow else torch.full((4,), t)
            x, target = schedule.noised(clean, noise, t), schedule.target(clean, noise, t)
            level = tuple(v[0].item() for v in schedule.levels(t))
            found = schedule.split(x, target, level)
            assert torch.allclose(found[1], noise, atol=1e-4) and torch.allclose(found[0], clean, atol=1e-3), (scheduler, t)
        steps = list(reversed(schedule.ascending(25)))
        scheduler.set_timesteps(25)
        assert np.allclose([s.t for s in steps], scheduler.timesteps.double().numpy(), atol=1e-3)
        x, theirs = torch.randn(1, 3, 2, 2, 2), None
        theirs = x.clone()
        for step, t in zip(steps, scheduler.timesteps):
            prediction = torch.randn_like(x)
            x = schedule.move(x, prediction, step.upper, step.lower)
            theirs = scheduler.step(prediction, t, theirs).prev_sample
            assert torch.allclose(x, theirs, rtol=1e-3, atol=1e-3), (scheduler, t)
        print(f"{type(scheduler).__name__}, {getattr(schedule, 'kind', 'flow')}: as it should be; signal at the last timestep {steps[0].upper[0]:.4f}")


if __name__ == "__main__":
    check()
