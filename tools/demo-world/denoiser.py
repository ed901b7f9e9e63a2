"""The three kinds of model as one: a net that predicts, under a text, and shows where it sees the text's words.

`demo` is a UNet3DConditionModel and `demo-animatediff` a UNetMotionModel, both of diffusion with CLIP's text encoder; `demo-wan` is a
WanTransformer3DModel of flow matching with UMT5's.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel

import attention
import models
import tokenizer
import tokenizer_umt5
import world
from schedule import Schedule

WAN_TEXT = 512  # rows of a text that Wan attends to, zeros behind its tokens included


@dataclass(frozen=True)
class Kind:
    name: str
    frames: int
    folder: str
    pipeline: str

    @property
    def is_wan(self):
        return self.name == "demo-wan"

    @property
    def latent_frames(self):
        return 1 + (self.frames - 1) // 4 if self.is_wan else self.frames

    def new(self, latent_channels, vocabulary):
        """The net and its text encoder, untrained."""
        make = {"demo": models.new_unet, "demo-animatediff": models.new_unet_motion, "demo-wan": models.new_transformer}[self.name]
        text = models.new_umt5 if self.is_wan else models.new_clip_text
        return Denoiser(make(latent_channels), text(vocabulary, tokenizer.MAX_LENGTH))

    def scheduler(self):
        return models.new_flow() if self.is_wan else models.new_diffusion()

    def encoder(self, folder):
        return (tokenizer_umt5 if self.is_wan else tokenizer).Encoder(folder)


KINDS = {k.name: k for k in (Kind("demo", world.FRAMES, "unet", "TextToVideoSDPipeline"),
                             Kind("demo-animatediff", world.FRAMES, "unet", "AnimateDiffPipeline"), Kind("demo-wan", 17, "transformer", "WanPipeline"))}


def kind_of(folder) -> Kind:
    pipeline = json.loads((Path(folder) / "model_index.json").read_text())["_class_name"]
    return next(k for k in KINDS.values() if k.pipeline == pipeline)


class Denoiser(torch.nn.Module):
    """A net with its text encoder.  `layers` are the cross-attentions whose maps it shows, `grounded` those that are trained to show where."""

    def __init__(self, net, text):
        super().__init__()
        self.net, self.text = net, text
        self.is_wan, self.is_motion = hasattr(net, "blocks"), isinstance(net, UNetMotionModel)
        if self.is_wan:
            count = len(net.blocks)
            self.layers = [f"blocks.{i}.attn2" for i in range(count)]
            self.grounded = self.layers[count // 4 : count - count // 4]
        else:
            self.layers = self.grounded = attention.guidance_layers(net)
        self.store = attention.install(net, self.layers)

    def encode(self, ids):
        """Token ids [B, L] -> what the net sees of the text: features [B, L, TEXT], and for Wan scores [B, L] to add, in which one row of zeros
        stands for all of them."""
        if not self.is_wan:
            return self.text(ids)[0], None
        real = ids != 0
        features = self.text(input_ids=ids, attention_mask=real)[0] * real[..., None]
        place, count = torch.arange(ids.shape[1], device=ids.device), real.sum(1, keepdim=True)
        padding = (WAN_TEXT - count).float().log()
        scores = torch.where(place < count, torch.zeros_like(padding), torch.where(place == count, padding, torch.full_like(padding, -1e4)))
        return features, scores

    def predict(self, x, t, text, watch=False):
        """Latents [B, C, F, h, w], timesteps [B], a text -> prediction; and with `watch` {layer: map [B, F, places, L]}."""
        features, scores = text
        if self.is_motion:
            features = features.repeat_interleave(x.shape[2], 0)
        self.store.enabled, self.store.maps, self.store.scores = watch, {}, scores
        out = self.net(x, t, features, return_dict=False)[0]
        self.store.enabled = False
        maps = {}
        for name, m in self.store.maps.items():
            maps[name] = m.unflatten(1, (x.shape[2], -1)) if self.is_wan else m.unflatten(0, (-1, x.shape[2]))
        self.store.maps = {}
        return (out, maps) if watch else out

    def forward(self, x, t, ids, at):
        """at [B, K]: the subjects' token positions.  Returns the prediction and one map [B, K, F, places] a grounded layer."""
        out, maps = self.predict(x, t, self.encode(ids), watch=True)
        return out, [words(maps[name], at) for name in self.grounded]


def words(m, at):
    """Of a map [B, F, places, L] what is of the tokens at [B, K]: [B, K, F, places]."""
    chosen = F.one_hot(at, m.shape[-1]).to(m.dtype)
    return torch.einsum("bfnl,bkl->bkfn", m, chosen)


def side_of(places):
    return math.isqrt(places)


class Checkpoint:
    """A checkpoint's folder, loaded, frozen."""

    def __init__(self, folder, device):
        self.kind, self.device = kind_of(folder), device
        self.vae, net, text = models.read(folder, device)
        self.denoiser = Denoiser(net, text)
        self.schedule = Schedule.read(folder)
        self.encoder = self.kind.encoder(Path(folder) / "tokenizer")

    def ids(self, texts):
        return torch.tensor([self.encoder(t)[0] for t in texts], device=self.device)

    def at(self, texts, subjects):
        """[B, K]: where each text's subjects are; subjects: one list a text."""
        return torch.tensor([self.encoder(t, s)[1] for t, s in zip(texts, subjects)], device=self.device)

    def prompt(self, texts):
        return self.denoiser.encode(self.ids(texts))
