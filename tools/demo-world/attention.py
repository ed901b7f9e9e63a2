"""Attention processors that keep what the method reads: probabilities, averaged over heads."""

import torch


def guidance_layers(unet) -> dict[str, list[str]]:
    """The attention modules that the method reads: last down block with cross-attention, mid block, first up block
    with it.  'cross' is ordered down, mid, up."""
    down = max(i for i, b in enumerate(unet.down_blocks) if getattr(b, "has_cross_attention", False))
    up = min(i for i, b in enumerate(unet.up_blocks) if getattr(b, "has_cross_attention", False))
    blocks = [f"down_blocks.{down}", "mid_block", f"up_blocks.{up}"]
    names = [n for n, _ in unet.named_modules()]
    pick = lambda kind, attn: [n for b in blocks for n in names if n.startswith(f"{b}.{kind}.") and n.endswith(f".{attn}")]
    return {"cross": pick("attentions", "attn2"), "self": pick("attentions", "attn1"),
            "temporal": pick("temp_attentions", "attn1") + pick("temp_attentions", "attn2")}


class Store:
    """What the processors of one net keep during a forward."""

    def __init__(self):
        self.enabled, self.maps = False, {}


class KeepProbabilities:
    """Plain softmax(QK'/sqrt(d))V that leaves mean-over-heads probabilities in store.maps[name]."""

    def __init__(self, name, store):
        self.name, self.store = name, store

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        q, k, v = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
        probabilities = (q @ k.transpose(-1, -2) * attn.scale).float().softmax(-1)
        if self.store.enabled:
            self.store.maps[self.name] = probabilities.mean(1)
        out = (probabilities.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def install(unet, names) -> Store:
    store, names = Store(), set(names)
    for name, module in unet.named_modules():
        if name in names:
            module.set_processor(KeepProbabilities(name, store))
    return store


class Grounded(torch.nn.Module):
    """The UNet with the maps of its subjects' words as a second output."""

    def __init__(self, unet):
        super().__init__()
        self.unet, self.layers = unet, guidance_layers(unet)["cross"]
        self.store = install(unet, self.layers)

    def forward(self, x, t, text, at):
        """at [B, 2]: the subjects' token positions.  Returns noise [B, 4, F, h, w] and one map [B, 2, F, cells] a layer."""
        self.store.enabled = True
        noise = self.unet(x, t, text, return_dict=False)[0]
        self.store.enabled = False
        frames = x.shape[2]
        chosen = torch.nn.functional.one_hot(at, text.shape[1]).float()  # [B, 2, L]
        maps = [torch.einsum("bfnl,bsl->bsfn", self.store.maps[name].unflatten(0, (-1, frames)), chosen) for name in self.layers]
        return noise, maps


def faster_temporal_convolutions(unet):
    """For training only: (3, 1, 1) convolutions over [B, C, F, H, W] as 2-D ones over [B, C, F, H*W] - the same sums,
    but in the layout that the picture convolutions leave and that GPUs are quick at."""

    def forward(self, x):
        flat = torch.nn.functional.conv2d(x.flatten(3), self.weight[..., 0], self.bias, padding=(1, 0))
        return flat.unflatten(3, x.shape[3:])

    for module in unet.modules():
        if isinstance(module, torch.nn.Conv3d):
            assert module.kernel_size == (3, 1, 1) and module.padding == (1, 0, 0)
            module.forward = forward.__get__(module)
        elif isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
