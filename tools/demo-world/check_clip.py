"""Measures models/demo-clip on held-out scenes: does the right caption win?

    python check_clip.py --atlas atlas.npz --model ../../models/demo --clip ../../models/demo-clip --out clip.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import CLIPModel

import frames
import models
import parallel
import world
from scenes import SCENES
from tokenizer import Encoder


def phrase(subjects, scene):
    words = " and ".join(f"{world.article(world.NAMES[s])} {world.NAMES[s]}" for s in subjects)
    return f"{words} {world.SCENE_WORDS[SCENES[scene]][0]}"


class Judge:
    def __init__(self, folder, device):
        self.net = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).to(device).eval()
        self.encoder, self.device, self.known = Encoder(folder), device, {}

    @torch.no_grad()
    def texts(self, phrases):
        new = [p for p in dict.fromkeys(phrases) if p not in self.known]
        for i in range(0, len(new), 512):
            ids = torch.tensor([self.encoder(p)[0] for p in new[i : i + 512]], device=self.device)
            out = self.net.text_projection(self.net.text_model(input_ids=ids).pooler_output)
            self.known |= dict(zip(new[i : i + 512], normalize(out, dim=-1)))
        return torch.stack([self.known[p] for p in phrases])

    @torch.no_grad()
    def images(self, x):
        parts = [self.net.visual_projection(self.net.vision_model(pixel_values=part).pooler_output) for part in x.split(256)]
        return normalize(torch.cat(parts), dim=-1)


def measure(judge, x, plan):
    """Retrieval of the (second) subject among all that are not the other one, of the scene among 8, and cosines."""
    seen, rows = judge.images(x), []
    for i in range(len(plan)):
        subjects, scene = [int(s) for s in plan.sprite[i, : plan.count[i]]], int(plan.scene[i])
        first, last = subjects[:-1], subjects[-1]
        candidates = [s for s in range(len(world.NAMES)) if s not in first]
        by_subject = judge.texts([phrase([*first, s], scene) for s in candidates]) @ seen[i]
        by_scene = judge.texts([phrase(subjects, s) for s in range(len(SCENES))]) @ seen[i]
        at = candidates.index(last)
        others = lambda cosines, k: float((cosines.sum() - cosines[k]) / (len(cosines) - 1))
        moving = judge.texts([phrase(subjects, scene).replace(world.NAMES[last], world.NAMES[last] + " moving to the right")])
        rows.append([float(by_subject.argmax() == at), float(by_scene.argmax() == scene), float(by_subject[at]),
                     others(by_subject, at), others(by_scene, scene), float(abs((moving @ seen[i])[0] - by_subject[at]))])
    names = ["right_subject", "right_scene", "cosine_right", "cosine_wrong_subject", "cosine_wrong_scene", "change_by_motion_words"]
    return dict(zip(names, np.mean(rows, 0).round(4).tolist())) | {"frames": len(rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--model", type=Path, required=True, help="the demo checkpoint, for its VAE")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=960, help="of each kind")
    args = parser.parse_args()
    _, _, device = parallel.start()
    render = world.Renderer(args.atlas, device, 0, 16)
    vae, judge = models.read(args.model, device)[0], Judge(args.clip, device)
    rng, figures = np.random.default_rng(77), {}
    for kind, two in (("pairs seen in training", 0.0), ("pairs held out", 0.0), ("two subjects", 1.0)):
        n = args.frames
        sprite = np.arange(n) % len(world.NAMES)
        weight = world.HELD_OUT[sprite] if kind == "pairs held out" else ~world.HELD_OUT[sprite]
        scene = None if two else np.argmax(weight * rng.random((n, 8)), 1)
        plan = world.sample(rng, n, "held-out", scene_seeds=16, two=two, scene=scene, sprite=None if two else sprite)
        x = frames.painted(render, plan, rng.integers(world.FRAMES, size=(n, 1)))[0]
        figures[kind] = {"as painted": measure(judge, x, plan),
                         "through the VAE": measure(judge, torch.cat([frames.through_vae(vae, p) for p in x.split(64)]).clamp(-1, 1), plan)}
        print(kind, json.dumps(figures[kind]), flush=True)
    args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
