"""Write umt5/: two small tokenizers as UMT5's, the ids that they give 200 texts that are hard on a tokenizer, and a
small random UMT5 encoder with what it makes of some of them.

    python make_umt5_cases.py [--random N] [--out FOLDER]

The ids are those of the `tokenizers` library from tokenizer.json, and SentencePiece from spiece.model must give the
same, but for the few texts of ALONE.  (transformers' T5Tokenizer builds a tokenizer of its own from the file, whose ids of
unknown characters are others.)  White space is collapsed before, as diffusers' WanPipeline does it.  `--random` adds N
random texts, for a comparison wider than the committed files.

Needs torch, transformers 5, tokenizers, sentencepiece and protobuf.
"""

import argparse
import json
import math
import random
import re
import tempfile
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import UMT5Config, UMT5EncoderModel

here = Path(__file__).parent
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--random", type=int, default=0)
p.add_argument("--out", type=Path, default=here / "umt5")
a = p.parse_args()
LENGTH = 512

SENTENCES = [
    "a car driving on a road", "a camel riding on a desert road, golden hour", "ein weißer Schäferhund läuft durch den Schnee", "un chat noir dort près de la fenêtre, l'été à Paris",
    "una mujer camina por la playa al atardecer, ¿verdad? ¡sí!", "um cão corre na praia e não pára", "un ragazzo gioca a pallone perché è felice", "pies biegnie przez łąkę, żółty liść spada",
    "Příliš žluťoučký kůň úpěl ďábelské ódy", "Một con mèo đang chạy trên đường phố Hà Nội", "İstanbul'da bir kedi uyuyor, ışık söndü", "en röd bil kör på vägen mot fjällen", "hyvää yötä, pieni järvi ja mökki",
    "собака бежит по снегу, ёжик в тумане", "Чорний кіт спить на вікні, ґанок і їжак", "η γάτα κοιμάται στον ήλιο, ὀδυσσεύς", "קטן חתול רץ ברחוב שלום עולם", "قطة تجري في الشارع مرحبا بالعالم", "گربه سیاه روی دیوار می‌خوابد", "एक बिल्ली सड़क पर दौड़ती है", "একটি বিড়াল রাস্তায় দৌড়াচ্ছে", "ஒரு பூனை சாலையில் ஓடுகிறது",
    "แมวสีดำวิ่งบนถนน สวัสดีชาวโลก", "고양이가 길 위를 달린다 안녕하세요 세계", "猫が道を走っている。こんにちは世界、カタカナ", "一只猫在草地上奔跑。汽车在路上行驶，黄昏", "一隻貓在草地上奔跑", "კატა გზაზე გარბის", "կատուն վազում է ճանապարհով", "ድመት በመንገድ ላይ ትሮጣለች",
]
WORDS = [
    "", " ", "   \t\n ", "a", "A photo of a CAT", "a  double   space\tand\nlines\r\n", " leading", "trailing ", "don't can't I'll you've", "it’s a curly apostrophe “quoted”", "1234567890", "3.14 and 1,000,000", "4k 8K uhd 24fps", "x1y2z3",
    "½ ² ₃ Ⅷ ① ٣ ४ 五", "hello, world! (really?) [yes] {no} a/b\\c a_b a-b a—b a…b", "!!!", "! a ! b!", "?!?!", "...", ".", "#hashtag @user https://example.org/a?b=c&d=e", "&amp; &lt;b&gt; &quot;x&quot; &#39;",
    "a camel\u00a0in\u2003the\u3000desert\u2028new\u2029line\u0085next", "zero\u200bwidth\u200cjoin\u200der\u2060", "soft\u00adhyphen", "naïve café, crème brûlée", "nai\u0308ve cafe\u0301", "Ångström A\u030angstro\u0308m", "Zürich ŁÓDŹ İstanbul ışık ǅ ß ẞ ﬁ ﬀ", "Ἀθήνα ΑΘΗΝΑΣ",
    "Привет, МИР! Ёлка", "汽车[在]路上", "a 🐶 and a 🐼!", "🐶", "🐶🐶🐶", "👨‍👩‍👧‍👦 family", "👍🏽 🇩🇪 ❤️ ☃ ✈️", "1️⃣ 2️⃣", "𝒜𝓃 𝔣𝔞𝔫𝔠𝔶 𝟙𝟚", "ＦＵＬＬ　ｗｉｄｔｈ！ ﾊﾝｶｸ", "q\u0323\u0307 q\u0307\u0323", "\u0301alone", "\x01\x02\x7f control", "\x1f unit \x1c file", "\u202eright to left\u202c",
    "\ue000private \U000f0000", "\U0010ffff end", "\ufffd", "Ω Ω K K Å Å", "supercalifragilisticexpialidocious antidisestablishmentarianism", "a" * 70, "ababababab" * 12, "word " * 75, "word " * 510, "word " * 511, "word " * 512, "word " * 700, "🐼" * 60, "🐼 " * 150, "猫" * 300, "1 " * 600 + "end", "x" * 3000,
    "a man's dog's bone", "rock'n'roll", "l'été d'Hélène", "'s", "'tis 'twas", "he said: \"it's\"", "100% $5.00 €20 £3 ¥7 §1 ©®™", "C++ c# .NET F#", "email@example.com", "snake_case camelCase kebab-case SCREAMING_CASE", "a [red car] on a road", "(a:1.2), ((b)), [c]", "photo, 35mm, f/1.8, ISO-100", "mixed漢字and latin", "e\u0301e\u0301 É é", "ﷺ", "ᾳ ᾼ ΐ", "ǰ ŉ և",
    "dž Dž DŽ", "ς σ Σ", "a▁b", "a ▁ b", "_a_", "á̂ b", "㍿ ㌔ ㎏", "ー—–-‐‑", "‘single’ „low“ «guillemets»", "\u200b", "\ufeffbom", "a\ufeffb", "a\u200b", "\u200bdog", "\x01dog", "\u00ad", "\u0300", "c̈ ǹ ŷ", "ﬃ ﬄ ﬆ", "№ ℡ ™ ℠ ℃ ℉ Å", "∑∫√∞≈≠≤≥±×÷", "←↑→↓↔⇒", "♠♥♦♣♪♫", "░▒▓█", "¿¡", "ʻokina ʼapostrophe", "ŋ ʃ ʒ ə ɪ", "אָלֶף", "مُحَمَّد", "ﻻ ﷲ", "क्षत्रिय ज्ञ", "ကြောင်လေး", "ឆ្មាខ្មៅ", "བོད་སྐད་", "ᚠᚢᚦ", "𐍈𐌰", "𓀀𓂀", "ⴰⵎⴰⵣⵉⵖ", "ꙮ", "𠮷野家", "々〆ヶ", "〜～", "・…。、", "「猫」『犬』", "①②③ ⑴ ⒈", "I II Ⅲ ⅳ", "1⁄2 ¼", "x² + y³ = z₁", "E=mc²", "\t tab \t tab", "a\u2009b\u200ab", "a\u202fb\u205fc", "\u180ea", "İ", "i̇", "ŉ", "ſ", "ʰ ʲ ˢ", "ª º", "µ μ", "…", "‥", "‼ ⁇", "Ĳ ĳ", "Ŀ ŀ", "ǆ", "⅓", "㈱", "㊙", "🈁", "🅰", "🏳️‍🌈", "👩🏿‍🚀", "🧑‍💻 codes", "☺️", "©️", "a🐶b", "🐶dog", "dog🐶", "🇺🇸🇫🇷", "<", "<a>", "<extra", "</", "a < b > c", "s>", "<0x4", "pad", "unk",
]
# Special tokens, which SentencePiece reads as letters; ▁ at the front, before which it puts another; and signs of several
# characters, of which the tokenizers library composes only short ones.
ALONE = [
    "<extra_id_0> a </s> b", "car</s>", "<unk>", "<pad> a", "<s>", "<0x41>", "▁", "▁car", "▁▁", "ｶﾞｷﾞ ガギ", "ẛ̣", "한글 \u1112\u1161\u11ab\u1100\u1173\u11af",
]
SUBJECTS = [
    "a [car] driving on a road", "[car]", "a [red car], fast", "[A Red Car] on a road", "a  [double  space]  here", "  [car] leads", "a\u3000[camel]\u3000rides", "a [dog] chasing a [red ball] and [a cat]", "a [café] in paris", "a [cafe\u0301] in paris", "ein [weißer Schäferhund] läuft", "一只 [猫] 在草地", "一只[猫]在草地上", "a [🐼] dances", "a [👨‍👩‍👧‍👦 family] walks",
    "a ([dog]) runs", "a \"[dog]\" runs", "a [dog], a cat", "[Привет] мир", "a [dog] .", "[İstanbul] x", "a [t-shirt] hangs", "l'[été] arrive", "a [dog]!", "a[dog]b", "[ＦＵＬＬ] width", "a [ﬃ] b", "[猫] and [🐶🐶]", "a [ball\tred\nround] rolls",
]


