"""Hash functions that several processes learn together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as torch_distributed

from perception_plugins.ecoformer import KernelHash


def learn(seed: int) -> dict[str, Tensor]:
    """What the first batch teaches, all of it drawn by the seed."""
    torch.manual_seed(seed)
    kernel_hash = KernelHash(2, 4, bits=4, anchors=5, learning={"steps": 5, "learning_rate": 0.05})
    kernel_hash.train()(torch.randn(2, 2, 14, 4))
    return kernel_hash.state_dict()


def process(rank: int, folder: str) -> None:
    """One of two, begun as the workers of a loader are, which is far quicker than to import everything anew."""
    torch.set_num_threads(1)
    torch_distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(learn(rank), f"{folder}/{rank}.pth")
    torch_distributed.destroy_process_group()


def test_all_processes_take_what_the_first_one_learned(tmp_path: Path):
    torch.multiprocessing.start_processes(process, (str(tmp_path),), nprocs=2, start_method="fork")
    alone, other = learn(0), learn(1)
    for rank in range(2):
        for name, value in torch.load(tmp_path / f"{rank}.pth", weights_only=True).items():
            assert torch.equal(value, alone[name])
            assert not torch.equal(value, other[name])
