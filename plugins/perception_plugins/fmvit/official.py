"""Keys of FMViT-style weights. No official weights exist; these are the names of the equations' own implementation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

_BN = r"bn\.(?:weight|bias|running_mean|running_var|num_batches_tracked)"
_NORM = _BN.removeprefix(r"bn\.")
_UNIT = rf"(?:conv\.weight|{_BN})"
_REP = rf"(?:branch\.\d+\.{_UNIT}|identity\.{_BN})"
_BLOCK = r"stages\.\d+\.\d+\."
RENAMES = (
    (rf"(stem\.[01]\.{_REP})", r"backbone.\1"),
    (rf"(down\.[123]\.{_UNIT})", r"backbone.\1"),
    (rf"({_BLOCK}mixer\.conv\.{_REP})", r"backbone.\1"),
    (rf"({_BLOCK}mixer\.proj\.{_UNIT})", r"backbone.\1"),
    (rf"({_BLOCK}mlp\.norm\.{_NORM})", r"backbone.\1"),
    (rf"({_BLOCK}mlp\.fc[12]\.{_REP})", r"backbone.\1"),
    (rf"({_BLOCK}(?:proj_low|proj_high|fuse)\.{_UNIT})", r"backbone.\1"),
    (rf"({_BLOCK}norm_low\.{_NORM})", r"backbone.\1"),
    (rf"({_BLOCK}attn\.pool_{_BN})", r"backbone.\1"),
    (rf"({_BLOCK}attn\.(?:q|k|v|proj)\.{_REP})", r"backbone.\1"),
    (r"(head\.(?:weight|bias))", r"\1"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a state_dict of the training form to those of a `BackboneClassifier` with an `FMViT`.

    Raises:
        CheckpointError: a key belongs to another architecture, or to a deployed network; all such keys are listed.
    """
    return rename_keys(state, RENAMES)
