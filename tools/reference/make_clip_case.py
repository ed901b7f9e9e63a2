"""Write a parity case of CLIP: a small random CLIPModel in the Hugging Face layout, texts, pictures, and what transformers
computes from them in float32 on the CPU.

    python make_clip_case.py OUT --seed 0
    python make_clip_case.py OUT --seed 3 --act gelu --eos own --image 48 --patch 16 --pictures 90x60,31x77 ...

OUT/model/                the model: config.json preprocessor_config.json vocab.json merges.txt ... and weights
OUT/case.json             {"clip": {"texts": [...]}}
OUT/inputs.safetensors    picture_0 [H,W,3] uint8, picture_1, ...
OUT/expected.safetensors  text_embeds [texts,features], image_embeds [pictures,features], pixel_values [pictures,3,S,S]

Needs: torch transformers safetensors numpy pillow, and CLIP's BPE vocabulary, as make_case.py.
"""

import argparse
import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("out", type=Path)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--hidden", default="32,48", help="of the text and the vision tower")
p.add_argument("--layers", default="2,2")
p.add_argument("--heads", default="4,4")
p.add_argument("--projection", type=int, default=24)
p.add_argument("--act", default="quick_gelu")
p.add_argument("--image", type=int, default=32)
p.add_argument("--patch", type=int, default=8)
p.add_argument("--eos", choices=["legacy", "own"], default="legacy",
               help="legacy: eos_token_id is 2, as in OpenAI's configs; own: the tokenizer's")
p.add_argument("--pad-token", default="<|endoftext|>")
p.add_argument("--layout", choices=["safetensors", "half", "bin"], default="safetensors",
               help="half: float16 safetensors; bin: a pickled .bin file with position_ids, and sizes as plain numbers")
p.add_argument("--pictures", default="60x40,40x60,32x32,20x28,131x57", help="WxH of each")
p.add_argument("--texts", nargs="+", default=["a camel riding on a desert road, golden hour", "two dogs", ""])
p.add_argument("--vocabulary", type=int, default=49152 - 256 - 2, metavar="N", help="as make_case.py")
p.add_argument("--bpe", type=Path)
a = p.parse_args()

torch.manual_seed(a.seed)
pair = lambda s: tuple(int(x) for x in s.split(","))
(text_hidden, vision_hidden), (text_layers, vision_layers), (text_heads, vision_heads) = map(pair, (a.hidden, a.layers, a.heads))
vocab_size = 2 * 256 + a.vocabulary + 2  # as make_case.py
eos = 2 if a.eos == "legacy" else vocab_size - 1
config = CLIPConfig(
    text_config=dict(vocab_size=vocab_size, hidden_size=text_hidden, intermediate_size=2 * text_hidden, hidden_act=a.act,
                     num_hidden_layers=text_layers, num_attention_heads=text_heads, max_position_embeddings=77,
                     bos_token_id=0 if eos == 2 else vocab_size - 2, eos_token_id=eos),
    vision_config=dict(hidden_size=vision_hidden, intermediate_size=2 * vision_hidden, hidden_act=a.act,
                       num_hidden_layers=vision_layers, num_attention_heads=vision_heads, image_size=a.image, patch_size=a.patch),
    projection_dim=a.projection)
clip = CLIPModel(config)
with torch.no_grad():  # away from zeros and ones, so that every weight matters
    for q in clip.parameters():
        q.add_(torch.randn_like(q) * 0.05)
        if a.layout == "half":
            q.copy_(q.half().float())
clip.eval().requires_grad_(False)

# ---- model
model = a.out / "model"
model.mkdir(parents=True, exist_ok=True)
clip.save_pretrained(model)
for file in model.glob("*.safetensors"):
    file.unlink()
state = {k: v.contiguous() for k, v in clip.state_dict().items()}
if a.layout == "bin":
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange((a.image // a.patch) ** 2 + 1)[None]
    torch.save(state, model / "pytorch_model.bin")
else:
    save_file({k: v.half() if a.layout == "half" else v for k, v in state.items()}, model / "model.safetensors",
              metadata={"format": "pt"})
processor = CLIPImageProcessorPil(size={"shortest_edge": a.image}, crop_size={"height": a.image, "width": a.image})
preprocessor = {"do_resize": True, "size": processor.size["shortest_edge"], "resample": 3, "do_center_crop": True,
                "crop_size": a.image, "do_normalize": True, "image_mean": list(processor.image_mean),
                "image_std": list(processor.image_std), "feature_extractor_type": "CLIPFeatureExtractor"}
if a.layout != "bin":
    preprocessor |= {"size": {"shortest_edge": a.image}, "crop_size": {"height": a.image, "width": a.image},
                     "do_rescale": True, "rescale_factor": 1 / 255, "image_processor_type": "CLIPImageProcessor"}
(model / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
if a.bpe is None:
    a.bpe = Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
merges = gzip.open(a.bpe).read().decode().split("\n")[1 : a.vocabulary + 1]
bytes_ = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
chars = [chr(b) for b in bytes_] + [chr(256 + i) for i in range(256 - len(bytes_))]
vocab = chars + [c + "</w>" for c in chars] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
assert len(vocab) == vocab_size, f"{a.bpe} holds {len(merges)} merges, --vocabulary asks for {a.vocabulary}"
(model / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocab)}, ensure_ascii=False))
(model / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": a.pad_token}
(model / "special_tokens_map.json").write_text(json.dumps(special))
(model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}))

# ---- inputs: smooth pictures with a few hard edges
random = np.random.default_rng(a.seed)
pictures = []
for size in a.pictures.split(","):
    w, h = (int(x) for x in size.split("x"))
    y, x = np.mgrid[0:h, 0:w] / max(w, h)
    waves = [np.sin(2 * np.pi * (u * x + v * y + o)) for u, v, o in random.uniform(-9, 9, (3, 3))]
    picture = 127.5 + 100 * np.stack(waves, -1) + random.normal(0, 12, (h, w, 3))
    picture[h // 4 : h // 2, w // 3 : w // 2] = random.choice([0, 255], 3)
    pictures.append(picture.clip(0, 255).astype(np.uint8))

# ---- what transformers makes of them
tokenizer = CLIPTokenizer.from_pretrained(model)
loaded = CLIPModel.from_pretrained(model, dtype=torch.float32).eval()
tokens = tokenizer(a.texts, padding=True, truncation=True, return_tensors="pt")
pixels = torch.cat([processor(picture, return_tensors="pt").pixel_values for picture in pictures])
with torch.no_grad():
    output = loaded(**tokens, pixel_values=pixels)
expected = {"text_embeds": output.text_embeds, "image_embeds": output.image_embeds, "pixel_values": pixels}
save_file({k: v.contiguous() for k, v in expected.items()}, a.out / "expected.safetensors")
save_file({f"picture_{i}": torch.from_numpy(picture) for i, picture in enumerate(pictures)}, a.out / "inputs.safetensors")
(a.out / "case.json").write_text(json.dumps({"clip": {"texts": a.texts}}, indent=2, ensure_ascii=False))
