"""Checkpoints: read without running code, written whole or not at all."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from torch import Tensor, nn

from ..atomic_write import atomic_path
from ..errors import CheckpointError

logger = logging.getLogger(__name__)
POINTER = "last_checkpoint"
WEIGHT_KEYS = ("model", "params_ema", "params")    # of detectron2, and of BasicSR: averaged weights before others
MAX_LISTED = 4                                     # keys named of each kind in an error

# What released checkpoints hold beside tensors; none of these runs anything when it is rebuilt.
SAFE_DTYPES = ("bool", "uint8", "uint32", "int32", "int64", "float32", "float64")
HISTORY_STATISTICS = ("min", "max", "mean", "current")
SAFE_TYPES = [HistoryBuffer, np.ndarray, np.dtype, *{type(np.dtype(name)) for name in SAFE_DTYPES}]
SAFE_NUMPY_FUNCTIONS = {                           # by the names under which numpy 1 and numpy 2 write them down
    f"{package}.multiarray.{name}": function
    for package in ("numpy.core", "numpy._core")
    for name, function in (("_reconstruct", np.zeros(1).__reduce__()[0]), ("scalar", np.float64(0).__reduce__()[0]))
}


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint (or a bare state dict, or a ``.safetensors`` file) on the CPU; code in it is never run.

    The weights of files that were written with detectron2 lie under ``model``, of those written with BasicSR under
    ``params_ema`` or ``params``; they are given as ``state_dict`` too.

    Returns:
        A dictionary with at least ``state_dict``.

    Raises:
        CheckpointError: the file is absent, truncated or damaged, holds anything but plain values, or no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected a dictionary of weights, got {type(content).__name__}")
    if "state_dict" not in content:
        weights = next((content[key] for key in WEIGHT_KEYS if isinstance(content.get(key), Mapping)), None)
        content = {"state_dict": content} if weights is None else {**content, "state_dict": weights}
    state = content["state_dict"]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no weights: expected a state_dict of tensors; it has {_short(content)}")
    return dict(content)


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path | str) -> None:
    """Write a checkpoint beside ``path``, sync it and rename it; a failure leaves the file that was there.

    Raises:
        CheckpointError: it cannot be written (disk full, no permission ...), or holds what `load_checkpoint` refuses.
    """
    buffer = io.BytesIO()
    torch.save(_plain(checkpoint, Path(path).name), buffer)
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint could not be saved: {error.strerror or error}") from error


def point_to(path: Path) -> None:
    """Make ``path`` the newest checkpoint of its folder. Raises CheckpointError if that cannot be written."""
    pointer = path.parent / POINTER
    try:
        with atomic_path(pointer) as temporary:
            temporary.write_text(path.name + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{pointer}: could not be written: {error.strerror or error}") from error


def latest_checkpoint(folder: Path | str) -> Path | None:
    """The checkpoint that training in ``folder`` saved last; None if there is none yet.

    Raises:
        CheckpointError: the pointer names a file that is gone.
    """
    pointer = Path(folder) / POINTER
    if not pointer.is_file():
        return None
    path = pointer.parent / Path(pointer.read_text(encoding="utf-8").strip()).name
    if not path.is_file():
        raise CheckpointError(f"{pointer}: names {path.name}, which does not exist; give the checkpoint to resume from")
    return path


def load_weights(
    model: nn.Module, source: Path | str | Mapping[str, Any], name: str | None = None, *, may_lack: Sequence[str] = (),
) -> None:
    """Put the weights of a checkpoint into a model; every key must fit, or nothing is loaded.

    Args:
        model: takes the weights; a ``module.`` prefix of the checkpoint's keys is dropped. Its
            ``check_weights(state, name)``, if it has one, may refuse them for reasons of its own.
        source: a file, or what `load_checkpoint` gave.
        name: how an error calls the checkpoint, by default the file.
        may_lack: beginnings of keys that the checkpoint may lack; they keep their values, and are logged.

    Raises:
        CheckpointError: unreadable, made for other classes, or for another architecture; lists the classes, or the
            missing, unexpected and misshaped keys.
    """
    if isinstance(source, Mapping):
        checkpoint, name = source, name or "checkpoint"
    else:
        checkpoint, name = load_checkpoint(source), name or str(source)
    _check_classes(model, checkpoint, name)
    given = {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
    check_weights = getattr(model, "check_weights", None)
    if check_weights is not None:
        check_weights(given, name)
    own = model.state_dict()
    absent = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    lacking = [key for key in absent if key.startswith(tuple(may_lack))]
    missing = [key for key in absent if key not in lacking]
    unexpected = [key for key in given if key not in own]
    misshaped = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items() if key in given and given[key].shape != value.shape
    ]
    if missing or unexpected or misshaped:
        kinds = {"missing": missing, "unexpected": unexpected, "misshaped": misshaped}
        told = "; ".join(f"{len(keys)} {kind}: {_short(keys)}" for kind, keys in kinds.items() if keys)
        raise CheckpointError(f"{name}: made for another architecture than {type(model).__name__}: {told}")
    model.load_state_dict(given, strict=False)     # what may be absent has been told apart
    if lacking:
        logger.info("%s lacks %s, which begin anew", name, ", ".join(lacking))


def _check_classes(model: nn.Module, checkpoint: Mapping[str, Any], name: str) -> None:
    """Refuse weights whose classes are known to be others than the model's, even if they are as many."""
    meta = checkpoint.get("meta")
    theirs = [str(one) for one in meta.get("classes") or ()] if isinstance(meta, Mapping) else []
    own = [str(one) for one in getattr(model, "classes", None) or ()]
    if not theirs or not own or theirs == own:
        return
    told = f"{name}: made for {len(theirs)} classes ({_short(theirs)}), the model has {len(own)} ({_short(own)})"
    if sorted(theirs) == sorted(own):
        first = next(place for place, pair in enumerate(zip(theirs, own, strict=True)) if pair[0] != pair[1])
        raise CheckpointError(f"{told}: class {first} is {theirs[first]} in the one and {own[first]} in the other")
    lists = {"only in the checkpoint": (theirs, own), "only in the model": (own, theirs)}
    alone = {where: [one for one in some if one not in others] for where, (some, others) in lists.items()}
    raise CheckpointError(told + "".join(f"; {where}: {_short(some)}" for where, some in alone.items() if some))


