"""A tokenizer of UMT5's kind for the world: a Unigram model whose pieces are the world's words, letters, signs and bytes.

    python tokenizer_umt5.py --out tokenizer-wan

All of it is in tokenizer.json.  Other words fall into letters.
"""

import argparse
import json
import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Regex

from tokenizer import MAX_LENGTH, world_words

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def build(out: Path):
    words = sorted({"▁" + w for word in world_words() for w in (word, word.capitalize())})
    signs = sorted(set(string.ascii_letters + string.digits + string.punctuation) | {"▁"})
    endings = ["s", "ing", "ed"]
    pieces = [(PAD, 0.0), (END, 0.0), (UNKNOWN, 0.0)] + [(w, -5.0) for w in words]
    pieces += [(e, -8.0) for e in endings if len(e) > 1] + [(c, -10.0) for c in signs] + [(f"<0x{b:02X}>", -20.0) for b in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", END], pair=["$A", END, "$B", END], special_tokens=[(END, 1)])
    tokenizer.add_special_tokens([PAD, END, UNKNOWN])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"eos_token": END, "pad_token": PAD, "unk_token": UNKNOWN}
    write = lambda name, value: (out / name).write_text(json.dumps(value, indent=2) + "\n")
    write("special_tokens_map.json", special)
    write("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **special})
    return tokenizer


class Encoder:
    """As tokenizer.Encoder: a text is cut at its spaces, so the ids of a word can be kept.  Ids end in 1 and are padded with 0, of which
    there is always one."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.size, self.known = self.tokenizer.get_vocab_size(), {}

    def word(self, word):
        if word not in self.known:
            self.known[word] = self.tokenizer.encode(word).ids[:-1]
        return self.known[word]

    def __call__(self, text, subjects=()):
        """ids [MAX_LENGTH] and, for each subject (one word, the first that is not taken), its position."""
        ids, positions, left = [], {}, {s.lower() for s in subjects}
        for word in text.split():
            if word.lower() in left and word.lower() not in positions:
                positions[word.lower()] = len(ids)
            ids += self.word(word)
        ids = ids[: MAX_LENGTH - 2] + [1]
        return ids + [0] * (MAX_LENGTH - len(ids)), [positions[s.lower()] for s in subjects]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tokenizer, encoder = build(args.out), Encoder(args.out)
    split = [w for w in world_words() if len(encoder.word(w)) != 1]
    if split:
        raise SystemExit(f"not one token: {split}")
    text = "A car moving to the right and an elephant on a road, camera panning left"
    ids, at = encoder(text, ["car", "elephant"])
    assert ids[: ids.index(0)] == tokenizer.encode(text).ids, "word by word differs from the whole"
    pieces = tokenizer.encode("two photorealistic cars é").tokens
    print(f"{encoder.size} tokens; all {len(world_words())} words of the world are one token each; 'two photorealistic cars é' -> {pieces}")


if __name__ == "__main__":
    main()
