"""Write a parity case of AnimateDiff: a small random checkpoint as published, inputs, and what diffusers and
`motionflow_arch.py` compute from them in float32 on the CPU.

    python make_case_animatediff.py OUT --seed 0
    python make_case_animatediff.py OUT --seed 7 --blocks 32,64,96 --frames 5 --latent 6x10 --layers 2 --motion-mid 0 ...

OUT/model/            --checkpoint pair:   Stable Diffusion 1.5's layout: model_index.json unet/ (UNet2DConditionModel) vae/
                                           text_encoder/ tokenizer/ scheduler/ (PNDM, scaled_linear, as published)
OUT/motion_adapter/                        config.json and weights, as guoyww/animatediff-motion-adapter-v1-5-2
OUT/model/            --checkpoint merged: what AnimateDiffPipeline.save_pretrained writes: unet/ is a UNetMotionModel
                                           (motion_adapter/ is there too, and is not needed: --adapter-again 0)
OUT/case.json             as make_case.py's, and
                            source_subjects, target_subjects  token positions, one list a subject; source_tokens and
                                                              target_tokens are the first subject's
                            motion_adapter                    the folder beside model/, or null
                            schedule                          what the schedule must come out as
OUT/inputs.safetensors    as make_case.py's
OUT/expected.safetensors  as make_case.py's without noised_map, and map/TIMESTEP/LAYER [F, places] beside
                          mask/TIMESTEP/LAYER; of the k-th subject from the second on the names end in /k

Every case is read again by diffusers' AnimateDiffPipeline, whose prompts, latents and frames without guided updates
must be the same.  Needs what make_case.py needs.
"""

import shutil

import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, PNDMScheduler, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import case_tools as case
import motionflow_arch as arch
import motionflow_ref as mf

p = case.parser(__doc__, frames=4, weights="1,0.5,0.25")
p.add_argument("--checkpoint", choices=["pair", "merged"], default="pair")
p.add_argument("--layout", choices=["safetensors", "bin", "legacy"], default="safetensors", help="of the base's files; a merged checkpoint is safetensors")
p.add_argument("--adapter-layout", choices=["safetensors", "bin"], default="safetensors")
p.add_argument("--adapter-again", type=int, default=1, help="0: a merged checkpoint without the motion_adapter/ that its unet/ has in it")
p.add_argument("--blocks", default="32,64")
p.add_argument("--plain-last", type=int, default=1, help="1: the deepest level has no cross-attention, as in SD 1.5")
p.add_argument("--layers", type=int, default=1)
p.add_argument("--heads", type=int, default=4, help="NUMBER of heads of the spatial attentions: what SD 1.5 calls attention_head_dim")
p.add_argument("--motion-heads", type=int, default=2)
p.add_argument("--motion-mid", type=int, default=1, help="1: a motion module in the mid block (v1-5-2); 0: none (v1-5-3)")
p.add_argument("--motion-length", type=int, default=32, help="motion_max_seq_length")
p.add_argument("--linear-projection", type=int, default=0, help="1: use_linear_projection, as in SD 2")
p.add_argument("--groups", type=int, default=8)
p.add_argument("--context", type=int, default=48)
p.add_argument("--text-act", default="quick_gelu")
p.add_argument("--pad-token", default="<|endoftext|>")
p.add_argument("--vae-blocks", default="16,32")
p.add_argument("--vae-groups", type=int, default=8)
p.add_argument("--alpha-to-one", type=int, default=0, help="1: set_alpha_to_one, as in the original AnimateDiff's settings")
p.add_argument("--vocabulary", type=int, default=49152 - 256 - 2, metavar="N", help="keep only CLIP's first N merges")
a = p.parse_args()

torch.manual_seed(a.seed)
blocks, vae_blocks = case.ints(a.blocks), case.ints(a.vae_blocks)
h, w = case.size(a.latent)
plain, crossed = a.plain_last, len(blocks) - a.plain_last
model, adapter_folder = a.out / "model", a.out / "motion_adapter"
for old in (model, adapter_folder):
    shutil.rmtree(old, ignore_errors=True)
