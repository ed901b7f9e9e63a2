"""Puts a checkpoint folder together, or a random one of the same shapes to develop against.

    python export.py --random --tokenizer tokenizer/ --out demo/
    python export.py --vae run/vae --unet run/unet --text-encoder run/text_encoder --tokenizer tokenizer/ --out demo/
"""

import argparse
import shutil
from pathlib import Path

import torch

import models
from tokenizer import Encoder, MAX_LENGTH


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vae", "unet", "text-encoder"):
        parser.add_argument(f"--{name}", type=Path, help="a folder with config.json and the weights")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--random", action="store_true", help="random weights instead of trained ones")
    parser.add_argument("--limit", type=int, default=48_000_000, help="most bytes that all files may take together")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    copy = lambda source, name: shutil.copytree(source, args.out / name, dirs_exist_ok=True)
    if args.random:
        torch.manual_seed(0)
        vocabulary = len(Encoder(args.tokenizer).tokenizer)
        models.write_vae(models.new_vae(), args.out, 1.0)
        models.write_unet(models.new_unet(), args.out)
        models.write_text_encoder(models.new_text_encoder(vocabulary, MAX_LENGTH), args.out)
    else:
        copy(args.vae, "vae")
        copy(args.unet, "unet")
        copy(args.text_encoder, "text_encoder")
    copy(args.tokenizer, "tokenizer")
    models.write_index(args.out)
    models.read(args.out)
    size = sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file())
    print(f"{args.out}: {size:,} bytes")
    if size > args.limit:
        raise SystemExit(f"over the limit of {args.limit:,} bytes")


if __name__ == "__main__":
    main()
