"""Keys of the released language models (Haiyang-W/TokenFormer), and of a layer or a table alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_LAYER = r"(?:(?:sequential\.)?(?P<number>\d+)\.)?"      # absent in the state of one layer
_TABLE = r"(?P<table>(?:key|value)_param_tokens)"
_KEY = "key_param_tokens"
FIRST_LAYER = 2                                          # behind the embedding and a reshape


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `TokenFormerLM`, of a layer or of a `Pattention`.

    Keys of the flattened pipeline, with "sequential." before them, and those of real pipeline stages are both known. A
    table whose scale is not told, as in all releases, is scaled by the number of its rows.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    mapped = rename_keys(state, RENAMES)
    scales = {
        key.removesuffix(_KEY) + "scale_tokens": torch.tensor(len(value))
        for key, value in mapped.items() if key.endswith(_KEY)
    }
    return {**mapped, **{key: scale for key, scale in scales.items() if key not in mapped}}


def _in_layer(match: re.Match[str], part: str) -> str:
    number = match["number"]
    return f"{'' if number is None else f'blocks.{int(number) - FIRST_LAYER}.'}{part}.{match['table']}"


RENAMES: tuple[Rename, ...] = (
    (r"sequential\.0\.word_embeddings\.weight|tied_modules\.embed\.word_embeddings\.weight", "embed.weight"),
    (
        _LAYER + rf"attention\.(?P<projection>query|key|value|proj)\.{_TABLE}",
        lambda match: _in_layer(match, f"token_mixer.{match['projection']}"),
    ),
    (_LAYER + rf"mlp\.{_TABLE}", lambda match: _in_layer(match, "channel_mixer.mlp")),
    (r"(?:sequential\.)?\d+\.norm\.(weight|bias)", r"norm.\1"),
    (_TABLE, r"\g<table>"),
)
