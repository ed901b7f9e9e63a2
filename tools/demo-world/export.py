"""Puts a checkpoint folder together, or a random one of the same shapes to develop against.

    python export.py --model demo --vae run/vae --from run/demo --tokenizer tokenizer --out demo
    python export.py --model demo-wan --vae run/vae-wan --from run/demo-wan/stages/0.25 --tokenizer tokenizer-wan --out demo-wan
    python export.py --model demo-animatediff --random --tokenizer tokenizer --out demo-animatediff
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

import models
from denoiser import KINDS, Checkpoint

LIMITS = {"demo": 48_000_000, "demo-animatediff": 24_000_000, "demo-wan": 24_000_000}


def write_index(kind, out: Path):
    """model_index.json and the scheduler's config."""
    scheduler = kind.scheduler()
    scheduler.save_pretrained(out / "scheduler")
    parts = {"scheduler": ["diffusers", type(scheduler).__name__]}
    if kind.is_wan:
        parts |= {"text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
                  "transformer": ["diffusers", "WanTransformer3DModel"], "vae": ["diffusers", "AutoencoderKLWan"]}
    else:
        net = "UNetMotionModel" if kind.name == "demo-animatediff" else "UNet3DConditionModel"
        parts |= {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
                  "unet": ["diffusers", net], "vae": ["diffusers", "AutoencoderKL"]}
    (out / "model_index.json").write_text(json.dumps({"_class_name": kind.pipeline, "_diffusers_version": "0.42.1", **parts}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=KINDS, default="demo")
    parser.add_argument("--vae", type=Path, help="a folder with config.json and the weights")
    parser.add_argument("--from", dest="trained", type=Path, help="what train_denoiser.py wrote")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--random", action="store_true", help="random weights where no trained ones are given")
    args = parser.parse_args()
    kind = KINDS[args.model]
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    copy = lambda source, name: shutil.copytree(source, args.out / name)
    copy(args.tokenizer, "tokenizer")
    write_index(kind, args.out)
    if args.vae:
        copy(args.vae, "vae")
    elif args.random:
        models.write_net(models.new_vae_wan() if kind.is_wan else models.new_vae(), args.out / "vae", models.NET_FILE)
    if args.trained:
        for part in (kind.folder, "text_encoder"):
            copy(args.trained / part, part)
    elif args.random:
        torch.manual_seed(0)
        channels = models.read_net(args.out / "vae").config
        new = kind.new(channels.z_dim if kind.is_wan else channels.latent_channels, kind.encoder(args.tokenizer).size)
        models.write_net(new.net, args.out / kind.folder, models.NET_FILE)
        models.write_text_encoder(new.text, args.out)
    Checkpoint(args.out, "cpu")
    sizes = {part.name: sum(f.stat().st_size for f in part.rglob("*") if f.is_file()) for part in sorted(args.out.iterdir()) if part.is_dir()}
    total = sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file())
    print(f"{args.out}: {total:,} bytes; " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    if total > LIMITS[kind.name]:
        raise SystemExit(f"over the limit of {LIMITS[kind.name]:,} bytes")


if __name__ == "__main__":
    main()
