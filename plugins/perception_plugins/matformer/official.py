"""Keys of the authors' checkpoints: MatLM (RAIVNLab/MatFormer-OLMo) and MatViT (Flax, google-research/scenic)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys
from perception.models.token_layout import map_of

_WB = r"(?P<kind>weight|bias)"
_OLMO_PARTS = {
    "attn_norm": "norm1", "ff_norm": "norm2", "att_proj": "token_mixer.in_proj", "attn_out": "token_mixer.out_proj",
    "ff_proj": "channel_mixer.fc1", "ff_out": "channel_mixer.fc2",
}
_BLOCK = r"(?:transformer\.blocks\.(?P<number>\d+)\.)?"  # absent in the state of one block


def _in_block(match: re.Match[str], part: str) -> str:
    number = match["number"]
    return f"{'' if number is None else f'blocks.{number}.'}{part}"


OLMO: tuple[Rename, ...] = (
    (r"transformer\.wte\.weight", "embed.weight"),
    (r"transformer\.wpe\.weight", "places.weight"),
    (r"transformer\.ln_f\." + _WB, r"norm.\g<kind>"),
    (
        _BLOCK + rf"(?P<part>{'|'.join(_OLMO_PARTS)})\.{_WB}",
        lambda match: _in_block(match, f"{_OLMO_PARTS[match['part']]}.{match['kind']}"),
    ),
    (_BLOCK + r"rotary_emb\.inv_freq", lambda match: _in_block(match, "token_mixer.rates")),
)

_KINDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_KSB = r"(?P<kind>kernel|scale|bias)"
_ENCODER = r"Transformer/encoderblock_(?P<number>\d+)/"
_ATTENTION = _ENCODER + r"MultiHeadDotProductAttention_0/"


def _flax(name: str) -> Rename:
    """Makes a replacement of a pattern with a kind, and a block's ``number`` or a layer's ``place`` in the name."""
    def replaced(match: re.Match[str]) -> str:
        parts = match.groupdict()
        place = parts.get("place")
        filled = name.format(number=parts.get("number"), after=None if place is None else int(place) + 1)
        return f"{filled}.{_KINDS[match['kind']]}"

    return _PATTERNS[name], replaced


_PATTERNS = {
    "backbone.embed.proj": r"embedding/" + _KSB,
    "backbone.blocks.{number}.norm{after}": _ENCODER + r"LayerNorm_(?P<place>[01])/" + _KSB,
    "backbone.blocks.{number}.channel_mixer.fc{after}": _ENCODER + r"MlpBlock_0/Dense_(?P<place>[01])/" + _KSB,
    "backbone.blocks.{number}.token_mixer.query": _ATTENTION + "query/" + _KSB,
    "backbone.blocks.{number}.token_mixer.key": _ATTENTION + "key/" + _KSB,
    "backbone.blocks.{number}.token_mixer.value": _ATTENTION + "value/" + _KSB,
    "backbone.blocks.{number}.token_mixer.out_proj": _ATTENTION + "out/" + _KSB,
    "backbone.norm": r"Transformer/encoder_norm/" + _KSB,
    "head": r"output_projection/" + _KSB,
}
FLAX: tuple[Rename, ...] = (
    (r"cls", "backbone.class_token"),
    (r"Transformer/posembed_input/pos_embedding", "backbone.position.table"),
    *map(_flax, _PATTERNS),
)


def load_official(state: Mapping[str, Tensor], grid: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Rename the keys of an official state to those of a `MatLM`, one of its blocks, or a `MatViTClassifier`.

    Of Flax, kernels of layers are transposed, those of queries, keys and values become one, and a class token takes its
    position up.

    Args:
        state: a whole state; of Flax, tensors by path, the parts divided by "/".
        grid: height and width of the map that MatViT's positions are of; None is a square.

    Raises:
        CheckpointError: a key belongs to another architecture (all such keys are listed), or there are other than
            ``grid`` positions.
    """
    if not any("/" in key for key in state):
        return rename_keys(state, OLMO)
    mapped = {key: _turned(key, value) for key, value in rename_keys(state, FLAX).items()}
    _place_class_token(mapped, grid)
    return _packed(mapped)


def _turned(key: str, value: Tensor) -> Tensor:
    """A tensor of Flax as torch lays it out: (p, p, 3, C) -> (C, 3, p, p); (in, out), by head or not -> (out, in)."""
    if re.search(r"\.(query|key|value)\.", key):
        return value.flatten(-2).T if value.dim() == 3 else value.flatten()
    if key.endswith("out_proj.weight"):
        return value.flatten(0, 1).T
    if value.dim() == 4:
        return value.permute(3, 2, 0, 1)
    return value.T if key.endswith(".weight") and value.dim() == 2 else value


def _place_class_token(mapped: dict[str, Tensor], grid: tuple[int, int] | None) -> None:
    """Positions (1, N, C) become a map (1, C, H, W), in place; with a class token the first is its own."""
    token, table = (f"backbone.{name}" for name in ("class_token", "position.table"))
    if table not in mapped:
        return
    places = mapped[table]
    if token in mapped:
        mapped[token], places = mapped[token] + places[:, :1], places[:, 1:]
    side = math.isqrt(places.shape[1])
    height, width = (side, side) if grid is None else grid
    if height * width != places.shape[1]:
        raise CheckpointError(f"{table}: {places.shape[1]} positions are no map of {height} x {width}: give the grid")
    mapped[table] = map_of(places, (height, width))


def _packed(mapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With queries, keys and values in one layer."""
    packed: dict[str, Tensor] = {}
    for key, value in mapped.items():
        match = re.fullmatch(r"(.*)\.(query|key|value)\.(weight|bias)", key)
        if match is None:
            packed[key] = value
        elif match[2] == "query":
            parts = [f"{match[1]}.{part}.{match[3]}" for part in ("query", "key", "value")]
            absent = [part for part in parts if part not in mapped]
            if absent:
                raise CheckpointError(f"the checkpoint lacks {absent[0]}")
            packed[f"{match[1]}.in_proj.{match[3]}"] = torch.cat([mapped[part] for part in parts])
    return packed
