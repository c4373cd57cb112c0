"""Keys of the authors' networks (Abdullah-88/Activator), of which no weights are released."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_BLOCK, _OURS = r"model\.(\d+)\.", r"backbone.blocks.\1."
_PARTS = {
    r"actgu\.proj_1": "glu.gate", r"actgu\.proj_2": "glu.up", r"actgu\.proj_3": "glu.down", r"actgu\.norm": "glu.norm",
    r"ffn\.net\.0": "ffn.fc1", r"ffn\.net\.3": "ffn.fc2", "norm": "norm",
}
RENAMES: tuple[Rename, ...] = (
    *((rf"{_BLOCK}{theirs}\.{_WB}", rf"{_OURS}{ours}.\2") for theirs, ours in _PARTS.items()),
    (rf"patcher\.{_WB}", r"backbone.embed.proj.\1"),
    (rf"classifier\.{_WB}", r"head.\1"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `BackboneClassifier` with an `Activator`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES)
