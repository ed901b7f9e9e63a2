"""Trains the referee, models/demo-detector: which of the 48 subjects is where in a frame.

    python train_detector.py --atlas atlas.npz --model ../../models/demo --out run/detector --seconds 230

It is shown every pair of sprite and scene (a referee must not be worse where the model was never trained), but scene
seeds of the training split alone.  check_detector.py measures it.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

import detector
import frames
import parallel
import world


def loss_of(logits, cover, sprite):
    """Cross-entropy with soft edges: each cell's target is how much of it shows what."""
    log = logits.log_softmax(1)
    own = log.gather(1, 1 + sprite[:, :, None, None].expand(-1, -1, *log.shape[2:]))
    return -((1 - cover.sum(1)) * log[:, 0] + (cover * own).sum(1)).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--model", type=Path, required=True, help="the demo checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=230, help="of training")
    parser.add_argument("--remake-seconds", type=float, default=30, help="of letting the demo model paint frames over")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--remake-batch", type=int, default=64)
    parser.add_argument("--scene-seeds", type=int, default=192)
    parser.add_argument("--workers", type=int, default=6)
    args = parser.parse_args()
    _, _, device = parallel.start()
    torch.manual_seed(3)
    np.random.seed(3)
    draw = lambda n, f, seed: frames.plans(n, f, args.model / "tokenizer", seed, args.scene_seeds, every_pair=True,
                                           empty=0.08, workers=args.workers)
    source = draw(args.batch, 1, 11)
    render = world.Renderer(args.atlas, device, args.scene_seeds)
    remade = frames.Remade(args.model, device)
    remade.fill(render, draw(args.remake_batch, world.FRAMES, 12), args.remake_seconds)
    net = detector.Detector().to(device, memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    begin, step = time.time(), 0
    while (done := (time.time() - begin) / args.seconds) < 1:
        x, cover, sprite, *_ = frames.mixed(render, remade, remade.vae, next(source))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, step / 100 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * done))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), cover, sprite)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"detector step {step} {time.time() - begin:.0f} s loss {loss.item():.4f}", flush=True)
    detector.save(net, args.out)
    print(f"detector: {step} steps", flush=True)


if __name__ == "__main__":
    main()
