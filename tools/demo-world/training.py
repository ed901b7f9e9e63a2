"""What all trainings share: a schedule by the clock, weights in float32 beside those that compute, their running average, and reports."""

import argparse
import copy
import math
import time
from pathlib import Path

import torch

import parallel


def options(description, seconds):
    """A parser with the options that trainings share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=seconds, help="of the whole schedule, compilation included")
    parser.add_argument("--elapsed", type=float, default=0, help="seconds of the schedule that lie behind --resume")
    parser.add_argument("--resume", type=Path, help="folder of what was trained, to go on from")
    parser.add_argument("--compile-after", type=Path, help="compile once this file is there; see --rehearse")
    parser.add_argument("--rehearse", action="store_true", help="take a few steps, as it is and compiled, and tell how fast they are")
    return parser


class Quick:
    """A module that computes as it is until `ready` is there, and compiled from then on: compilation takes a minute or more, unless another process
    (`rehearse`) has left it in the cache.  Where compilation fails, it says so and goes on without."""

    def __init__(self, module, ready=None):
        self.module, self.call, self.ready, self.calls = module, module, ready, 0

    def __call__(self, *inputs):
        self.calls += 1
        if self.ready is not None and self.calls % 20 == 1 and self.ready.exists():
            self.ready, begin = None, time.time()
            try:
                compiled = torch.compile(self.module, dynamic=False)
                out = compiled(*inputs)
                self.call = compiled
                print(f"compiled in {time.time() - begin:.0f} s", flush=True)
                return out
            except Exception as error:
                print(f"goes on without compilation, which failed: {type(error).__name__}: {str(error)[:400]}", flush=True)
        return self.call(*inputs)


def sums_first(net):
    """For training only: group norms by sums over each channel, which lie well in memory where channels are last, as diffusers' convolutions leave
    them here; then over the channels of a group.  The same values, to rounding."""

    def forward(self, x):
        over, value = tuple(range(2, x.ndim)), x.float()
        groups = lambda v: v.unflatten(1, (self.num_groups, -1)).mean(2, keepdim=True)
        mean, square = groups(value.mean(over)), groups((value * value).mean(over))
        inverse = (square - mean * mean).clamp(min=0).add(self.eps).rsqrt()
        scale = self.weight.float() * inverse.expand(-1, -1, x.shape[1] // self.num_groups).flatten(1)
        shift = self.bias.float() - mean.expand(-1, -1, x.shape[1] // self.num_groups).flatten(1) * scale
        wide = lambda v: v.view(*v.shape, *[1] * len(over))
        return (value * wide(scale) + wide(shift)).to(x.dtype)

    for module in net.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = forward.__get__(module)


def rehearse(name, step, module, samples):
    """Takes a few steps with a module as it is and compiled, and says how fast each is and where the time goes; the cache keeps what was compiled.
    step: a function of what computes."""
    def pace(call, steps):
        step(call)
        step(call)
        sync()
        begin = time.time()
        for _ in range(steps):
            step(call)
        sync()
        return (time.time() - begin) / steps

    gpu = torch.cuda.is_available()
    sync = torch.cuda.synchronize if gpu else lambda: None
    said = lambda how, each, more="": print(f"{name} {how}: {1000 * each:.1f} ms a step, {samples / each:.0f} samples/s{more}", flush=True)
    said("as it is", pace(module, 5 if gpu else 2))
    if gpu:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]) as seen:
            for _ in range(3):
                step(module)
            sync()
        print(seen.key_averages().table(sort_by="self_device_time_total", row_limit=25, max_name_column_width=70), flush=True)
        begin, compiled = time.time(), torch.compile(module, dynamic=False)
        step(compiled)
        sync()
        took = time.time() - begin
        said("compiled", pace(compiled, 10), f", after {took:.0f} s; {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


class Learner:
    """A module that learns until its time is up.

    `live` computes: in bfloat16 with `half`, and on a GPU in the layout that convolutions are quick in.  `master` has the weights in float32,
    and is `live` without `half`; `average` is their running average, in float32.
    """

    def __init__(self, module, device, rate, seconds, elapsed=0.0, half=True, warm=200, decay=0.999, weight_decay=1e-2, begin=None):
        self.begin = (begin or time.time()) - elapsed
        self.seconds, self.rate, self.warm, self.decay, self.steps = seconds, rate, warm, decay, 0
        self.master = module.to(device)
        parallel.same_start(self.master.parameters())
        self.average = copy.deepcopy(self.master).requires_grad_(False).eval()
        self.live = copy.deepcopy(self.master).bfloat16() if half else self.master
        self.half, self.done = half, elapsed / seconds
        pick = lambda m: [a for a, b in zip(m.parameters(), self.master.parameters()) if b.requires_grad]
        self.live_weights, self.averages, self.weights = pick(self.live), pick(self.average), pick(self.master)
        self.optimizer = torch.optim.AdamW(self.weights, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=device.type == "cuda")

    def elapsed(self):
        return time.time() - self.begin

    def tick(self):
        """What of the schedule is done, the same in all processes; 1 when the time is up."""
        if self.steps % 10 == 0:
            self.done = parallel.agree(self.elapsed() / self.seconds)
        return self.done

    def learn(self, loss):
        """One step down the loss; returns the gradient's norm."""
        for weight in self.live_weights:
            weight.grad = None
        loss.backward()
        if self.half:
            for weight, live in zip(self.weights, self.live_weights):
                weight.grad = None if live.grad is None else live.grad.float()
        parallel.average_gradients(self.weights)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.param_groups[0]["lr"] = self.rate * min(1, (self.steps + 1) / self.warm) * 0.5 * (1 + math.cos(math.pi * min(1, self.done)))
        self.optimizer.step()
        self.steps += 1
        torch._foreach_lerp_(self.averages, [w.detach() for w in self.weights], 1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))
        if self.half:
            torch._foreach_copy_([w.data for w in self.live_weights], [w.detach() for w in self.weights])
        return norm

    def compute_with(self, module):
        """Puts the weights of `average` or `master` into what computes; without `half` only the average's, and back."""
        if not self.half:
            mine = [w.data for w in self.live_weights]
            if module is self.average:
                self.kept = [w.clone() for w in mine]
                torch._foreach_copy_(mine, self.averages)
            else:
                torch._foreach_copy_(mine, self.kept)
            return
        torch._foreach_copy_([w.data for w in self.live.parameters()], [w.detach() for w in module.parameters()])


