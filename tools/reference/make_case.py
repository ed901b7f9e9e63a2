"""Write a parity case: a small random checkpoint in the diffusers text-to-video layout, inputs, and what diffusers
and `motionflow_ref.py` compute from them in float32 on the CPU.

    python make_case.py OUT --seed 0                     # the default shape
    python make_case.py OUT --seed 7 --blocks 32,64,96 --frames 5 --latent 6x10 --layers 2 ...

OUT/model/            the checkpoint: model_index.json unet/ vae/ text_encoder/ tokenizer/ scheduler/
OUT/case.json         prompts, subject words, settings
OUT/inputs.safetensors    frames [F,3,H,W] in [-1,1]; z0, zT, sample [1,C,F,h,w]; latent [F,C,h,w]
OUT/expected.safetensors  see `expected[...]` below

Needs: torch diffusers transformers safetensors numpy, and open_clip_torch's wheel for CLIP's BPE vocabulary (pass
its bpe_simple_vocab_16e6.txt.gz with --bpe, or have open_clip installed).
"""

import argparse
import gzip
import importlib.util
import json
from pathlib import Path
from unittest.mock import patch

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import motionflow_ref as mf

NOISED_TIMESTEP = 201  # the noise is inputs["sample"]
MOST_ROUNDING = 5e-5  # half of what the Rust program may be off

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("out", type=Path)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--blocks", default="32,64")
p.add_argument("--plain-last", type=int, default=1, help="1: the deepest level has no attention, as in ZeroScope")
p.add_argument("--layers", type=int, default=1)
p.add_argument("--head-dim", type=int, default=16)
p.add_argument("--groups", type=int, default=8)
p.add_argument("--context", type=int, default=48)
p.add_argument("--frames", type=int, default=4)
p.add_argument("--latent", default="8x12", help="HxW of the latents")
p.add_argument("--vae-blocks", default="16,32")
p.add_argument("--vae-groups", type=int, default=8)
p.add_argument("--text-layers", type=int, default=2)
p.add_argument("--text-act", default="gelu")
p.add_argument("--pad-token", default="<|endoftext|>")
p.add_argument("--steps", type=int, default=6)
p.add_argument("--guided-steps", type=int, default=3)
p.add_argument("--guidance-scale", type=float, default=5.0)
p.add_argument("--tau", type=float, default=0.4)
p.add_argument("--lr", type=float, default=5.0)
p.add_argument("--weights", default="1,0.5,0.25", help="cross,self,temporal")
p.add_argument("--source-prompt", default="a [car] driving on a road")
p.add_argument("--prompt", default="a [camel] riding on a desert road, golden hour")
p.add_argument("--negative-prompt", default="blurry")
p.add_argument("--sharpness", type=float, default=4.0, help="scale of the query projections")
p.add_argument("--layout", choices=["safetensors", "bin", "legacy"], default="safetensors",
               help="bin: pickled .bin files; legacy: .bin with text_model. prefix, position_ids and query/key/value VAE names")
p.add_argument("--vocabulary", type=int, default=49152 - 256 - 2, metavar="N",
               help="keep only CLIP's first N merges: a small tokenizer and embedding, for cases that are committed")
p.add_argument("--bpe", type=Path)
a = p.parse_args()

torch.manual_seed(a.seed)
ints = lambda s: tuple(int(x) for x in s.split(","))
blocks, vae_blocks = ints(a.blocks), ints(a.vae_blocks)
h, w = (int(x) for x in a.latent.split("x"))
n = len(blocks)
vocab_size = 2 * 256 + a.vocabulary + 2  # bytes, bytes that end a word, merges, start and end of text
plain = bool(a.plain_last)
down = ["CrossAttnDownBlock3D"] * (n - plain) + ["DownBlock3D"] * plain
up = ["UpBlock3D"] * plain + ["CrossAttnUpBlock3D"] * (n - plain)

unet = UNet3DConditionModel(sample_size=w, block_out_channels=blocks, down_block_types=down, up_block_types=up,
                            layers_per_block=a.layers, cross_attention_dim=a.context, attention_head_dim=a.head_dim,
                            norm_num_groups=a.groups)
vae = AutoencoderKL(block_out_channels=vae_blocks, down_block_types=["DownEncoderBlock2D"] * len(vae_blocks),
                    up_block_types=["UpDecoderBlock2D"] * len(vae_blocks), layers_per_block=1, latent_channels=4,
                    norm_num_groups=a.vae_groups, sample_size=64, scaling_factor=0.18215)