def collapsed(text):
    return re.sub(r"\s+", " ", text).strip()


def train(folder, pieces, byte_fallback, normalization, merges):
    """A tokenizer laid out as UMT5's, trained on words of CLIP's vocabulary and on SENTENCES."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [w[:-4] for w in ("".join(m.split()) for m in merges) if w.endswith("</w>") and w[:-4].isalpha()]
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary) / "words.tsv"
        lines = [f"{w}\t{math.ceil(4e4 / (rank + 10))}" for rank, w in enumerate(words[:20000])]
        corpus.write_text("".join(line + "\n" for line in lines + [f"{s}\t200" for s in SENTENCES]))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), input_format="tsv", model_prefix=f"{temporary}/spiece", vocab_size=pieces, model_type="unigram", character_coverage=0.999,
            pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", byte_fallback=byte_fallback, normalization_rule_name=normalization,
            num_threads=1, shuffle_input_sentence=False, hard_vocab_limit=False, minloglevel=2)
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString((Path(temporary) / "spiece.model").read_bytes())
    tokenizer = Tokenizer(models.Unigram([(q.piece, round(q.score, 6)) for q in proto.pieces], unk_id=3, byte_fallback=byte_fallback))
    for q in proto.pieces:
        q.score = round(q.score, 6)
    charsmap = proto.normalizer_spec.precompiled_charsmap
    precompiled = [normalizers.Precompiled(charsmap)] if charsmap else []
    tokenizer.normalizer = normalizers.Sequence(precompiled + [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>", "<unk>"] + [f"<extra_id_{i}>" for i in range(299, -1, -1)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return tokenizer, sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def parsed(prompt):
    """The text without brackets, and the characters of each subject."""
    text, subjects, start = "", [], None
    for character in prompt:
        if character == "[":
            start = len(text)
        elif character == "]":
            words = text[start:]
            subjects.append((start + len(words) - len(words.lstrip()), start + len(words.rstrip())))
        else:
            text += character
    return text, subjects


def positions(tokenizer, prompt):
    """For each subject the tokens that stand for any part of it, by the offsets in the collapsed text."""
    text, subjects = parsed(prompt)
    place = lambda end: len(collapsed("x" + text[:end] + "x")) - 2 - (text[:end] != "" and text[0].isspace())
    offsets = tokenizer.encode(collapsed(text)).offsets[:-1]
    found = []
    for start, end in subjects:
        start, end = place(start), place(end)
        found.append([i for i, (x, y) in enumerate(offsets) if x < end and start < y])
    return found


def random_text(r):
    pools = [lambda: chr(r.randrange(32, 127)), lambda: chr(r.randrange(0xA0, 0x600)), lambda: r.choice(" \t\n'’.!0123456789"), lambda: r.choice(["the ", "dog", "Car", "'s", "e", "É", "🐶", "漢", "한", "猫が", " ▁"])]
    return "".join(r.choice(r.sample(pools, r.randrange(1, 4)))() for _ in range(r.choice([1, 2, 3, 5, 10, 20, 60, 150])))


r = random.Random(0)
merges = (here / "clip-vocabulary/merges.txt").read_text().split("\n")[1:-1]
texts, others = SENTENCES + WORDS, ALONE + [random_text(r) for _ in range(a.random)]
cases, tokenizers, differ = [], {}, []
for name, pieces, byte_fallback, normalization in (("nfkc", 1500, True, "nmt_nfkc"), ("plain", 600, False, "identity")):
    tokenizers[name], spiece = train(a.out / name, pieces, byte_fallback, normalization, merges)
    cut = lambda ids: ids[: LENGTH - 1] + [1]
    ids = [[t, cut(tokenizers[name].encode(collapsed(t), add_special_tokens=False).ids)] for t in texts + others]
    different = [t for t, i in ids if i != cut(spiece.encode(collapsed(t)))]
    differ += [(name, t) for t in different if t in texts]
    cases.append({"name": name, "vocabulary": tokenizers[name].get_vocab_size(), "texts": ids, "subjects": [[s, positions(tokenizers[name], s)] for s in SUBJECTS]})
    print(name, tokenizers[name].get_vocab_size(), "ids;", len(texts), "texts;", "SentencePiece gives others to", len(different), "of", len(others), "more")
if differ:
    raise SystemExit(f"SentencePiece differs: {differ}")
(a.out / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=True) for c in cases) + "\n]\n")

# ---- the encoder
torch.manual_seed(0)
config = UMT5Config(vocab_size=-(-tokenizers["plain"].get_vocab_size() // 64) * 64, d_model=12, d_kv=8, d_ff=20, num_layers=3, num_heads=2)
encoder = UMT5EncoderModel(config).eval()
with torch.no_grad():
    for parameter in encoder.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    encoder.save_pretrained(a.out / "text_encoder")
    written = json.loads((a.out / "text_encoder/config.json").read_text()) | {"tie_word_embeddings": False, "scalable_attention": True}
    (a.out / "text_encoder/config.json").write_text(json.dumps(written, indent=2) + "\n")
    expected = {}
    for i, text in enumerate(["", "a car driving on a road", "собака 🐶", "word " * 300]):
        ids = torch.tensor([cut(tokenizers["plain"].encode(collapsed(text), add_special_tokens=False).ids)])
        expected[f"ids_{i}"], expected[f"text_{i}"] = ids[0], encoder(ids).last_hidden_state.contiguous()
        exact = encoder.double()(ids).last_hidden_state
        print("float32 is off by", float((exact - expected[f"text_{i}"]).norm() / exact.norm()))
        encoder.float()
save_file(expected, a.out / "expected.safetensors")
