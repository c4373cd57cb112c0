"""Keys of an AlgoFormer; nobody has released a checkpoint, so the names are those of the description."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

_LAYER, _WB = r"(pre|loop|post)\.(\d+)\.", r"(weight|bias)"


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename keys to those of an `AlgoFormer`. Raises CheckpointError if a key belongs to another architecture."""
    return rename_keys(
        state,
        (
            (_LAYER + r"attn\.qkv\." + _WB, r"\1.\2.attn.in_proj.\3"),
            (_LAYER + r"attn\.proj\." + _WB, r"\1.\2.attn.out_proj.\3"),
            (_LAYER + r"(norm[12]|mlp\.fc[12])\." + _WB, r"\1.\2.\3.\4"),
            (r"norm\." + _WB, r"norm.\1"),
        ),
    )