class Report:
    """Prints means of what was added, and how fast it goes, every few seconds."""

    def __init__(self, name, learner, samples, every=10.0):
        self.name, self.learner, self.samples, self.every = name, learner, samples, every
        self.rank = parallel.rank()
        self.last, self.last_step, self.values = time.time(), 0, {}

    def add(self, **values):
        for name, value in values.items():
            self.values.setdefault(name, []).append(value.detach())

    def due(self):
        return time.time() - self.last > self.every or self.learner.steps == 1

    def show(self, more=""):
        learner = self.learner
        means = {name: float(torch.stack(v).float().mean()) for name, v in self.values.items()}
        now = time.time()
        pace = (learner.steps - self.last_step) / max(now - self.last, 1e-9)
        if self.rank == 0:
            print(f"{self.name} step {learner.steps} {learner.elapsed():.0f} s {pace:.1f} steps/s {pace * self.samples:.0f} samples/s "
                  + " ".join(f"{n} {v:.4f}" for n, v in means.items()) + more, flush=True)
        self.last, self.last_step, self.values = now, learner.steps, {}


def check():
    """That a training goes on alike when it goes on compiled, and where it cannot; and that sums_first changes nothing.  On the CPU, in a minute."""
    import tempfile
    from pathlib import Path

    def losses(switches, compiler=torch.compile):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GroupNorm(2, 8), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 3, padding=1))
        learner = Learner(net, torch.device("cpu"), 1e-2, 1e9, warm=1)
        sums_first(learner.live)
        ready = Path(tempfile.mkdtemp()) / "ready"
        call, real, found = Quick(learner.live, ready), torch.compile, []
        torch.compile = compiler
        for step in range(60):
            if step == 25 and switches:
                ready.touch()
            x = torch.randn(2, 3, 8, 8)
            loss = (call(x.bfloat16()).float() - x).square().mean()
            learner.learn(loss)
            found.append(loss.item())
        torch.compile = real
        return torch.tensor(found), call.call is not call.module

    def fails(module):
        raise RuntimeError("no compiler")

    (plain, _), (switched, has), (failed, hasnt) = losses(False), losses(True), losses(True, fails)
    print(f"went on compiled: {has}, off by {float((plain - switched).abs().max() / plain.max()):.1e} at most; without: {not hasnt}")
    assert has and not hasnt and torch.equal(plain, failed) and torch.allclose(plain, switched, rtol=0.05)
    one = torch.nn.GroupNorm(4, 16)
    torch.nn.init.normal_(one.weight)
    other = copy.deepcopy(one)
    sums_first(other)
    for shape in ((2, 16, 5, 7), (2, 16, 3, 5, 7)):
        x = torch.randn(shape) * 3 + 1
        assert torch.allclose(one(x), other(x), atol=1e-5)


if __name__ == "__main__":
    check()
