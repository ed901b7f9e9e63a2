"""Time the reference (plain diffusers + autograd) of AnimateDiff or Wan 2.1, phase by phase, at a published size with
random weights.

    python bench_reference_arch.py animatediff | animatediff-v3 | wan-1.3b | wan-14b  [--video 832x480x33] [--dtype bf16] [--json FILE]
    python bench_reference_arch.py animatediff-tiny | wan-tiny --device cpu --dtype f32    # to see that it runs

Prints, for each phase, the median milliseconds and the peak memory, and the projected time of a whole transfer
(50 inversion steps, 50 sampling steps with classifier-free guidance, 20 guided updates, VAE both ways):

    invert   one pass of the net under the source prompt, with the cross maps of the guidance layers and their masks
    sample   one step with classifier-free guidance: one pass of two videos (AnimateDiff), two of one (Wan), as diffusers
    update   the net as far as the last guidance layer, with its maps, the losses, and the gradient with respect to the latents
    encode, decode   the VAE; AnimateDiff's in parts of 4 frames, Wan's in float32 unless --vae-dtype says otherwise

Attention is diffusers' (fused) except in the guidance layers, whose probabilities are made in the plain way.  Needs
torch, diffusers and transformers, and motionflow_ref.py, motionflow_arch.py, real_sizes.py beside it.
"""

import argparse
import json
import statistics
import time

import torch

import motionflow_arch as arch
import motionflow_ref as mf
import real_sizes

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("size", choices=list(real_sizes.SIZES))
p.add_argument("--video", help="WxHxF instead of the published size")
p.add_argument("--dtype", choices=["f16", "bf16", "f32"], help="f16 for AnimateDiff, bf16 for Wan unless given")
p.add_argument("--vae-dtype", choices=["f16", "bf16", "f32"])
p.add_argument("--guidance-blocks", help="Wan: FIRST-LAST")
p.add_argument("--self-attention", action="store_true", help="Wan: the losses of same-frame and same-place attention too (plain maps: small videos only)")
p.add_argument("--device", default="cuda")
p.add_argument("--repeat", type=int, default=5)
p.add_argument("--phases", default="invert,sample,update,encode,decode")
p.add_argument("--json")
a = p.parse_args()

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
is_wan, on_cuda = a.size.startswith("wan"), a.device.startswith("cuda")
dtype = DTYPES[a.dtype or ("bf16" if is_wan else "f16")]
vae_dtype = DTYPES[a.vae_dtype] if a.vae_dtype else torch.float32 if is_wan else dtype
torch.backends.cudnn.benchmark = True
torch.manual_seed(0)
torch.set_default_device(a.device)
torch.set_default_dtype(dtype)
guidance = tuple(int(x) for x in a.guidance_blocks.split("-")) if a.guidance_blocks else None
case = real_sizes.build(a.size, a.video, guidance, a.self_attention)
net, vae = case.net, case.vae.to(vae_dtype)
frames, height, width = case.pixels
z = torch.randn(case.shape, dtype=torch.float32 if is_wan else dtype)
text, negative = torch.randn(case.text), torch.randn(case.text)
video = torch.rand(frames, 3, height, width, dtype=vae_dtype) * 2 - 1
step, subjects = net.steps(50)[-1], [[2]]
weights = {"cross": 1.0, "self": 1.0, "temporal": 1.0}


@torch.no_grad()
def invert():
    _, maps = net.run(z, step.timestep, text, net.layers["cross"])
    return arch.masks_of(arch.subject_maps(net, maps, subjects), 0.4)


@torch.no_grad()
def sample():
    return net.both(z, step.timestep, negative, text)


def update():
    x = z.clone().requires_grad_(True)
    _, maps = net.run(x, step.timestep, text, sum(net.layers.values(), []), stop=True)
    loss, _ = arch.guidance_loss(net, maps, masks, subjects, weights)
    return torch.autograd.grad(loss * (1024 if dtype == torch.float16 else 1), x)[0]


@torch.no_grad()
def encode():
    if is_wan:
        return vae.encode(video.permute(1, 0, 2, 3)[None]).latent_dist.mean
    return torch.cat([vae.encode(part).latent_dist.mean for part in video.split(4)])


@torch.no_grad()
def decode():
    if is_wan:
        return vae.decode(z.to(vae_dtype)).sample
    return torch.cat([vae.decode(part).sample for part in z[0].permute(1, 0, 2, 3).to(vae_dtype).split(4)])


def milliseconds(call):
    if not on_cuda:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1000
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


result = {}
print(f"{a.size}, {width}x{height}, {frames} frames, latents {list(case.shape)}, nets {dtype}, VAE {vae_dtype}, guidance layers {len(net.layers['cross'])} cross"
      f" {len(net.layers['self'])} self {len(net.layers['temporal'])} temporal, weights {sum(q.numel() * q.element_size() for q in net.module.parameters()) / 2**30:.2f} GiB")
masks = invert()
for name, call, times in (("invert", invert, 50), ("sample", sample, 50), ("update", update, 20), ("encode", encode, 1), ("decode", decode, 1)):
    if name not in a.phases.split(","):
        continue
    try:
        for _ in range(2):
            call()
        if on_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        ms = statistics.median(milliseconds(call) for _ in range(a.repeat))
    except torch.OutOfMemoryError:
        print(f"{name:8s} does not fit in memory", flush=True)
        torch.cuda.empty_cache()
        continue
    result[name] = {"ms": ms, "times": times, "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if on_cuda else None}
    peak = f"peak {result[name]['peak_gib']:6.2f} GiB" if on_cuda else ""
    print(f"{name:8s} {ms:9.1f} ms   {peak}   x{times}", flush=True)
if len(result) == 5:
    result["total_s"] = sum(r["ms"] * r["times"] for r in result.values()) / 1000
    print(f"whole transfer, projected: {result['total_s']:.1f} s")
if a.json:
    with open(a.json, "w") as file:
        json.dump({"size": a.size, "video": [width, height, frames], "dtype": str(dtype), "vae_dtype": str(vae_dtype), **result}, file, indent=2)
