"""Wan's VAE on whole clips at once, by convolutions over pictures: what diffusers' AutoencoderKLWan computes part by part.

A clip is [B * T, channels, height, width], T frames of each of B clips.  A causal convolution over three frames is one over a picture
with the channels of all three: the same sums, in the layout that GPUs are quick at.  `check` compares with diffusers.

    python wan_vae.py     # checks
"""

import torch
import torch.nn.functional as F


def causal(conv, x, t, stride=1):
    """Kernel (3, k, k) with zeros before the first frame, or, with stride 2, (3, 1, 1) without."""
    frames = x.permute(0, 2, 3, 1).unflatten(0, (-1, t))  # channels last, as they lie in memory
    if stride == 1:
        frames = F.pad(frames, (0, 0, 0, 0, 0, 0, 2, 0))
    three = torch.cat([frames[:, :-2:stride], frames[:, 1:-1:stride], frames[:, 2::stride]], -1)
    weight, bias, colours = conv.weight.transpose(1, 2).flatten(1, 2), conv.bias, conv.weight.shape[0]
    missing = -weight.shape[1] % 8
    if missing:  # from colours: channels of zeros, since GPUs are quick at multiples of eight
        three, weight = F.pad(three, (0, missing)), F.pad(weight, (0, 0, 0, 0, 0, missing))
    if colours == 3:  # to colours, likewise
        weight, bias = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, 5)), F.pad(bias, (0, 5))
    x = three.flatten(0, 1).permute(0, 3, 1, 2)
    out = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last), bias, padding=weight.shape[-1] // 2)
    return out[:, :3] if colours == 3 else out


def pointwise(conv, x):
    return F.conv2d(x, conv.weight[:, :, 0], conv.bias)


def norm(layer, x):
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).clamp(min=1e-12)
    return (x * (layer.scale / length)).to(x.dtype) * layer.gamma.view(1, -1, 1, 1)


def residual(block, x, t):
    short = x if isinstance(block.conv_shortcut, torch.nn.Identity) else pointwise(block.conv_shortcut, x)
    x = causal(block.conv1, F.silu(norm(block.norm1, x)), t)
    return short + causal(block.conv2, F.silu(norm(block.norm2, x)), t)


def attention(block, x):
    q, k, v = block.to_qkv(norm(block.norm, x)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
    out = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
    return x + block.proj(out)


def middle(block, x, t):
    x = residual(block.resnets[0], x, t)
    return residual(block.resnets[1], attention(block.attentions[0], x), t)


def resample(layer, x, t):
    """Half or twice the size, and with 3d of the frames; returns also how many frames it has now."""
    if layer.mode == "upsample3d" and t > 1:
        frames = x.unflatten(0, (-1, t))
        later = causal(layer.time_conv, frames[:, 1:].flatten(0, 1), t - 1)
        even, odd = later.unflatten(0, (-1, t - 1)).chunk(2, 2)
        later = torch.stack([even, odd], 2).flatten(1, 2)
        x, t = torch.cat([frames[:, :1], later], 1).flatten(0, 1), 2 * t - 1
    if layer.mode.startswith("upsample"):
        x = layer.resample[1](F.interpolate(x, scale_factor=2, mode="nearest"))
    else:
        x = layer.resample[1](F.pad(x, (0, 1, 0, 1)))
    if layer.mode == "downsample3d" and t > 1:
        first = x.unflatten(0, (-1, t))[:, :1]
        later = causal(layer.time_conv, x, t, stride=2).unflatten(0, (-1, (t - 1) // 2))
        x, t = torch.cat([first, later], 1).flatten(0, 1), (t + 1) // 2
    return x, t


def encode(vae, video):
    """Clips [B, T, 3, H, W] -> mean and log variance [B, f, z, h, w]."""
    net, t, b = vae.encoder, video.shape[1], len(video)
    x = causal(net.conv_in, video.flatten(0, 1), t)
    for layer in net.down_blocks:
        if hasattr(layer, "resample"):
            x, t = resample(layer, x, t)
        else:
            x = residual(layer, x, t)
    x = middle(net.mid_block, x, t)
    x = causal(net.conv_out, F.silu(norm(net.norm_out, x)), t)
    return pointwise(vae.quant_conv, x).unflatten(0, (b, t)).chunk(2, 2)


def decode(vae, z):
    """[B, f, z, h, w] -> [B, T, 3, H, W], not clamped."""
    net, b, t = vae.decoder, *z.shape[:2]
    x = causal(net.conv_in, pointwise(vae.post_quant_conv, z.flatten(0, 1)), t)
    x = middle(net.mid_block, x, t)
    for block in net.up_blocks:
        for layer in block.resnets:
            x = residual(layer, x, t)
        if block.upsamplers is not None:
            x, t = resample(block.upsamplers[0], x, t)
    return causal(net.conv_out, F.silu(norm(net.norm_out, x)), t).unflatten(0, (b, t))


def statistics(vae, like):
    """Mean and deviation of each channel as its config has them, for latents [B, f, z, h, w]."""
    each = lambda v: torch.tensor(v, device=like.device).view(1, 1, -1, 1, 1)
    return each(vae.config.latents_mean), each(vae.config.latents_std)


@torch.no_grad()
def check():
    import models

    torch.manual_seed(0)
    vae = models.new_vae_wan(8, (1, 2, 2, 2), 4).eval()
    for p in vae.parameters():
        p.add_(0.05 * torch.randn_like(p))
    for frames in (17, 5, 1):
        video = torch.rand(2, frames, 3, 32, 48) * 2 - 1
        mean, _ = encode(vae, video)
        want = vae.encode(video.transpose(1, 2)).latent_dist.mean.transpose(1, 2)
        made, back = decode(vae, mean).clamp(-1, 1), vae.decode(want.transpose(1, 2)).sample.transpose(1, 2)
        off = [float((a - b).norm() / b.norm()) for a, b in ((mean, want), (made, back))]
        print(f"{frames} frames: latents {tuple(mean.shape)}, off by {off[0]:.1e} and {off[1]:.1e}")
        assert max(off) < 1e-5


if __name__ == "__main__":
    check()
