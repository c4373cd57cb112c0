"""Process groups: NCCL on GPUs, gloo on CPUs; nothing here does anything in a single process."""

from __future__ import annotations

import os
import re

import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch import distributed as torch_distributed

from ..errors import ConfigError

LAUNCHERS = ("none", "pytorch", "slurm")
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM_VARIABLES = {
    "RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID",
    "MASTER_ADDR": "SLURM_STEP_NODELIST",
}


def resolve_device(device: str = "auto") -> torch.device:
    """``auto`` is this process's GPU if there is one, else the CPU.

    Raises:
        ConfigError: the name is malformed, or a GPU is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f'device: expected "auto", "cpu", "cuda" or "cuda:N", got "{device}"') from error
    if resolved.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f'device: "{device}" asked for, but torch sees no GPU')
        if resolved.index is None:
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return resolved


def start_processes(launcher: str, device: torch.device) -> None:
    """Join the process group that ``torchrun`` or ``srun`` has started; once, and not for the launcher ``none``.

    Raises:
        ConfigError: the launcher is unknown, or its environment variables are absent.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f'launcher: expected one of {", ".join(LAUNCHERS)}, got "{launcher}"')
    if launcher == "none" or torch_distributed.is_initialized():
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    slurm = launcher == "slurm"
    wanted, starter = (tuple(SLURM_VARIABLES.values()), "srun") if slurm else (TORCHRUN_VARIABLES, "torchrun")
    missing = [name for name in wanted if name not in os.environ]
    if missing:
        raise ConfigError(f"launcher {launcher}: {', '.join(missing)} not set; start it with {starter}")
    if slurm:
        os.environ.update({ours: os.environ[theirs] for ours, theirs in SLURM_VARIABLES.items()})
        os.environ["MASTER_ADDR"] = first_host(os.environ["MASTER_ADDR"])
        os.environ.setdefault("MASTER_PORT", "29500")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch_distributed.init_process_group(backend=backend)


def first_host(nodes: str) -> str:
    """The first name of a Slurm node list: ``gpu[07-09,12],login`` -> ``gpu07``."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix:
        return prefix.split(",")[0]
    return prefix + re.split(r"[-,\]]", rest)[0] + rest.partition("]")[2].split(",")[0]


def share_of_cores() -> int:
    """Threads for this process: its share of the cores it may use, or what OMP_NUM_THREADS says.

    Data workers are not counted: they have one thread each, which sleeps most of the time.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // get_world_size())


def all_reduce_mean(value: Tensor) -> Tensor:
    """The mean over all processes, detached: for normalisers of losses, so that ranks weigh objects alike."""
    value = value.detach().clone()
    if get_world_size() > 1:
        torch_distributed.all_reduce(value)
        value /= get_world_size()
    return value
