"""mmengine's Runner with our checkpoints: read without running code, written atomically, resumed to the bit."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner as MMEngineRunner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..atomic_write import atomic_path
from ..errors import CheckpointError, ConfigError
from ..registry import RUNNERS
from .checkpoint import load_checkpoint, load_weights, save_checkpoint
from .config_mistakes import told_as_config_error
from .distributed import resolve_device, share_of_cores, start_processes
from .loops import IterationLoop
from .memory import keep_freed_memory
from .random_state import random_state
from .sync_batchnorm import convert_batch_norms

SCALAR_HISTORY = 1000                              # logged values of each kind that a checkpoint keeps
RUN_KEYS = ("experiment_name", "launcher", "resume", "work_dir")
TRAINING_KEYS = ("optimizer", "param_schedulers", "loop", "random_states")


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains and tests a model from a config; see `perception.engine.build.build_runner`."""

    device: torch.device

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Choose the device, join the process group, and set the threads of torch."""
        self.device = resolve_device(self.cfg.get("device", "auto"))
        start_processes(self.launcher, self.device)
        super().setup_env(env_cfg)
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.set_flush_denormal(True)             # denormal numbers slow a CPU down tenfold
        torch.set_num_threads(self.cfg.get("num_threads") or share_of_cores())

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Move the model to the device and, with several processes, wrap it for the exchange of gradients."""
        model = convert_batch_norms(model, self.cfg.get("sync_bn"), self.device)
        if not self.distributed:
            model = revert_sync_batchnorm(model)
        model = model.to(self.device)
        if not self.distributed or not any(parameter.requires_grad for parameter in model.parameters()):
            return model
        options = {"broadcast_buffers": False, "find_unused_parameters": self.cfg.get("find_unused_parameters", False)}
        options.update(model_wrapper_cfg or {})
        return MMDistributedDataParallel(
            module=model, device_ids=[self.device.index] if self.device.type == "cuda" else None, **options
        )

    def train(self) -> nn.Module:
        """Train to the end; returns the model."""
        with warnings.catch_warnings():            # schedules count iterations, so with accumulation they come first
            warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")
            return super().train()

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """As mmengine's, with a generator of its own, so that starting it takes nothing from the global one."""
        if isinstance(dataloader, Mapping) and dataloader.get("num_workers", 0) == 0:
            dataloader = {**dataloader, "persistent_workers": False}
        with told_as_config_error("dataloader"):
            loader = MMEngineRunner.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        loader.generator = torch.Generator().manual_seed(seed or 0)
        return loader

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """As mmengine's; a one-cycle schedule lasts as long as the training unless it says otherwise."""
        if isinstance(scheduler, (list, tuple)) and isinstance(self._train_loop, IterationLoop):
            scheduler = [self._with_total_steps(entry) for entry in scheduler]
        try:
            return super().build_param_scheduler(scheduler)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"param_scheduler: {error}") from error

    def _with_total_steps(self, entry: Any) -> Any:
        if isinstance(entry, Mapping) and entry.get("type") == "OneCycleLR" and "total_steps" not in entry:
            return {**entry, "total_steps": self.max_iters}
        return entry

    def load_or_resume(self) -> None:
        """Load the config's ``load_from`` once, or go on from it if ``resume`` says so."""
        if self._has_loaded or self._load_from is None:
            return
        if self._resume:
            self.resume(self._load_from)
        else:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load weights; every key must fit.

        Raises:
            CheckpointError: see `perception.engine.checkpoint.load_weights`.
        """
        checkpoint = load_checkpoint(filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self._bare_model(), checkpoint, filename)
        self._has_loaded = True
        self.logger.info(f"loaded {filename}")
        return checkpoint

    def resume(
        self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
        map_location: str | Callable = "cpu",
    ) -> None:
        """Continue a training exactly where a checkpoint was saved.

        Raises:
            CheckpointError: unreadable, of another architecture or optimizer, or without the state of a training.
        """
        checkpoint = load_checkpoint(filename)
        missing = [key for key in TRAINING_KEYS if key not in checkpoint]
        if missing:
            raise CheckpointError(f"{filename}: holds weights only (no {', '.join(missing)}): use load_from instead")
        self._resume = True
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        weights = {**checkpoint, "state_dict": checkpoint.get("train_state_dict", checkpoint["state_dict"])}
        load_weights(self._bare_model(), weights, filename)
        self._load_training_state(checkpoint, filename)
        self._has_loaded = True
        self.logger.info(f"resumed {filename} after iteration {self.iter}")

    def _load_training_state(self, checkpoint: dict[str, Any], filename: str) -> None:
        states = checkpoint["random_states"]
        own = states[get_rank()] if len(states) == get_world_size() else None
        if own is None:
            self.logger.warning(f"{filename}: saved by {len(states)} processes: the random numbers begin anew")
        try:
            self.train_loop.load_state(checkpoint["loop"], own)
            self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
            for scheduler, state in zip(self.param_schedulers or (), checkpoint["param_schedulers"], strict=True):
                scheduler.load_state_dict(state)
            self.message_hub.load_state_dict(_unpack_message_hub(checkpoint["message_hub"]))
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{filename}: saved by another training setup: {error}") from error

    def save_checkpoint(
        self, out_dir: str, filename: str, file_client_args: Any = None, save_optimizer: bool = True,
        save_param_scheduler: bool = True, meta: dict[str, Any] | None = None, by_epoch: bool = False,
        backend_args: Any = None,
    ) -> None:
        """Save after the current iteration; all processes must call it, the first one writes.

        Args:
            out_dir: folder.
            filename: name of the file in it.
            save_optimizer: with all that resuming needs, or the weights alone.
            meta: more to keep under ``meta``.

        The other arguments are mmengine's and without effect.
        """
        checkpoint: dict[str, Any] = {
            "meta": self._meta() | (meta or {}),
            "state_dict": _on_cpu(self._bare_model().state_dict()),
        }
        if save_optimizer:
            checkpoint |= self._training_state()
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        if not save_optimizer:
            checkpoint.pop("train_state_dict", None)
        if get_rank() == 0:
            save_checkpoint(checkpoint, Path(out_dir) / filename)

    def _training_state(self) -> dict[str, Any]:
        if isinstance(self.optim_wrapper, OptimWrapperDict):
            raise ConfigError("optim_wrapper: several optimizers at once are not supported")
        return {
            "optimizer": _on_cpu(self.optim_wrapper.state_dict()),
            "param_schedulers": [_without_functions(entry.state_dict()) for entry in self.param_schedulers or ()],
            "loop": self.train_loop.state_after_iteration(),
            "random_states": all_gather_object(random_state()),
            "message_hub": _pack_message_hub(self.message_hub.state_dict()),
        }

    def _meta(self) -> dict[str, Any]:
        model = self._bare_model()
        return {
            "iter": self.train_loop.state_after_iteration()["iter"],
            "config": self._config_text(),
            "classes": list(getattr(model, "classes", ())),
            "model": type(model).__name__,
            "seed": self.seed,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }

    def _bare_model(self) -> nn.Module:
        return self.model.module if isinstance(self.model, MMDistributedDataParallel) else self.model

    def dump_config(self) -> None:
        """Write the resolved config into the work directory, as ``config.py``."""
        if get_rank() == 0:
            with atomic_path(Path(self.work_dir) / "config.py") as temporary:
                temporary.write_text(self._config_text(), encoding="utf-8")

    def _config_text(self) -> str:
        """The config less what belongs to this one run of it."""
        cfg = copy.deepcopy(self.cfg)
        for key in RUN_KEYS if not self._resume else (*RUN_KEYS, "load_from"):
            cfg.pop(key, None)
        return cfg.pretty_text

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """As mmengine's, with our name in the lines."""
        return super().build_logger(log_level, log_file, logger_name="perception", **kwargs)

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        self.logger.info(
            f"torch {torch.__version__} on {self.device}, {torch.get_num_threads()} threads, "
            f"{get_world_size()} process(es), seed {self.seed}; results go to {self.work_dir}"
        )

    def get_hooks_info(self) -> str:
        """The hooks in one line, in the order in which they are called."""
        return ", ".join(type(hook).__name__ for hook in self._hooks)


def _on_cpu(value: Any) -> Any:
    """Nested containers with their tensors copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(part) for part in value)
    return value


def _without_functions(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state less the functions in it, which come from the config."""
    return {key: value for key, value in state.items() if not callable(value)}


def _pack_message_hub(state: dict[str, Any]) -> dict[str, Any]:
    """mmengine's log as plain values: the last values and counts of each scalar, and the information that is plain."""
    plain = (str, int, float, bool, type(None))
    buffers = state["log_scalars"].items()
    scalars = {key: [part[-SCALAR_HISTORY:].tolist() for part in buffer.data] for key, buffer in buffers}
    information = {key: value for key, value in state["runtime_info"].items() if isinstance(value, plain)}
    information.pop("cfg", None)                   # the checkpoint's meta has it
    kept = {key: bool(value) for key, value in state["resumed_keys"].items() if key in scalars or key in information}
    return {"log_scalars": scalars, "runtime_info": information, "resumed_keys": kept}


def _unpack_message_hub(state: dict[str, Any]) -> dict[str, Any]:
    buffers = {key: HistoryBuffer(values, counts) for key, (values, counts) in state["log_scalars"].items()}
    return {**state, "log_scalars": buffers}
