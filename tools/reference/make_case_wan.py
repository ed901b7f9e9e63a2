"""Write a parity case of Wan 2.1 text-to-video: a small random checkpoint as published, inputs, and what diffusers and
`motionflow_arch.py` compute from them in float32 on the CPU.

    python make_case_wan.py OUT --seed 0
    python make_case_wan.py OUT --seed 7 --frames 13 --latent 6x10 --depth 6 --guidance-blocks 1-3 --self-attention 1 ...

OUT/model/            model_index.json transformer/ vae/ text_encoder/ (UMT5) tokenizer/ (tokenizer.json, spiece.model)
                      scheduler/, as Wan-AI/Wan2.1-T2V-1.3B-Diffusers; --layout sharded: weights in several files with an index
OUT/case.json             as make_case_animatediff.py's, and
                            flow_shift, guidance_blocks       the schedule's shift; the first and the last block that guides
                            steps                             key, timestep, lower and upper noise level of each step, noise
                                                              ascending: key 0 is the cleanest
OUT/inputs.safetensors    frames [F,3,H,W] in [-1,1]; z0, sample, latent [1,C,f,h,w], f = 1 + (F-1)/4 latent frames
OUT/expected.safetensors  as make_case_animatediff.py's with steps' keys for timesteps, and these differences: *_ids are not
                          padded and end in </s>, *_text [1,512,C] ends in rows of zeros; the nets' outputs are vae_mean
                          [1,C,f,h,w], vae_decoded [F,3,H,W] and transformer_1, _501 and _750.25

Every case is read again by diffusers' WanPipeline with FlowMatchEulerDiscreteScheduler, whose prompts, latents and
frames without guided updates must be the same.  Needs sentencepiece, protobuf and ftfy besides what make_case.py needs.
"""

import json
import shutil

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, T5TokenizerFast, UMT5Config, UMT5EncoderModel

import case_tools as case
import motionflow_arch as arch
import motionflow_ref as mf

TEXT_LENGTH = 512  # WanPipeline's max_sequence_length

p = case.parser(__doc__, frames=9, weights="1,0,0", sharpness=6.0)
p.add_argument("--layout", choices=["whole", "sharded"], default="whole")
p.add_argument("--scheduler", choices=["unipc", "euler"], default="unipc", help="whose config the checkpoint has; sampling is Euler's")
p.add_argument("--shift", type=float, default=3.0, help="flow_shift")
p.add_argument("--guidance-blocks", default="1-2", help="transformer blocks that are guidance layers: FIRST-LAST")
p.add_argument("--self-attention", type=int, default=0, help="1: the same blocks' self-attention too, of same-frame and same-place pairs; give --weights then")
p.add_argument("--depth", type=int, default=4, help="transformer blocks")
p.add_argument("--heads", type=int, default=2)
p.add_argument("--head-dim", type=int, default=16)
p.add_argument("--ffn", type=int, default=64)
p.add_argument("--freq-dim", type=int, default=32)
p.add_argument("--channels", type=int, default=4, help="of the latents")
p.add_argument("--text-dim", type=int, default=24)
p.add_argument("--text-heads", type=int, default=2)
p.add_argument("--text-head-dim", type=int, default=8)
p.add_argument("--vae-dim", type=int, default=8)
p.add_argument("--vae-mult", default="1,2,4,4")
p.add_argument("--vae-layers", type=int, default=1)
p.add_argument("--pieces", type=int, default=1000, help="of the tokenizer, which is trained here")
p.add_argument("--byte-fallback", type=int, default=1)
p.add_argument("--normalization", choices=["nmt_nfkc", "identity"], default="nmt_nfkc")
a = p.parse_args()

torch.manual_seed(a.seed)
h, w = case.size(a.latent)
mult = case.ints(a.vae_mult)
scale = 2 ** (len(mult) - 1)
first, last = (int(x) for x in a.guidance_blocks.split("-"))
assert a.frames % 4 == 1, "Wan's videos have 4k+1 frames"
assert h % 2 == 0 and w % 2 == 0, "Wan's latents are cut into patches of 2x2"
latent_frames = 1 + (a.frames - 1) // 4
model = a.out / "model"
shutil.rmtree(model, ignore_errors=True)
ids = case.write_umt5_tokenizer(model / "tokenizer", case.clip_merges(a.bpe), a.pieces, 300, bool(a.byte_fallback), a.normalization)

