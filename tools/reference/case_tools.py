"""What the scripts that write parity cases share: prompts and tokenizers, random weights and their files, what the
method makes of them, the check of float32 against float64, and the files of a case."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
import re
import tempfile
from pathlib import Path
from unittest.mock import patch

import diffusers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import motionflow_arch as arch
import motionflow_ref as mf

MOST_ROUNDING = 5e-5  # half of what the Rust program may be off
LEAST_MARGIN = 2e-6  # of a map's values to the masks' threshold, in shares of the maximum: rounding decides what is nearer

for library in (diffusers, transformers):
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()


# ------------------------------------------------------------------------------------------------------- arguments
def parser(doc, **defaults):
    """The arguments that every script has; `defaults` are those of this architecture."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--frames", type=int)
    p.add_argument("--latent", default="8x12", help="HxW of the latents")
    p.add_argument("--text-layers", type=int, default=2)
    p.add_argument("--steps", type=int, default=6)
    p.add_argument("--guided-steps", type=int, default=3)
    p.add_argument("--guidance-scale", type=float, default=5.0)
    p.add_argument("--tau", type=float, default=0.4)
    p.add_argument("--lr", type=float, default=5.0)
    p.add_argument("--weights", help="of the losses: cross,self,temporal")
    p.add_argument("--source-prompt", default="a [car] driving on a road", help="[] marks a subject; several are allowed")
    p.add_argument("--prompt", default="a [camel] riding on a desert road, golden hour")
    p.add_argument("--negative-prompt", default="blurry")
    p.add_argument("--sharpness", type=float, default=4.0, help="scale of the queries: peaked attention")
    p.add_argument("--bpe", type=Path, help="bpe_simple_vocab_16e6.txt.gz, where open_clip is not installed")
    p.set_defaults(**defaults)
    return p


def settings(a):
    weights = dict(zip(arch.KINDS, (float(x) for x in a.weights.split(",")), strict=True))
    return mf.Settings(steps=a.steps, guided_steps=a.guided_steps, guidance_scale=a.guidance_scale, tau=a.tau, lr=a.lr, weights=weights)


def ints(text):
    return tuple(int(x) for x in text.split(","))


def size(text):
    return tuple(int(x) for x in text.split("x"))


# --------------------------------------------------------------------------------------------------------- prompts
def parse_prompt(prompt):
    r"""'a [red car], \[sic\]' -> ('a red car, [sic]', [(2, 9)]): the text without marks, and the characters of each
    subject."""
    text, subjects, start = "", [], None
    for escaped, mark, other in re.findall(r"\\([\[\]])|([\[\]])|([\s\S])", prompt):
        if mark == "[":
            start = len(text)
        elif mark == "]":
            words = text[start:]
            begin = start + len(words) - len(words.lstrip())
            subjects.append((begin, begin + len(words.strip())))
        text += escaped or other
    return text, subjects


def positions(offsets, subjects):
    """For each subject the positions of the tokens that stand for any part of it."""
    return [[i for i, (a, b) in enumerate(offsets) if a < end and start < b] for start, end in subjects]


# ------------------------------------------------------------------------------------------------------ tokenizers
def clip_merges(bpe):
    bpe = bpe or Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    return gzip.open(bpe).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]


def write_clip_tokenizer(folder, merges, pad_token):
    """CLIP's tokenizer as published (vocab.json, merges.txt), with the first of its merges.  -> vocabulary size"""
    codes = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars = [chr(b) for b in codes] + [chr(256 + i) for i in range(256 - len(codes))]
    vocab = chars + [c + "</w>" for c in chars] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad_token}
    write(folder / "vocab.json", {v: i for i, v in enumerate(vocab)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    write(folder / "special_tokens_map.json", special)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special})
    return len(vocab)


