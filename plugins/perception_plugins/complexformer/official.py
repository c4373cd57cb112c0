"""Keys of the authors' models (shaojintian/complexFormer), of which no weights are known."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_BLOCK, _OURS = r"transformer_blocks\.(\d+)\.", r"blocks.\1."
_ATTENTION = {
    r"W_q\.weight": "query.weight", r"W_k\.weight": "key.weight", r"W_v\.weight": "value.weight",
    r"W_o\.weight": "proj.weight", "delta_params": "delta", "bias_params": "bias",
}
_FFN = {"linear1": "up", "linear2": "gate", "linear3": "down"}
RENAMES: tuple[Rename, ...] = (
    *((_BLOCK + rf"attention\.{theirs}", _OURS + f"attention.{ours}") for theirs, ours in _ATTENTION.items()),
    *((_BLOCK + rf"ffn\.{theirs}\." + _WB, _OURS + rf"ffn.{ours}.\2") for theirs, ours in _FFN.items()),
    (_BLOCK + r"rmsnorm\.weight", _OURS + "norm.weight"),
    (r"embedding\.weight", "embed.weight"),
    (r"rmsnorm\.weight", "norm.weight"),
    (r"linear\." + _WB, r"head.\1"),
)
DROPPED = (                                          # rates of positions, which follow from the width of a head
    r"(?:.*\.)?attention\.(?:relative_pos_encoding\.)?g", r"rope\.freqs",
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `ComplexFormerLM`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES, DROPPED)
