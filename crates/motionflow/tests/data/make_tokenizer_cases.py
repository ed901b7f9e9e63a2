"""Write tokenizer_cases.json: texts that are hard on a tokenizer, and the ids that transformers gives them.

    python make_tokenizer_cases.py [--random N] [--out FILE]

Needs transformers 5.17.0. `--random` adds N random texts, for a comparison wider than the committed file.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

here = Path(__file__).parent
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--random", type=int, default=0)
p.add_argument("--out", type=Path, default=here / "tokenizer_cases.json")
a = p.parse_args()

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
plain = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
as_object = lambda content, normalized: {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
objects = {"bos_token": as_object(BOS, True), "eos_token": as_object(EOS, True), "unk_token": as_object(EOS, True), "pad_token": "!"}
added = {str(i): as_object(t, n) | {"special": True} for i, t, n in ((0, "!", False), (49406, BOS, False), (49407, EOS, True))}
TOKENIZERS = {  # what stands in special_tokens_map.json and tokenizer_config.json; None: no such file
    "plain": (plain, {"model_max_length": 77, "do_lower_case": True, **plain}),
    "pad-is-exclamation-mark": (plain | {"pad_token": "!"}, {"model_max_length": 77, **plain, "pad_token": "!"}),
    "stable-diffusion-2": (objects, {"model_max_length": 77, **plain, "unk_token": {"__type": "AddedToken"} | as_object(EOS, True)}),
    "newer-config-alone": (None, {"model_max_length": 77, "added_tokens_decoder": added, **plain, "pad_token": "!"}),
    "short-no-map": (None, {"model_max_length": 9, **plain}),
    "map-alone": (plain, None),
}

TEXTS = [
    "", " ", "   \t\n ", "a", "A photo of a CAT", "a car driving on a road", "a  double   space\tand\nlines\r\n", " leading", "trailing ",
    "don't can't I'll you've he'd I'm they're it's O'Brien's 'quoted' ''", "IT'S DON'T", "it’s a curly apostrophe",
    "1234567890", "3.14 and 1,000,000", "4k 8K uhd 24fps", "x1y2z3", "½ ² ₃ Ⅷ ① ٣ ४ 五",
    "hello, world! (really?) [yes] {no} <tag> a/b\\c a_b a-b a—b a…b", "!!!", "! a ! b!", "?!?!", "...", "#hashtag @user https://example.org/a?b=c&d=e",
    "&amp; &lt;b&gt; &quot;x&quot; &#39; &amp;amp;", "<|startoftext|>", "a <|endoftext|> b", "<|ENDOFTEXT|> <|EndOfText|>", "x<|endoftext|>y", "<|endoftext", "</w>", "dog</w>",
    "a camel\u00a0in\u2003the\u3000desert\u2028new\u2029line\u0085next", "zero\u200bwidth\u200cjoin\u200der\ufeffbom\u2060", "soft\u00adhyphen",
    "naïve café, crème brûlée", "nai\u0308ve cafe\u0301", "Ångström A\u030angstro\u0308m", "Zürich ŁÓDŹ İstanbul ışık ǅ ß ẞ ﬁ ﬀ", "Ἀθήνα ΑΘΗΝΑΣ ὀδυσσεύς", "Привет, МИР! Ёлка",
    "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "안녕하세요 세계", "\u1112\u1161\u11ab\u1100\u1173\u11af", "こんにちは世界、カタカナ ﾊﾝｶｸ", "一只猫在草地上奔跑。", "汽车[在]路上",
    "a 🐶 and a 🐼!", "👨‍👩‍👧‍👦 family", "👍🏽 🇩🇪 ❤️ ☃ ✈️", "🐶🐶🐶", "𝒜𝓃 𝔣𝔞𝔫𝔠𝔶 𝟙𝟚", "ＦＵＬＬ　ｗｉｄｔｈ！", "a\u0300\u0301\u0302\u0327z", "q\u0323\u0307 q\u0307\u0323", "\u0301alone", "Z͑ͫ̓a̴l̷g̸o",
    "\x00null\x00", "\x01\x02\x7f control", "\u202eright to left\u202c", "\ue000private \U000f0000", "\U0010ffff end", "\ufffd", "Ω Ω K K Å Å",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababab" * 12, "word " * 75, "word " * 76, "word " * 200, "🐼" * 60, "1 " * 90 + "end",
    "a man's dog's bone", "rock'n'roll", "l'été d'Hélène", "'s", "'tis 'twas", "he said: \"it's\"", "100% $5.00 €20 £3 ¥7 §1 ©®™", "C++ c# .NET F#", "email@example.com", "snake_case camelCase kebab-case SCREAMING_CASE",
    "a [red car] on a road", "\\[not a subject\\]", "(a:1.2), ((b)), [c]", "photo, 35mm, f/1.8, ISO-100", "\ttab\tseparated\t", "mixed漢字and latin", "e\u0301e\u0301 É é", "ﷺ", "ᾳ ᾼ ΐ", "ǰ ŉ և", "dž Dž DŽ", "ς σ Σ", "ΑΣ ΑΣΑ",
]
SUBJECTS = [
    "a [car] driving on a road", "[car]", "a [red car], fast", "[A Red Car] on a road", "a road with a [supercalifragilistic car]!", "the [dog's bone] lies", "a [café] in paris", "a [cafe\u0301] in paris",
    "ein [weißer Schäferhund] läuft", "一只 [猫] 在草地", "a [🐼] dances", "a [👨‍👩‍👧‍👦 family] walks", "a ([dog]) runs", "a \"[dog]\" runs", "a [dog], a cat", "a [4x4 truck] in mud", "a  [double  space]  here", "[Привет] мир", "a [dog] .", "İ [İstanbul] x", "a [t-shirt] hangs", "l'[été] arrive", "a [dog]!",
]


def random_text(r):
    pools = [lambda: chr(r.randrange(32, 127)), lambda: chr(r.randrange(0xA0, 0x600)), lambda: chr(n if (n := r.randrange(0x10F800)) < 0xD800 else n + 0x800), lambda: r.choice(" \t\n'’.!0123456789"),
             lambda: r.choice(["the ", "dog", "Car", "'s", "'LL", "<|endoftext|>", "\u0301", "\u0308", "e", "É", "🐶", "&amp;", "漢", "한", "\u1100\u1161"])]
    n = r.choice([1, 2, 3, 5, 10, 20, 60, 150])
    chosen = r.sample(pools, r.randrange(1, 4))
    return "".join(r.choice(chosen)() for _ in range(n))


r = random.Random(0)
texts = TEXTS + [random_text(r) for _ in range(a.random)]
cases = []
for name, (special, config) in TOKENIZERS.items():
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)
        merges = (here / "clip-vocabulary/merges.txt").read_text().split("\n")[1:-1]
        bytes_ = [*range(33, 127), *range(161, 173), *range(174, 256)]
        chars = [chr(b) for b in bytes_] + [chr(256 + i) for i in range(256 - len(bytes_))]
        vocab = chars + [c + "</w>" for c in chars] + [m.replace(" ", "") for m in merges] + [BOS, EOS]
        (folder / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocab)}))
        (folder / "merges.txt").write_text((here / "clip-vocabulary/merges.txt").read_text())
        for file, content in (("special_tokens_map", special), ("tokenizer_config", config)):
            if content is not None:
                (folder / f"{file}.json").write_text(json.dumps(content))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    length = config["model_max_length"] if config else 77
    encode = lambda text: tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids

    def positions(prompt):  # as make_case.py's `split`
        before, rest = prompt.split("[")
        subject, after = rest.split("]")
        start = len(tokenizer(before.strip()).input_ids) - 1
        return list(range(start, start + len(tokenizer(subject).input_ids) - 2))

    def shortened(ids):  # without padding, since a pad id in the text reads the same: up to the end token and one more
        while len(ids) > 1 and ids[-1] == ids[-2] and len(ids) > 2:
            ids = ids[:-1]
        return ids

    some = texts if name != "newer-config-alone" and name != "map-alone" else texts[::5] + [t for t in texts if "|" in t]
    cases.append({"name": name, "special_tokens_map": special, "tokenizer_config": config, "length": length, "pad": tokenizer.pad_token_id,
                  "texts": [[t, shortened(encode(t))] for t in some],
                  "subjects": [[s, positions(s)] for s in SUBJECTS] if length == 77 and tokenizer.pad_token_id != 0 else []})
lines = [json.dumps(c, ensure_ascii=True) for c in cases]
a.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
