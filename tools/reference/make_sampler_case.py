"""Write the cases of the samplers: what diffusers' schedulers make of a fixed function that stands for a net, step by step.

    python make_sampler_case.py OUT

OUT/cases.json            a list; each case has its scheduler_config.json ("config"), the sampler, the number of steps, and the timesteps
OUT/latents.safetensors   start [8], and for each case, by its number, the latents after each step [steps, 8], float32

The net is net(z, t) = 0.8 sin(z + t/250) + 0.1 z. A case that diffusers gives no finite numbers for has "refused": the
key of its config that is to blame. A case of flow matching, where the net predicts ε − x₀, has "flow" in place of "config".

Needs: torch numpy safetensors diffusers==0.42.1
"""

import argparse
import itertools
import json
import warnings
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

diffusers.utils.logging.set_verbosity_error()
warnings.simplefilter("ignore")

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("out", type=Path)
a = p.parse_args()

CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "ddim-inverse": diffusers.DDIMInverseScheduler,
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "euler": diffusers.FlowMatchEulerDiscreteScheduler,
}
OF_DIFFUSION = ("ddim", "ddim-inverse", "dpmpp-2m", "unipc")
MULTISTEP = ("dpmpp-2m", "unipc")
BASE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False,
            set_alpha_to_one=False)


def net(z, t):
    return 0.8 * torch.sin(z + float(t) / 250) + 0.1 * z


def case(sampler, steps, config, named=None, refused="rescale_betas_zero_snr"):
    cls = CLASSES[sampler]
    name = named or cls.__name__
    scheduler = cls.from_config({**config, "_class_name": name})
    scheduler.set_timesteps(steps)
    if sampler in MULTISTEP:
        # Karras sigmas may round to one timestep twice; its index would be looked for by value.
        scheduler.set_begin_index(0)
    z, latents = START.clone().reshape(1, 1, 8), []
    for t in scheduler.timesteps:
        z = scheduler.step(net(z, t), t, z).prev_sample
        latents.append(z.reshape(8).clone())
    latents = torch.stack(latents)
    out = dict(config={"_class_name": name, **config}, sampler=sampler, steps=steps, timesteps=scheduler.timesteps.tolist())
    if not latents.isfinite().all():
        out["refused"] = refused
    return out, latents


torch.manual_seed(0)
START = torch.randn(8)
made = []
for sampler, spacing, prediction, zero, karras, steps in itertools.product(
        OF_DIFFUSION, ("leading", "linspace", "trailing"), ("epsilon", "v_prediction", "sample"), (False, True), (False, True), (4, 16)):
    if (karras and sampler not in MULTISTEP) or (karras and spacing != "linspace"):
        continue
    if sampler == "ddim-inverse" and spacing == "linspace":
        continue
    config = {**BASE, "timestep_spacing": spacing, "prediction_type": prediction, "rescale_betas_zero_snr": zero}
    if karras:
        config["use_karras_sigmas"] = True
    made.append(case(sampler, steps, config))

cosine = dict(beta_schedule="squaredcos_cap_v2", clip_sample=False)
for sampler, more in [
    ("ddim", dict(clip_sample=True, prediction_type="sample")),
    ("ddim", dict(clip_sample=True, clip_sample_range=0.5, prediction_type="v_prediction")),
    ("ddim", dict(set_alpha_to_one=True, steps_offset=0)),
    ("ddim", dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02, num_train_timesteps=600)),
    ("ddim", cosine),
    ("ddim-inverse", dict(clip_sample=True)),
    ("ddim-inverse", dict(set_alpha_to_one=True, steps_offset=0, prediction_type="v_prediction")),
    ("dpmpp-2m", {}),
    ("dpmpp-2m", dict(solver_type="heun")),
    ("dpmpp-2m", dict(solver_type="bh2")),
    ("dpmpp-2m", dict(lower_order_final=False)),
    ("dpmpp-2m", dict(euler_at_final=True, final_sigmas_type="sigma_min")),
    ("dpmpp-2m", dict(final_sigmas_type="sigma_min", use_karras_sigmas=True)),
    ("dpmpp-2m", dict(**cosine, lambda_min_clipped=-5.1)),
    ("dpmpp-2m", dict(**cosine, lambda_min_clipped=-5.1, use_karras_sigmas=True)),
    ("dpmpp-2m", dict(num_train_timesteps=600, timestep_spacing="trailing")),
    ("unipc", {}),
    ("unipc", dict(solver_type="bh1", final_sigmas_type="sigma_min")),
    ("unipc", dict(solver_type="midpoint")),
    ("unipc", dict(disable_corrector=[0, 1])),
    ("unipc", dict(final_sigmas_type="sigma_min")),
    ("unipc", dict(final_sigmas_type="sigma_min", use_karras_sigmas=True)),
    ("unipc", dict(lower_order_final=False, final_sigmas_type="sigma_min")),
    ("unipc", dict(**cosine, use_karras_sigmas=True)),
]:
    made += [case(sampler, steps, {**BASE, **more}) for steps in (6, 15)]
# What diffusers makes no numbers of.
made.append(case("ddim-inverse", 7, {**BASE, "prediction_type": "sample", "set_alpha_to_one": True}, refused="set_alpha_to_one"))
made.append(case("unipc", 7, {**BASE, "solver_type": "bh1"}, refused="solver_type"))
made.append(case("unipc", 7, {**BASE, "lower_order_final": False}, refused="lower_order_final"))
made.append(case("ddim", 4, {k: v for k, v in BASE.items() if k != "clip_sample"}))
# A file of DDIM alone, whose keys another scheduler takes.
made += [case(sampler, 25, BASE, "DDIMScheduler") for sampler in OF_DIFFUSION]

FLOW = dict(prediction_type="flow_prediction", use_flow_sigmas=True)


def flow_case(sampler, steps, config, **more):
    out, latents = case(sampler, steps, config, **more)
    return {"flow": out.pop("config"), **out}, latents


for shift, steps in itertools.product((1, 3, 5, 8), (1, 2, 3, 6, 20, 50)):
    made.append(flow_case("euler", steps, dict(shift=float(shift))))
    made.append(flow_case("unipc", steps, dict(**FLOW, flow_shift=float(shift))))
for more in [
    dict(solver_type="midpoint"),
    dict(disable_corrector=[0, 1]),
    dict(final_sigmas_type="sigma_min"),
    dict(solver_type="bh1", final_sigmas_type="sigma_min"),
    dict(lower_order_final=False, final_sigmas_type="sigma_min"),
    dict(num_train_timesteps=600),
    dict(timestep_spacing="trailing", steps_offset=1),
]:
    made.append(flow_case("unipc", 6, dict(**FLOW, flow_shift=3.0, **more)))
made.append(flow_case("unipc", 7, dict(**FLOW, solver_type="bh1"), refused="solver_type"))
made.append(flow_case("unipc", 7, dict(**FLOW, lower_order_final=False), refused="lower_order_final"))

cases, latents = zip(*made)
a.out.mkdir(parents=True, exist_ok=True)
lines = ",\n".join(json.dumps(case) for case in cases)
(a.out / "cases.json").write_text(f"[\n{lines}\n]\n")
save_file({"start": START, **{str(i): z for i, z in enumerate(latents)}}, a.out / "latents.safetensors")
refused = sum("refused" in case for case in cases)
print(f"{len(cases)} cases, {refused} of them refused")
