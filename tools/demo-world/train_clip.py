"""Trains models/demo-clip: a small CLIP that knows the world, in the layout of transformers' CLIPModel.

    python train_clip.py --atlas atlas.npz --model ../../models/demo --out run/clip --seconds 230

Contrastive, as CLIP is; pairs of one batch that show and say the same (the same subjects in the same kind of scene)
all count as right.  check_clip.py measures it.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

import frames
import parallel
import world
from tokenizer import MAX_LENGTH

MEAN = DEVIATION = 0.5
PATCH = 16


def new_clip(vocabulary: int):
    special = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    text = {"vocab_size": vocabulary, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": MAX_LENGTH, "projection_dim": 128, **special}
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 5, "num_attention_heads": 6,
              "image_size": world.SIZE, "patch_size": PATCH, "projection_dim": 128}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def write(net, tokenizer: Path, out: Path):
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().half().cpu().contiguous() for k, v in net.state_dict().items() if "position_ids" not in k}
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads(net.config.to_json_string(use_diff=False))
    keep = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
            "attention_dropout", "initializer_factor", "initializer_range", "projection_dim", "model_type", "vocab_size",
            "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "image_size", "patch_size",
            "num_channels")
    part = lambda name: {k: config[name][k] for k in keep if k in config[name]}
    (out / "config.json").write_text(json.dumps({
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": config["projection_dim"],
        "logit_scale_init_value": config["logit_scale_init_value"], "dtype": "float16",
        "text_config": part("text_config"), "vision_config": part("vision_config")}, indent=2) + "\n")
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": world.SIZE},
        "resample": 3, "do_center_crop": True, "crop_size": {"height": world.SIZE, "width": world.SIZE},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [MEAN] * 3,
        "image_std": [DEVIATION] * 3, "do_convert_rgb": True}, indent=2) + "\n")
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(tokenizer / file, out / file)


def contrastive(images, texts, scale, key):
    """Both ways; of each row, all pairs of one key are right, in equal shares."""
    same = (key[:, None] == key[None]).float()
    same = same / same.sum(1, keepdim=True)
    logits = scale * images @ texts.T
    return -0.5 * ((same * logits.log_softmax(1)).sum(1) + (same * logits.T.log_softmax(1)).sum(1)).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--model", type=Path, required=True, help="the demo checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=230, help="of training")
    parser.add_argument("--remake-seconds", type=float, default=30, help="of letting the demo model paint frames over")
    parser.add_argument("--batch", type=int, default=448)
    parser.add_argument("--remake-batch", type=int, default=64)
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--workers", type=int, default=10)
    args = parser.parse_args()
    _, _, device = parallel.start()
    torch.manual_seed(4)
    np.random.seed(4)
    draw = lambda n, f, seed: frames.plans(n, f, args.model / "tokenizer", seed, args.scene_seeds, workers=args.workers)
    source = draw(args.batch, 1, 21)
    render = world.Renderer(args.atlas, device, args.scene_seeds)
    remade = frames.Remade(args.model, device)
    remade.fill(render, draw(args.remake_batch, world.FRAMES, 22), args.remake_seconds)
    net = new_clip(remade.text.config.vocab_size).to(device)
    # for training alone: what each patch shows, so that the small sprites are found early
    patches = nn.Linear(192, 1 + len(world.NAMES)).to(device)
    decay = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": [*plain, *patches.parameters()],
                                   "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.98))
    begin, step = time.time(), 0
    while (done := (time.time() - begin) / args.seconds) < 1:
        x, cover, sprite, count, scene, ids = frames.mixed(render, remade, remade.vae, next(source))
        second = torch.where(count == 2, sprite[:, 1], sprite[:, 0])
        key = torch.stack([torch.minimum(sprite[:, 0], second), torch.maximum(sprite[:, 0], second), scene], 1)
        key = (key * torch.tensor([10000, 100, 1], device=device)).sum(1)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, step / 200 + 0.005) * (0.5 + 0.5 * math.cos(math.pi * done))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            seen = net.vision_model(pixel_values=x)
            images = net.visual_projection(seen.pooler_output)
            texts = net.text_projection(net.text_model(input_ids=ids).pooler_output)
            shown = patches(seen.last_hidden_state[:, 1:])
        images, texts = (nn.functional.normalize(v.float(), dim=-1) for v in (images, texts))
        main_loss = contrastive(images, texts, net.logit_scale.exp(), key)
        cells = torch.nn.functional.adaptive_avg_pool2d(cover, world.SIZE // PATCH).flatten(2)  # [N, 2, patches]
        log = shown.float().log_softmax(-1).transpose(1, 2)
        own = log.gather(1, 1 + sprite[:, :, None].expand(-1, -1, log.shape[2]))
        patch_loss = -((1 - cells.sum(1)) * log[:, 0] + (cells * own).sum(1)).mean()
        optimizer.zero_grad(set_to_none=True)
        (main_loss + 2 * (1 - done) * patch_loss).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        net.logit_scale.data.clamp_(max=math.log(50))
        step += 1
        if step % 100 == 0:
            print(f"clip step {step} {time.time() - begin:.0f} s contrastive {main_loss.item():.3f} patches "
                  f"{patch_loss.item():.3f} scale {net.logit_scale.exp().item():.1f}", flush=True)
    write(net, args.model / "tokenizer", args.out)
    print(f"clip: {step} steps", flush=True)


if __name__ == "__main__":
    main()
