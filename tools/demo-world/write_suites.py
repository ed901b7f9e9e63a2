"""Writes which clips the experiments take, and what is made of each.

    python write_suites.py --out ../../experiments/clips

singles.toml has the clips with one subject, three prompts each: one from each category, so that an animal's motion goes
to a vehicle and the other way round. pairs.toml has the clips with two, two prompts each.
"""

import argparse
from pathlib import Path

import numpy as np

import world
from make_clips import EXPERIMENTS
from scenes import SCENES

CATEGORIES = {"animals": world.NAMES[:24], "vehicles": world.NAMES[24:36], "things": world.NAMES[36:]}


def phrase(subjects, scene):
    return " and ".join(f"{world.article(s)} [{s}]" for s in subjects) + " " + world.SCENE_WORDS[scene][0]


class Deck:
    """Everything once in a random order, then again."""

    def __init__(self, rng, cards):
        self.rng, self.cards, self.left = rng, list(cards), []

    def draw(self, but=()):
        if not set(self.left) - set(but):
            self.left += [str(card) for card in self.rng.permutation(self.cards)]
        card = next(card for card in self.left if card not in but)
        self.left.remove(card)
        return card


def clips_file(clips, prompts):
    text = "# Written by tools/demo-world/write_suites.py.\n"
    for name, subjects, scene, motions, _ in clips:
        lines = "".join(f'    "{p}",\n' for p in prompts(subjects, scene))
        text += (f'\n[[clip]]\nname = "{name}"\nmotion = "{" and ".join(motions)}"\nsource = "{name}.mp4"\n'
                 f'source_prompt = "{phrase(subjects, scene)}"\ntruth = "{name}.npz"\nprompts = [\n{lines}]\n')
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rng = np.random.default_rng(4)
    decks, scenes = {name: Deck(rng, subjects) for name, subjects in CATEGORIES.items()}, Deck(rng, SCENES)

    def one(subjects, scene):
        return [phrase([decks[c].draw(subjects)], scenes.draw([scene])) for c in CATEGORIES]

    def two(subjects, scene):
        kinds = [rng.permutation(list(CATEGORIES))[:2] for _ in range(2)]
        return [phrase([decks[str(c)].draw(subjects) for c in pair], scenes.draw([scene])) for pair in kinds]

    for file, count, prompts in (("singles.toml", 1, one), ("pairs.toml", 2, two)):
        clips = [clip for clip in EXPERIMENTS if len(clip[1]) == count]
        (args.out / file).write_text(clips_file(clips, prompts))


if __name__ == "__main__":
    main()
