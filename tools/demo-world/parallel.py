"""Training on one device or several: start a script by itself, or with torchrun, one process a GPU."""

import os

import torch
import torch.distributed as dist


def start():
    """(rank, number of processes, device)."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    else:
        device = torch.device("cpu")
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return rank, world, device


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def stop():
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters):
    """Every process gets the mean gradient, in one exchange."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([g.numel() for g in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients)])


def agree(value: float) -> float:
    """Rank 0's value, everywhere: so that all processes see the same clock."""
    if not dist.is_initialized():
        return value
    box = torch.tensor([value], dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    dist.broadcast(box, 0)
    return float(box)


def same_start(parameters):
    """Rank 0's weights, everywhere."""
    if dist.is_initialized():
        for p in parameters:
            dist.broadcast(p.data, 0)