text = CLIPTextModel(CLIPTextConfig(vocab_size=vocab_size, hidden_size=a.context, intermediate_size=4 * a.context,
                                    num_hidden_layers=a.text_layers, num_attention_heads=4, hidden_act=a.text_act,
                                    max_position_embeddings=77, bos_token_id=vocab_size - 2, eos_token_id=vocab_size - 1))
scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                          set_alpha_to_one=False, steps_offset=1)
with torch.no_grad():  # diffusers zero-initialises some projections; a parity case must exercise every weight
    for m in (unet, vae, text):
        for q in m.parameters():
            q.add_(torch.randn_like(q) * 0.02)
    for name, m in unet.named_modules():  # peaked attention, so that masks and losses say something
        if name.endswith("to_q"):
            m.weight.mul_(a.sharpness)
for m in (unet, vae, text):
    m.eval().requires_grad_(False)

# ---- checkpoint
model = a.out / "model"
model.mkdir(parents=True, exist_ok=True)


def save(module, name, file):
    d = model / name
    module.save_pretrained(d)
    for f in d.glob("*.safetensors"):
        f.unlink()
    state = {k: v.contiguous() for k, v in module.state_dict().items()}
    if name == "text_encoder":  # files published before transformers 5 carry this prefix
        state = {k if k.startswith("text_model.") else "text_model." + k: v for k, v in state.items()}
    if a.layout == "safetensors":
        save_file(state, d / f"{file}.safetensors")
        return
    if a.layout == "legacy":
        if name == "text_encoder":
            state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        if name == "vae":
            for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
                state = {k.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): v for k, v in state.items()}
    torch.save(state, d / ("pytorch_model.bin" if name == "text_encoder" else f"{file}.bin"))


save(unet, "unet", "diffusion_pytorch_model")
save(vae, "vae", "diffusion_pytorch_model")
save(text, "text_encoder", "model")
scheduler.save_pretrained(model / "scheduler")
if a.bpe is None:
    a.bpe = Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