def _read_torch(path: Path) -> Any:
    functions: list[Any] = [(function, name) for name, function in SAFE_NUMPY_FUNCTIONS.items()]
    functions.append((_history_statistic, "builtins.getattr"))
    try:
        with torch.serialization.safe_globals([*SAFE_TYPES, *functions]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:                     # a damaged or hostile file may raise anything
        reason = str(error).strip()
        if "Unsupported global" in reason or "weights_only" in reason.lower():
            unsafe = reason.partition("Unsupported global: GLOBAL ")[2].split(" ")[0] or "objects, not only tensors"
            raise CheckpointError(f"{path}: refused, since loading it would run code: it holds {unsafe}") from error
        first_line = reason.splitlines()[0] if reason else type(error).__name__
        raise CheckpointError(f"{path}: truncated, damaged or no checkpoint at all ({first_line})") from error


def _history_statistic(owner: object, name: str) -> Any:
    """Stands in for ``getattr`` in a checkpoint: mmengine's logs name their statistics by it; nothing else may."""
    if owner is not HistoryBuffer or name not in HISTORY_STATISTICS:
        raise ValueError(f"Unsupported global: GLOBAL getattr({owner!r}, {name!r})")
    return getattr(HistoryBuffer, name)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, damaged or no safetensors file ({error})") from error


def _plain(value: Any, where: str) -> Any:
    """Nested containers of tensors and Python's own values, with NumPy's as such; so what is saved can be loaded."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_plain(key, where): _plain(part, f"{where}.{key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part, f"{where}[{place}]") for place, part in enumerate(value))
    if isinstance(value, nn.Parameter):
        return value.detach()
    if not isinstance(value, (Tensor, str, bytes, int, float, type(None))):
        raise CheckpointError(f"{where}: a checkpoint holds tensors and plain values, got {type(value).__name__}")
    return value


def _short(keys: Iterable[str]) -> str:
    listed: Sequence[str] = [str(key) for key in keys]
    more = f", ... ({len(listed) - MAX_LISTED} more)" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more
