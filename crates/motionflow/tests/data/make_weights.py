"""Write the files in checkpoint/: one state dict in the forms in which PyTorch and safetensors save it, and hostile ones.

    python make_weights.py

Needs torch 2.11.0, safetensors, numpy.
"""

import os
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

out = Path(__file__).parent / "checkpoint"
out.mkdir(exist_ok=True)
base = torch.arange(24, dtype=torch.float32)
state = OrderedDict(
    dense=base.reshape(2, 3, 4) / 4,
    transposed=base.reshape(4, 6).t(),
    column=base.reshape(4, 6)[:, 2],
    every_other=base[1::2],
    scalar=torch.tensor(0.5),
    empty=torch.zeros(0, 3),
    half=torch.tensor([1.5, -2.0, 65504.0], dtype=torch.float16),
    bfloat=torch.tensor([[1.0, -3.0]], dtype=torch.bfloat16),
    double=torch.tensor([1 / 3], dtype=torch.float64),
    position_ids=torch.arange(5).expand(1, -1),
    flags=torch.tensor([True, False]),
    parameter=torch.nn.Parameter(torch.ones(2, 2)),
)
state._metadata = OrderedDict({"": {"version": 1}})
torch.save(state, out / "state_dict.bin")
torch.save(dict(state), out / "protocol_4.bin", pickle_protocol=4)
torch.save(state, out / "before_1.6.bin", _use_new_zipfile_serialization=False)
save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, out / "state_dict.safetensors")


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed > executed.txt",)


torch.save({"weight": torch.ones(1), "extra": Evil()}, out / "calls_system.bin")
torch.save({"model": dict(state), "step": 3}, out / "nested.bin")
