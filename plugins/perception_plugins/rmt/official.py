"""Keys of the authors' checkpoints (qhfan/RMT): classifiers, with token labels or without, and dense backbones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

DETECTOR_PREFIX = "backbone."
TOKEN_HEAD, PROJECTION = "aux_head.weight", "proj.weight"

_WB = r"(weight|bias)"
_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_LAYER = r"layers\.(\d)\."
_BLOCK = _LAYER + r"blocks\.(\d+)\."
BLOCK_PARTS = {
    "pos.conv": "place", "retention_layer_norm": "norm1", "final_layer_norm": "norm2",
    "retention.q_proj": "attention.q", "retention.k_proj": "attention.k", "retention.v_proj": "attention.v",
    "retention.lepe.conv": "attention.local", "retention.out_proj": "attention.project",
    "ffn.fc1": "ffn.fc1", "ffn.dwconv.conv": "ffn.local", "ffn.fc2": "ffn.fc2",
}


def _stem_unit(match: re.Match[str]) -> str | None:
    """The stem is one flat sequence there: convolution 3i, normalisation 3i + 1, GELU 3i + 2."""
    unit, kind = divmod(int(match[1]), 3)
    part = {0: "conv", 1: "bn"}.get(kind)
    return part and f"backbone.stem.{2 * unit}.{part}.{match[2]}"


RENAMES: tuple[Rename, ...] = (
    (r"patch_embed\.proj\.(\d+)\." + _BN, _stem_unit),
    (_LAYER + r"Relpos\.(angle|decay)", r"backbone.stages.\1.position.\2"),
    *(
        (_BLOCK + re.escape(official) + rf"\.{_WB}", rf"backbone.stages.\1.blocks.\2.{ours}.\3")
        for official, ours in BLOCK_PARTS.items()
    ),
    (_BLOCK + r"gamma_([12])", r"backbone.stages.\1.blocks.\2.scale\3"),
    (_LAYER + rf"downsample\.reduction\.{_WB}", r"backbone.reductions.\1.conv.\2"),
    (_LAYER + rf"downsample\.norm\.{_BN}", r"backbone.reductions.\1.bn.\2"),
    (rf"extra_norms\.(\d)\.{_WB}", r"backbone.norms.\1.\2"),
    (rf"proj\.{_WB}", r"project.\1"),
    (rf"norm\.{_BN}", r"norm.\1"),
    (rf"head\.{_WB}", r"head.\1"),
    (rf"aux_head\.{_WB}", r"token_head.\1"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of an `RMTClassifier`.

    Those of a dense model are the same as far as they have one: ``backbone.*``, of a detector nothing else.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    if any(key.startswith(DETECTOR_PREFIX) for key in state):
        parts = {key: value for key, value in state.items() if key.startswith(DETECTOR_PREFIX)}
        state = {key.removeprefix(DETECTOR_PREFIX): value for key, value in parts.items()}
    return rename_keys(state, RENAMES)


def config_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Config overrides that a released state_dict needs: what its second head reads is seen by its width.

    Args:
        state: tensors by official key.
    """
    if TOKEN_HEAD not in state or PROJECTION not in state:
        return {}
    hidden, channels = state[PROJECTION].shape
    projected = state[TOKEN_HEAD].shape[1] == hidden != channels
    return {"model.network.projected_tokens": True} if projected else {}
