"""Attention processors that keep what the method reads: probabilities, averaged over heads."""

import torch


def guidance_layers(unet) -> list[str]:
    """The cross-attentions that the method reads: of the last block with them on the way down, the middle, the first on the way up."""
    down = max(i for i, b in enumerate(unet.down_blocks) if getattr(b, "has_cross_attention", False))
    up = min(i for i, b in enumerate(unet.up_blocks) if getattr(b, "has_cross_attention", False))
    names = [n for n, _ in unet.named_modules()]
    return [n for b in (f"down_blocks.{down}", "mid_block", f"up_blocks.{up}") for n in names
            if n.startswith(f"{b}.attentions.") and n.endswith(".attn2")]


class Store:
    """What the processors of one net keep during a forward, and the scores that they add to each key's, [B, keys] or None."""

    def __init__(self):
        self.enabled, self.maps, self.scores = False, {}, None


class KeepProbabilities:
    """Plain attention that leaves mean-over-heads probabilities in store.maps[name]; a UNet's or Wan's."""

    def __init__(self, name, store):
        self.name, self.store = name, store

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if getattr(attn, "norm_q", None) is not None:
            q, k = attn.norm_q(q), attn.norm_k(k)
        q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
        scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float()
        if self.store.scores is not None:
            scores = scores + self.store.scores[:, None, None]
        probabilities = scores.softmax(-1)
        if self.store.enabled:
            self.store.maps[self.name] = probabilities.mean(1)
        out = (probabilities.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def install(net, names) -> Store:
    store, names = Store(), set(names)
    for name, module in net.named_modules():
        if name in names:
            module.set_processor(KeepProbabilities(name, store))
    return store


def faster_temporal_convolutions(unet):
    """For training only: (3, 1, 1) convolutions over [B, C, F, H, W] as 2-D ones over [B, C, F, H*W] - the same sums,
    but in the layout that the picture convolutions leave and that GPUs are quick at."""

    def forward(self, x):
        flat = torch.nn.functional.conv2d(x.flatten(3), self.weight[..., 0], self.bias, padding=(1, 0))
        return flat.unflatten(3, x.shape[3:])

    for module in unet.modules():
        if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 1, 1):
            module.forward = forward.__get__(module)
        elif isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
