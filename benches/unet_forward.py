"""Time a forward of a checkpoint's UNet: ours in Rust against diffusers' in PyTorch, in one run.

    cargo xtask bench                                       # the shipped checkpoint
    cargo xtask bench --model DIR --latent 40x72 --frames 24 --batch 2

The two take turns, forward by forward, so that whatever else the machine does falls on both. Prints both medians and
their ratio, and exits 1 when ours takes more than --bar times as long, or when the two predict different noise.

Needs torch, diffusers and safetensors, and the example `unet_forward` of the crate motionflow, built (--program).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from diffusers import UNet3DConditionModel
from safetensors.torch import load_file, save_file

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--program", type=Path, required=True, help="the built example unet_forward")
p.add_argument("--model", type=Path, default="models/demo", help="folder in the diffusers layout")
p.add_argument("--latent", default="16x16", help="HxW of the latents")
p.add_argument("--frames", type=int, default=16)
p.add_argument("--batch", type=int, default=1, help="2: as in classifier-free guidance")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--repeat", type=int, default=15, help="timed forwards of each")
p.add_argument("--warm-up", type=int, default=3)
p.add_argument("--bar", type=float, default=1.15, help="the largest ratio that passes")
p.add_argument("--json", type=Path, help="write all times here")
a = p.parse_args()

torch.set_num_threads(a.threads)
torch.manual_seed(0)
h, w = (int(x) for x in a.latent.split("x"))
config = json.loads((a.model / "unet/config.json").read_text())
latents = torch.randn(a.batch, config["in_channels"], a.frames, h, w)
text = torch.randn(a.batch, 77, config["cross_attention_dim"])
timestep = 500
unet = UNet3DConditionModel.from_pretrained(a.model / "unet", torch_dtype=torch.float32).eval().requires_grad_(False)


@torch.no_grad()
def theirs():
    start = time.perf_counter()
    noise = unet(latents, timestep, text, return_dict=False)[0]
    return (time.perf_counter() - start) * 1000, noise


with tempfile.TemporaryDirectory() as folder:
    inputs, output = Path(folder) / "inputs.safetensors", Path(folder) / "output.safetensors"
    save_file({"latents": latents, "text": text, "timestep": torch.tensor([timestep])}, inputs)
    rust = subprocess.Popen([a.program, a.model, inputs, output, str(a.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if rust.stdout.readline().strip() != "ready":
        sys.exit("the Rust side did not start")

    def ours():
        rust.stdin.write("\n")
        rust.stdin.flush()
        return float(rust.stdout.readline())

    expected, found = theirs()[1], load_file(output)["noise"]
    error = float((found - expected).norm() / expected.norm())
    times = {"ours": [], "diffusers": []}
    for turn in range(a.warm_up + a.repeat):
        pair = {"ours": ours(), "diffusers": theirs()[0]}
        if turn >= a.warm_up:
            for name, ms in pair.items():
                times[name].append(ms)
    rust.stdin.close()
    rust.wait()

medians = {name: statistics.median(ms) for name, ms in times.items()}
ratio = medians["ours"] / medians["diffusers"]
print(f"{a.model}: latents {a.batch}x{latents.shape[1]}x{a.frames}x{h}x{w}, {a.threads} threads, float32, medians of {a.repeat}")
for name, ms in times.items():
    print(f"{name:10}{medians[name]:9.1f} ms   ({min(ms):.1f} to {max(ms):.1f})")
print(f"ratio     {ratio:9.3f}      (bar: {a.bar})")
print(f"relative error of the predicted noise {error:.1e}")
if a.json:
    a.json.write_text(json.dumps({"times": times, "medians": medians, "ratio": ratio, "relative_error": error}, indent=2))
sys.exit(0 if ratio <= a.bar and error < 1e-4 else 1)