merges = gzip.open(a.bpe).read().decode().split("\n")[1 : a.vocabulary + 1]
bytes_ = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
chars = [chr(b) for b in bytes_] + [chr(256 + i) for i in range(256 - len(bytes_))]
vocab = chars + [c + "</w>" for c in chars] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
assert len(vocab) == vocab_size, f"{a.bpe} holds {len(merges)} merges, --vocabulary asks for {a.vocabulary}"
tok = model / "tokenizer"
tok.mkdir(exist_ok=True)
(tok / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocab)}, ensure_ascii=False))
(tok / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": a.pad_token}
(tok / "special_tokens_map.json").write_text(json.dumps(special))
(tok / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}))
(model / "model_index.json").write_text(json.dumps({
    "_class_name": "TextToVideoSDPipeline", "_diffusers_version": "0.18.0", "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}, indent=2))

# ---- prompts
tokenizer = CLIPTokenizer.from_pretrained(tok)


def encode(prompt):
    ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return ids, text(ids)[0]


def split(prompt):
    """'a [red car] on a road' -> ('a red car on a road', [positions of the subject's tokens])."""
    before, rest = prompt.split("[")
    subject, after = rest.split("]")
    start = len(tokenizer(before.strip()).input_ids) - 1
    count = len(tokenizer(subject).input_ids) - 2
    return before + subject + after, list(range(start, start + count))


source, source_tokens = split(a.source_prompt)
target, target_tokens = split(a.prompt)
expected, inputs = {}, {}
ids, source_text = encode(source)
expected["source_ids"], expected["source_text"] = ids, source_text
ids, target_text = encode(target)
expected["target_ids"], expected["target_text"] = ids, target_text
ids, negative_text = encode(a.negative_prompt)
expected["negative_ids"], expected["negative_text"] = ids, negative_text

# ---- nets
scale = 2 ** (len(vae_blocks) - 1)
frames = torch.rand(a.frames, 3, h * scale, w * scale) * 2 - 1
inputs["frames"] = frames
inputs["sample"] = torch.randn(1, 4, a.frames, h, w)
inputs["latent"] = torch.randn(a.frames, 4, h, w)
with torch.no_grad():
    expected["vae_mean"] = vae.encode(frames).latent_dist.mean
    expected["vae_decoded"] = vae.decode(inputs["latent"]).sample
    for t in (1, 501, 981):
        expected[f"unet_{t}"] = unet(inputs["sample"], t, target_text, return_dict=False)[0]

# ---- the method
layers = mf.guidance_layers(unet)
store = mf.install(unet, layers)
wc, ws, wt = (float(x) for x in a.weights.split(","))
s = mf.Settings(steps=a.steps, guided_steps=a.guided_steps, guidance_scale=a.guidance_scale, tau=a.tau, lr=a.lr,
                weights={"cross": wc, "self": ws, "temporal": wt})
inputs["z0"] = (expected["vae_mean"] * vae.config.scaling_factor).permute(1, 0, 2, 3)[None].contiguous()


def method(dtype):
    """What the method makes of the inputs, with nets and latents in `dtype`."""
    found = {}
    unet.to(dtype)
    vae.to(dtype)
    acp = scheduler.alphas_cumprod.to(dtype)
    source_text, target_text, negative_text = (expected[f"{n}_text"].to(dtype) for n in ("source", "target", "negative"))
    zT, masks = mf.invert(unet, store, layers, acp, inputs["z0"].to(dtype), source_text, source_tokens, s)
    found["inverted"] = zT
    for t, by_layer in masks.items():
        for name, m in by_layer.items():
            found[f"mask/{t}/{name}"] = m.to(torch.uint8)
    noised = mf.noised_maps(unet, store, layers, acp, inputs["z0"].to(dtype), inputs["sample"].to(dtype), NOISED_TIMESTEP, source_text, source_tokens)
    for name, m in noised.items():
        found[f"noised_map/{NOISED_TIMESTEP}/{name}"] = m
    t = mf.timesteps(a.steps)[-1]
    x = zT.clone().requires_grad_(True)
    store.enabled, store.maps = True, {}
    unet(x, t, target_text, return_dict=False)
    store.enabled = False
    loss, parts = mf.total_loss(store.maps, masks[t], layers, target_tokens, s.weights)
    (found["gradient"],) = torch.autograd.grad(loss, x)
    found["loss"] = torch.tensor([float(loss.detach()), parts["cross"], parts["self"], parts["temporal"]])
    sample = lambda settings: mf.generate(unet, store, layers, acp, zT, masks, target_text, negative_text, target_tokens, settings, log=lambda _: None)
    found["generated"], history = sample(s)
    found["loss_history"] = torch.tensor([r["loss"] for r in history])
    found["generated_without_updates"], _ = sample(mf.Settings(**{**s.__dict__, "update": False}))
    with torch.no_grad():
        found["video"] = vae.decode(found["generated"][0].permute(1, 0, 2, 3) / vae.config.scaling_factor).sample
    return found


found = method(torch.float32)
expected.update(found)

# ---- how far float32 is from float64 here: a case that makes rounding large says nothing about a program
with patch.object(torch.Tensor, "float", torch.Tensor.double):
    exact = method(torch.float64)
rounding = {k: float((found[k].double() - exact[k].double()).norm() / exact[k].double().norm().clamp(min=1e-30)) for k in found}
worst = max(rounding, key=lambda k: float("inf") if rounding[k] != rounding[k] else rounding[k])
if not rounding[worst] <= MOST_ROUNDING:
    raise SystemExit(f"float32 itself is off by {rounding[worst]:.1e} in '{worst}' of this case, more than {MOST_ROUNDING}: take another --seed")

save_file({k: v.detach().contiguous() for k, v in inputs.items()}, a.out / "inputs.safetensors")
save_file({k: v.detach().contiguous() for k, v in expected.items()}, a.out / "expected.safetensors")
(a.out / "case.json").write_text(json.dumps({
    "source_prompt": a.source_prompt, "prompt": a.prompt, "negative_prompt": a.negative_prompt,
    "source_tokens": source_tokens, "target_tokens": target_tokens, "guidance_layers": layers,
    "settings": {"steps": a.steps, "guided_steps": a.guided_steps, "guidance_scale": a.guidance_scale, "tau": a.tau,
                 "lr": a.lr, "weights": s.weights}}, indent=2))
masks = torch.cat([m.flatten().float() for k, m in found.items() if k.startswith("mask/")])
print(json.dumps({"loss": expected["loss"].tolist(), "history": expected["loss_history"].tolist(),
                  "grad_norm": float(found["gradient"].norm()), "mask_coverage": float(masks.mean()),
                  "rounding": {worst: rounding[worst]}}))
