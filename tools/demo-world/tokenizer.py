"""CLIP's byte-pair tokenizer, cut down to the world, in the diffusers layout.

    python tokenizer.py --bpe bpe_simple_vocab_16e6.txt.gz --out tokenizer/

Kept are the byte alphabet, CLIP's first merges (other words fall into short pieces, as in CLIP) and every merge that
makes a word of the world one token.  A merge keeps its rank relative to the others, so a word of the world splits
exactly as it does in CLIP.  `bpe_simple_vocab_16e6.txt.gz` is in the open_clip_torch package (open_clip/).
"""

import argparse
import gzip
import json
from pathlib import Path

import world

FIRST_MERGES = 2000
MAX_LENGTH = 32
IN_PIECES = ["panning"]  # words of the world that CLIP itself has in pieces
START, END = "<|startoftext|>", "<|endoftext|>"


def world_words() -> list[str]:
    phrases = [*world.NAMES, *world.FILLERS, "a", "an", "the", "and"]
    phrases += [p for ways in (world.MOTION_WORDS, world.SCENE_WORDS, world.CAMERA_WORDS) for group in ways.values() for p in group]
    return sorted({word for phrase in phrases for word in phrase.split()})


def merges_of(word: str, rank: dict) -> list[tuple[str, str]]:
    """The merges that byte-pair encoding applies to a plain ASCII word, until it is one token, or cannot be one."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    used = []
    while len(pieces) > 1:
        pair = min(zip(pieces, pieces[1:]), key=lambda p: rank.get(p, float("inf")))
        if pair not in rank and word in IN_PIECES:
            break
        if pair not in rank:
            raise ValueError(f"{word!r} is no single token of CLIP: it stays {pieces}")
        used.append(pair)
        joined, i = [], 0
        while i < len(pieces):
            if tuple(pieces[i : i + 2]) == pair:
                joined.append("".join(pair))
                i += 2
            else:
                joined.append(pieces[i])
                i += 1
        pieces = joined
    return used


def build(bpe: Path, out: Path):
    lines = gzip.open(bpe).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    rank = {merge: i for i, merge in enumerate(merges)}
    keep = set(merges[:FIRST_MERGES])
    for word in world_words():
        keep.update(merges_of(word, rank))
    kept = sorted(keep, key=rank.get)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in kept] + [START, END]
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    out.mkdir(parents=True, exist_ok=True)
    write = lambda name, value: (out / name).write_text(json.dumps(value, ensure_ascii=False, indent=None if name == "vocab.json" else 2) + "\n")
    write("vocab.json", {token: i for i, token in enumerate(tokens)})
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in kept) + "\n")
    write("special_tokens_map.json", special)
    write("tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_LENGTH,
                                    "do_lower_case": True, **special})


class Encoder:
    """Captions to token ids, quickly: CLIP splits at spaces, so the ids of a word can be kept."""

    def __init__(self, folder):
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.start, self.end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.size, self.known = len(self.tokenizer), {}

    def word(self, word: str) -> list[int]:
        if word not in self.known:
            self.known[word] = self.tokenizer(word).input_ids[1:-1]
        return self.known[word]

    def __call__(self, text: str, subjects=()):
        """ids [MAX_LENGTH] and, for each subject (one word, the first that is not taken), its position."""
        ids, positions, left = [self.start], {}, list(subjects)
        for word in text.split():
            if word in left and word not in positions:
                positions[word] = len(ids)
            ids += self.word(word)
        ids = (ids[: MAX_LENGTH - 1] + [self.end] * MAX_LENGTH)[:MAX_LENGTH]
        return ids, [positions[s] for s in subjects]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    build(args.bpe, args.out)
    encoder = Encoder(args.out)
    split = [w for w in world_words() if len(encoder.word(w)) != 1 and w not in IN_PIECES]
    if split:
        raise SystemExit(f"not one token: {split}")
    text = "a car moving to the right and an elephant on a road"
    whole = encoder.tokenizer(text, padding="max_length", max_length=MAX_LENGTH).input_ids
    assert encoder(text)[0] == whole, "word by word differs from the whole"
    print(f"{len(encoder.tokenizer)} tokens; all {len(world_words()) - len(IN_PIECES)} words of the world but {IN_PIECES} are one token each; "
          f"'photorealistic' -> {encoder.tokenizer.convert_ids_to_tokens(encoder.word('photorealistic'))}")


if __name__ == "__main__":
    main()