def write_umt5_tokenizer(folder, merges, pieces, extra_ids, byte_fallback, normalization):
    """A SentencePiece unigram tokenizer laid out as UMT5's (tokenizer.json, spiece.model), trained here on the words
    of CLIP's vocabulary, the earlier the more frequent.  -> number of ids, extra ids included"""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    folder.mkdir(parents=True, exist_ok=True)
    words = [w[:-4] for w in ("".join(m.split()) for m in merges) if w.endswith("</w>") and w[:-4].isalpha()]
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary) / "words.tsv"
        corpus.write_text("".join(f"{w}\t{math.ceil(4e4 / (rank + 10))}\n" for rank, w in enumerate(words)))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), input_format="tsv", model_prefix=f"{temporary}/spiece", vocab_size=pieces, model_type="unigram",
            pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", byte_fallback=byte_fallback, normalization_rule_name=normalization,
            num_threads=1, shuffle_input_sentence=False, hard_vocab_limit=False, minloglevel=2)
        trained = (Path(temporary) / "spiece.model").read_bytes()
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(trained)
    for path in ("input", "model_prefix"):  # of the temporary folder
        proto.trainer_spec.ClearField(path)
    (folder / "spiece.model").write_bytes(proto.SerializeToString(deterministic=True))
    charsmap = proto.normalizer_spec.precompiled_charsmap

    tokenizer = Tokenizer(models.Unigram([(p.piece, p.score) for p in proto.pieces], unk_id=3, byte_fallback=byte_fallback))
    precompiled = [normalizers.Precompiled(charsmap)] if charsmap else []
    tokenizer.normalizer = normalizers.Sequence(precompiled + [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])
    sentinels = [f"<extra_id_{i}>" for i in range(extra_ids)]
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>", "<unk>"] + sentinels[::-1])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write(folder / "special_tokens_map.json", {"additional_special_tokens": sentinels, **special})
    write(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": extra_ids, "additional_special_tokens": sentinels,
                                             "model_max_length": 1000000000000000019884624838656, "legacy": True, **special})
    return tokenizer.get_vocab_size()


# --------------------------------------------------------------------------------------------------------- weights
@torch.no_grad()
def randomise(*modules):
    """diffusers zero-initialises some projections; a parity case must exercise every weight."""
    for module in modules:
        for q in module.parameters():
            q.add_(torch.randn_like(q) * 0.02)
        module.eval().requires_grad_(False)


def save_net(module, folder, layout="safetensors", shard="10GB"):
    """A net's folder as published: safetensors in shards of at most `shard`; 'bin' pickles instead, 'legacy' has the
    key names of files published before 2023 too."""
    name = type(module).__name__
    module.save_pretrained(folder, max_shard_size=shard)
    if layout == "safetensors" and name != "CLIPTextModel":
        return
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    state = {k: v.contiguous() for k, v in module.state_dict().items()}
    if name == "CLIPTextModel":  # files published before transformers 5 carry this prefix
        state = {k if k.startswith("text_model.") else "text_model." + k: v for k, v in state.items()}
        if layout == "legacy":
            state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if layout == "legacy" and name == "AutoencoderKL":
        for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
            state = {k.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): v for k, v in state.items()}
    if layout == "safetensors":
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(state, folder / ("pytorch_model.bin" if name == "CLIPTextModel" else "diffusion_pytorch_model.bin"))


# ------------------------------------------------------------------------------------------------------ the method
def method_tensors(net, z0, texts, subjects, s):
    """What the method makes of z0, by the names that a case has for it.  Of the k-th subject from the second on the
    names of maps and masks end in '/k'."""
    (source, target, negative), (source_subjects, target_subjects) = texts, subjects
    found = {}
    inverted, maps = arch.invert(net, z0, source, source_subjects, s.steps)
    masks = {key: arch.masks_of(entry, s.tau) for key, entry in maps.items()}
    found["inverted"] = inverted
    for kind, by_key in (("map", maps), ("mask", masks)):
        for key, entry in by_key.items():
            for k, layers in enumerate(entry):
                for layer, value in layers.items():
                    name = f"{kind}/{key}/{layer}" + (f"/{k}" if k else "")
                    found[name] = value.to(torch.uint8) if kind == "mask" else value
    first = net.steps(s.steps)[-1]
    loss, parts, found["gradient"] = arch.update_gradient(net, inverted, first, target, masks[first.key], target_subjects, s.weights)
    found["loss"] = torch.stack([loss] + [parts.get(kind, torch.zeros_like(loss)) for kind in arch.KINDS])
    found["generated"], history = arch.generate(net, inverted, masks, target, negative, target_subjects, s)
    found["loss_history"] = torch.stack(history) if history else torch.zeros(0)
    plain = mf.Settings(**{**s.__dict__, "update": False})
    found["generated_without_updates"], _ = arch.generate(net, inverted, masks, target, negative, target_subjects, plain)
    return found