vocab_size = case.write_clip_tokenizer(model / "tokenizer", case.clip_merges(a.bpe)[: a.vocabulary], a.pad_token)

# ---- nets
unet2d = UNet2DConditionModel(
    sample_size=w, block_out_channels=blocks, layers_per_block=a.layers, cross_attention_dim=a.context, attention_head_dim=a.heads,
    down_block_types=["CrossAttnDownBlock2D"] * crossed + ["DownBlock2D"] * plain,
    up_block_types=["UpBlock2D"] * plain + ["CrossAttnUpBlock2D"] * crossed,
    norm_num_groups=a.groups, use_linear_projection=bool(a.linear_projection))
adapter = MotionAdapter(block_out_channels=blocks, motion_layers_per_block=a.layers, motion_num_attention_heads=a.motion_heads,
                        motion_norm_num_groups=a.groups, motion_max_seq_length=a.motion_length, use_motion_mid_block=bool(a.motion_mid))
vae = AutoencoderKL(block_out_channels=vae_blocks, down_block_types=["DownEncoderBlock2D"] * len(vae_blocks),
                    up_block_types=["UpDecoderBlock2D"] * len(vae_blocks), layers_per_block=1, latent_channels=4,
                    norm_num_groups=a.vae_groups, sample_size=64, scaling_factor=0.18215)
text_encoder = CLIPTextModel(CLIPTextConfig(vocab_size=vocab_size, hidden_size=a.context, intermediate_size=4 * a.context, num_hidden_layers=a.text_layers,
                                            num_attention_heads=4, hidden_act=a.text_act, max_position_embeddings=77,
                                            bos_token_id=vocab_size - 2, eos_token_id=vocab_size - 1))
case.randomise(unet2d, adapter, vae, text_encoder)
for net in (unet2d, adapter):
    for name, module in net.named_modules():
        if name.endswith("to_q"):
            module.weight.mul_(a.sharpness)
base_schedule = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
                              set_alpha_to_one=bool(a.alpha_to_one), steps_offset=1)
scheduler = DDIMScheduler.from_config(base_schedule.config, beta_schedule="linear", clip_sample=False)
unet = UNetMotionModel.from_unet2d(unet2d, adapter).eval().requires_grad_(False)
tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")

# ---- checkpoint
if a.checkpoint == "pair":
    for module, name in ((unet2d, "unet"), (vae, "vae"), (text_encoder, "text_encoder")):
        case.save_net(module, model / name, a.layout)
    base_schedule.save_pretrained(model / "scheduler")
    case.save_net(adapter, adapter_folder, a.adapter_layout)
    case.write(model / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", "feature_extractor": [None, None], "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})