# ---- nets
transformer = WanTransformer3DModel(
    patch_size=(1, 2, 2), num_attention_heads=a.heads, attention_head_dim=a.head_dim, in_channels=a.channels, out_channels=a.channels,
    text_dim=a.text_dim, freq_dim=a.freq_dim, ffn_dim=a.ffn, num_layers=a.depth, cross_attn_norm=True, qk_norm="rms_norm_across_heads")
vae = AutoencoderKLWan(
    base_dim=a.vae_dim, z_dim=a.channels, dim_mult=list(mult), num_res_blocks=a.vae_layers, temperal_downsample=[False] * (len(mult) - 3) + [True, True],
    latents_mean=(torch.randn(a.channels) * 0.5).tolist(), latents_std=(torch.rand(a.channels) + 0.5).tolist(), scale_factor_spatial=scale)
text_encoder = UMT5EncoderModel(UMT5Config(vocab_size=-(-ids // 64) * 64, d_model=a.text_dim, d_kv=a.text_head_dim, d_ff=2 * a.text_dim,
                                           num_layers=a.text_layers, num_heads=a.text_heads))
case.randomise(transformer, vae, text_encoder)
with torch.no_grad():
    for name, module in transformer.named_modules():
        if name.endswith("norm_q"):
            module.weight.mul_(a.sharpness)
unipc = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=a.shift)
euler = FlowMatchEulerDiscreteScheduler(shift=a.shift)

# ---- checkpoint
shards = {"transformer": "100KB", "text_encoder": "100KB"} if a.layout == "sharded" else {}
for module, name in ((transformer, "transformer"), (vae, "vae"), (text_encoder, "text_encoder")):
    case.save_net(module, model / name, shard=shards.get(name, "10GB"))
    # as published: what early versions of diffusers and transformers did not write is not there
    config = json.loads((model / name / "config.json").read_text())
    late = {"vae": ["is_residual", "in_channels", "out_channels", "patch_size", "decoder_base_dim", "clip_output"], "text_encoder": [], "transformer": ["pos_embed_seq_len"]}
    config = {key: value for key, value in config.items() if key not in late[name]}
    case.write(model / name / "config.json", config | ({"tie_word_embeddings": False} if name == "text_encoder" else {}))
(unipc if a.scheduler == "unipc" else euler).save_pretrained(model / "scheduler")
case.write(model / "model_index.json", {
    "_class_name": "WanPipeline", "_diffusers_version": "0.33.0.dev0",
    "scheduler": ["diffusers", "UniPCMultistepScheduler" if a.scheduler == "unipc" else "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"], "vae": ["diffusers", "AutoencoderKLWan"]})

# ---- prompts
tokenizer = Tokenizer.from_file(str(model / "tokenizer" / "tokenizer.json"))
tokenizer.enable_truncation(TEXT_LENGTH)


def encode(prompt):
    """-> ids [1, n] with the end token, features [1, 512, C] with zeros behind them, positions of the subjects' tokens"""
    text, subjects = case.parse_prompt(prompt)
    assert prompt_clean(text) == text, "WanPipeline would clean this prompt: not what a case is about"
    tokens = tokenizer.encode(text)
    ids = torch.tensor([tokens.ids])
    features = text_encoder(ids).last_hidden_state
    features = torch.cat([features, features.new_zeros(1, TEXT_LENGTH - ids.shape[1], a.text_dim)], 1)
    return ids, features, case.positions(tokens.offsets[:-1], subjects)


expected, inputs = {}, {}
expected["source_ids"], expected["source_text"], source_subjects = encode(a.source_prompt)
expected["target_ids"], expected["target_text"], target_subjects = encode(a.prompt)
expected["negative_ids"], expected["negative_text"], _ = encode(a.negative_prompt.replace("[", r"\[").replace("]", r"\]"))

# ---- inputs
mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))
video = lambda frames: frames.permute(1, 0, 2, 3)[None]  # [F, 3, H, W] -> [1, 3, F, H, W]
inputs["frames"] = torch.rand(a.frames, 3, h * scale, w * scale) * 2 - 1
inputs["sample"] = torch.randn(1, a.channels, latent_frames, h, w)
inputs["latent"] = torch.randn(1, a.channels, latent_frames, h, w)
inputs["z0"] = (vae.encode(video(inputs["frames"])).latent_dist.mean - mean) * (1 / std)
net, s = arch.Wan(transformer, a.shift, range(first, last + 1), bool(a.self_attention)), case.settings(a)


def decode(z):
    """Normalised latents [1, C, f, h, w] -> [F, 3, H, W]"""
    return vae.decode(z / (1 / std.to(z.dtype)) + mean.to(z.dtype)).sample[0].permute(1, 0, 2, 3)