def coverage(tensors):
    return float(torch.cat([v.flatten().float() for k, v in tensors.items() if k.startswith("mask/")]).mean())


def relative(a, b):
    """‖a − b‖/‖b‖; 0 where both are nothing."""
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm().clamp(min=1e-30)) if b.numel() else float(a.numel())


def margin(tensors, tau):
    """How near a map comes to the masks' threshold, in shares of its frame's maximum."""
    shares = (v.double() / v.double().amax(-1, keepdim=True) for k, v in tensors.items() if k.startswith("map/"))
    return min(float((share - tau).abs().min()) for share in shares)


def in_both_precisions(compute, tau):
    """compute(dtype) in float32, refused where float32 itself is far from float64, or would decide a pixel of the masks.
    -> tensors, {worst: its error}"""
    found = compute(torch.float32)
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        exact = compute(torch.float64)
    if not 0.05 < coverage(found) < 0.95:
        raise SystemExit(f"the masks cover {coverage(found):.2f} of the places, which says nothing: take another --seed or --sharpness")
    if (nearest := margin(found, tau)) < LEAST_MARGIN:
        raise SystemExit(f"a map comes as near as {nearest:.1e} to the threshold of the masks: take another --seed")
    rounding = {name: relative(found[name], exact[name]) for name in found}
    worst = max(rounding, key=lambda name: math.inf if math.isnan(rounding[name]) else rounding[name])
    if not rounding[worst] <= MOST_ROUNDING:
        raise SystemExit(f"float32 itself is off by {rounding[worst]:.1e} in '{worst}' of this case, more than {MOST_ROUNDING}: take another --seed")
    return found, {worst: rounding[worst]}


def different_weights(ours, read):
    """How many tensors are not the same, bit for bit, in a net and in the same read from its files."""
    ours, read = ours.state_dict(), read.state_dict()
    return len(ours.keys() ^ read.keys()) + sum(not torch.equal(value, read[name]) for name, value in ours.items() if name in read)


def check_pipeline(name, checks):
    """`checks`: how far off diffusers' own pipeline is.  Plain attention in the guidance layers differs from its fused
    one by rounding, which grows over the steps ('latents'); all else must be the same."""
    wrong = {k: v for k, v in checks.items() if not v <= (MOST_ROUNDING if k == "latents" else 1e-6)}
    if wrong:
        raise SystemExit(f"not what {name} computes: {wrong}")


# ----------------------------------------------------------------------------------------------------------- files
def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False))


def write_case(a, architecture, net, subjects, s, inputs, expected, **more):
    (source, target) = subjects
    for name, tensors in (("inputs", inputs), ("expected", expected)):
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, a.out / f"{name}.safetensors")
    write(a.out / "case.json", {
        "architecture": architecture,
        "source_prompt": a.source_prompt, "prompt": a.prompt, "negative_prompt": a.negative_prompt,
        "source_tokens": source[0], "target_tokens": target[0], "source_subjects": source, "target_subjects": target,
        "guidance_layers": net.layers,
        "settings": {"steps": s.steps, "guided_steps": s.guided_steps, "guidance_scale": s.guidance_scale, "tau": s.tau,
                     "lr": s.lr, "weights": s.weights}, **more})


def report(expected, rounding, pipeline, **more):
    """One line of JSON: figures that say whether the case says anything, and how it was checked."""
    print(json.dumps({
        "loss": expected["loss"].tolist(), "history": expected["loss_history"].tolist(), "grad_norm": float(expected["gradient"].norm()),
        "moved_by_guidance": relative(expected["generated"], expected["generated_without_updates"]),
        "mask_coverage": coverage(expected), "tensors": len(expected), "rounding": rounding, "pipeline": pipeline, **more}))