else:
    AnimateDiffPipeline(vae, text_encoder, tokenizer, unet, adapter, scheduler).save_pretrained(model)
    # transformers 5 writes tokenizer.json alone; published checkpoints have CLIP's two files
    (model / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    case.write_clip_tokenizer(model / "tokenizer", case.clip_merges(a.bpe)[: a.vocabulary], a.pad_token)


# ---- prompts
def encode(prompt):
    """-> ids [1, 77], features [1, 77, C], positions of the subjects' tokens"""
    text, subjects = case.parse_prompt(prompt)
    tokens = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt", return_offsets_mapping=True)
    real = tokens.attention_mask[0].sum() if a.pad_token != "<|endoftext|>" else len(tokenizer(text, truncation=True, max_length=77).input_ids)
    offsets = tokens.offset_mapping[0].tolist()[:real]
    return tokens.input_ids, text_encoder(tokens.input_ids)[0], case.positions(offsets, subjects)


expected, inputs = {}, {}
expected["source_ids"], expected["source_text"], source_subjects = encode(a.source_prompt)
expected["target_ids"], expected["target_text"], target_subjects = encode(a.prompt)
negative = a.negative_prompt.replace("[", r"\[").replace("]", r"\]")
expected["negative_ids"], expected["negative_text"], _ = encode(negative)

# ---- inputs
scale = 2 ** (len(vae_blocks) - 1)
inputs["frames"] = torch.rand(a.frames, 3, h * scale, w * scale) * 2 - 1
inputs["sample"] = torch.randn(1, 4, a.frames, h, w)
inputs["latent"] = torch.randn(a.frames, 4, h, w)
inputs["z0"] = (vae.encode(inputs["frames"]).latent_dist.mean * vae.config.scaling_factor).permute(1, 0, 2, 3)[None].contiguous()
net, s = arch.AnimateDiff(unet, scheduler), case.settings(a)


def decode(z):
    """[1, C, F, h, w] -> [F, 3, H, W]"""
    return vae.decode(z[0].permute(1, 0, 2, 3) / vae.config.scaling_factor).sample


@torch.no_grad()
def compute(dtype):
    """What the nets and the method make of the inputs, in `dtype`."""
    unet.to(dtype), vae.to(dtype)
    given = {name: value.to(dtype) for name, value in inputs.items()}
    texts = [expected[f"{name}_text"].to(dtype) for name in ("source", "target", "negative")]
    found = {"vae_mean": vae.encode(given["frames"]).latent_dist.mean, "vae_decoded": vae.decode(given["latent"]).sample}
    for t in (1, 501, 981):
        found[f"unet_{t}"] = net.call(given["sample"], t, texts[1])
    found |= case.method_tensors(net, given["z0"], texts, (source_subjects, target_subjects), s)
    return found | {"video": decode(found["generated"])}


found, rounding = case.in_both_precisions(compute, s.tau)
expected |= found
unet.to(torch.float32), vae.to(torch.float32)

# ---- diffusers' pipeline, from the files
published = {"motion_adapter": MotionAdapter.from_pretrained(adapter_folder)} if a.checkpoint == "pair" else {}
pipeline = AnimateDiffPipeline.from_pretrained(model, scheduler=scheduler, tokenizer=tokenizer, **published)
pipeline.set_progress_bar_config(disable=True)
with torch.no_grad():
    prompt = case.parse_prompt(a.prompt)[0]
    ours = expected["generated_without_updates"]
    # where latents are given the size is checked and then not used
    theirs = pipeline(prompt, negative_prompt=a.negative_prompt, num_frames=a.frames, height=64, width=64, num_inference_steps=s.steps,
                      guidance_scale=s.guidance_scale, latents=expected["inverted"], output_type="latent").frames
    features = pipeline.encode_prompt(prompt, "cpu", 1, True, a.negative_prompt)
    read = arch.AnimateDiff(pipeline.unet, scheduler)
    read.look(False)
    fused, _ = arch.generate(read, expected["inverted"], {}, features[0], features[1], target_subjects, mf.Settings(**{**s.__dict__, "update": False}))
    checks = {"weights": case.different_weights(unet, pipeline.unet) + case.different_weights(vae, pipeline.vae),
              "text": max(case.relative(features[0], expected["target_text"]), case.relative(features[1], expected["negative_text"])),
              "latents": case.relative(ours, theirs), "latents_with_diffusers_attention": case.relative(fused, theirs),
              "frames": case.relative(decode(theirs), pipeline.decode_latents(theirs)[0].permute(1, 0, 2, 3))}
case.check_pipeline("AnimateDiffPipeline", checks)

if a.checkpoint == "merged" and not a.adapter_again:
    shutil.rmtree(model / "motion_adapter")
case.write_case(a, "animatediff", net, (source_subjects, target_subjects), s, inputs, expected,
                motion_adapter="motion_adapter" if a.checkpoint == "pair" else None,
                schedule={key: scheduler.config[key] for key in ("beta_start", "beta_end", "beta_schedule", "steps_offset", "set_alpha_to_one", "timestep_spacing")})
case.report(expected, rounding, checks)