@torch.no_grad()
def compute(dtype):
    """What the nets and the method make of the inputs, in `dtype`."""
    transformer.to(dtype), vae.to(dtype)
    given = {name: value.to(dtype) for name, value in inputs.items()}
    texts = [expected[f"{name}_text"].to(dtype) for name in ("source", "target", "negative")]
    found = {"vae_mean": vae.encode(video(given["frames"])).latent_dist.mean, "vae_decoded": vae.decode(given["latent"]).sample[0].permute(1, 0, 2, 3)}
    for t in (1.0, 501.0, 750.25):
        found[f"transformer_{t:g}"] = net.call(given["sample"], torch.tensor(t), texts[1])
    found |= case.method_tensors(net, given["z0"], texts, (source_subjects, target_subjects), s)
    return found | {"video": decode(found["generated"])}


found, rounding = case.in_both_precisions(compute, s.tau)
expected |= found
transformer.to(torch.float32), vae.to(torch.float32)

# ---- diffusers' pipeline, from the files
from_file = PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer" / "tokenizer.json"), pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
pipeline = WanPipeline.from_pretrained(model, scheduler=euler, tokenizer=from_file)
pipeline.set_progress_bar_config(disable=True)
with torch.no_grad():
    prompt = case.parse_prompt(a.prompt)[0]
    ours = expected["generated_without_updates"]
    # where latents are given the size is checked and then not used
    call = lambda output_type: pipeline(prompt, negative_prompt=a.negative_prompt, num_frames=a.frames, height=64, width=64, num_inference_steps=s.steps,
                                        guidance_scale=s.guidance_scale, latents=expected["inverted"], output_type=output_type).frames
    theirs = call("latent")
    features = pipeline.encode_prompt(prompt, a.negative_prompt, max_sequence_length=TEXT_LENGTH)
    sigmas = arch.flow_sigmas(s.steps, a.shift)
    same_levels = torch.equal(sigmas, pipeline.scheduler.sigmas) and torch.equal(sigmas[:-1] * 1000, pipeline.scheduler.timesteps)
    read = arch.Wan(pipeline.transformer, a.shift, [])
    fused, _ = arch.generate(read, expected["inverted"], {}, features[0], features[1], target_subjects, mf.Settings(**{**s.__dict__, "update": False}))
    checks = {"weights": case.different_weights(transformer, pipeline.transformer) + case.different_weights(vae, pipeline.vae),
              "text": max(case.relative(features[0], expected["target_text"]), case.relative(features[1], expected["negative_text"])),
              "noise_levels": 0.0 if same_levels else 1.0, "latents": case.relative(ours, theirs), "latents_with_diffusers_attention": case.relative(fused, theirs),
              "frames": case.relative(decode(theirs), call("pt")[0] * 2 - 1)}
case.check_pipeline("WanPipeline", checks)


# ---- what is known besides
def tokenizers_agree():
    """Whether tokenizer.json does what SentencePiece does from spiece.model, and what transformers makes of the folder."""
    import sentencepiece

    spiece = sentencepiece.SentencePieceProcessor(model_file=str(model / "tokenizer" / "spiece.model"))
    transformers = T5TokenizerFast.from_pretrained(model / "tokenizer")
    texts = [case.parse_prompt(x)[0] for x in (a.source_prompt, a.prompt)] + [a.negative_prompt]
    ids = [tokenizer.encode(x).ids for x in texts]
    return {"sentencepiece": all(i[:-1] == spiece.encode(x)[: TEXT_LENGTH - 1] for i, x in zip(ids, texts)),
            "transformers": all(i == transformers(x, truncation=True, max_length=TEXT_LENGTH).input_ids for i, x in zip(ids, texts))}


def reconstruction():
    """How far sampling without guidance comes back to z0 from the inverted latents."""
    z = expected["inverted"]
    with torch.no_grad():
        for step in reversed(net.steps(s.steps)):
            z = net.move(z, net.call(z, step.timestep, expected["source_text"]), step.upper, step.lower)
    return case.relative(z, inputs["z0"])


steps = [{"key": step.key, "timestep": float(step.timestep), "lower": float(step.lower), "upper": float(step.upper)} for step in net.steps(s.steps)]
case.write_case(a, "wan", net, (source_subjects, target_subjects), s, inputs, expected, steps=steps, flow_shift=a.shift,
                guidance_blocks=[first, last], text_length=TEXT_LENGTH)
case.report(expected, rounding, checks, tokenizers=tokenizers_agree(), reconstruction=reconstruction())
