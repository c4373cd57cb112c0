"""Keys of a wide encoder; nobody has released a checkpoint, so the names are those of the description."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

_WB = r"(weight|bias)"
_ENCODER = r"((?:layers\.\d+\.(?:norm[12]|attn\.(?:q|k|v|out)|ffn\.fc[12])|norm)\.(?:weight|bias))"


def load_official(state: Mapping[str, Tensor], grid: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Rename keys to those of a `WideTransformer`, or of a `BackboneClassifier` with a `WideVisionTransformer`.

    Args:
        state: of tokens, or of the picture form, which has a ``patch_embed.weight``.
        grid: height and width of the map of patches that positions are for; a square one if not told.

    Raises:
        CheckpointError: a key belongs to another architecture.
    """
    if "patch_embed.weight" not in state:
        return rename_keys(state, ((_ENCODER, r"\1"),))
    renames = (
        (_ENCODER, r"backbone.encoder.\1"), (r"patch_embed\." + _WB, r"backbone.embed.proj.\1"),
        (r"pos_embed", "backbone.position.table"), (r"head\." + _WB, r"head.\1"),
    )
    mapped = rename_keys(state, renames)
    table = mapped.get("backbone.position.table")
    if table is not None:                                                                  # (1, N, C)
        side = round(table.shape[1] ** 0.5)
        mapped["backbone.position.table"] = table.mT.unflatten(2, grid or (side, side))
    return mapped
