"""Keys of the authors' language model (C0-Design/MemoryFormer), of which no weights are released.

Names of a block are those of their modules. Around blocks stand GPT-NeoX's, which their code derives from; that the
output matrix is named ``final_linear`` as there is inferred.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_TB, _WB = r"(tables|bias)", r"(weight|bias)"
_FIRST = 2                                           # entries before the blocks: the embedding and a reshape
_LAYERS = {"0": "fc1", "1": "norm", "2": "fc2"}


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `MemoryFormerLM`.

    Args:
        state: a whole state_dict, or blocks of one, with or without the word "sequential" in front.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES)


def _block(match: re.Match[str]) -> str | None:
    number = int(match[1]) - _FIRST
    return None if number < 0 else f"blocks.{number}."


def _inside(pattern: str, place: str) -> Rename:
    """A part of a block; its place is filled from group 2 on."""

    def name(match: re.Match[str]) -> str | None:
        block = _block(match)
        return None if block is None else block + match.expand(place)

    return rf"(?:sequential\.)?(\d+)\.{pattern}", name


def _feed_forward(match: re.Match[str]) -> str | None:
    block = _block(match)
    return None if block is None else f"{block}channel_mixer.{_LAYERS[match[2]]}.{match[3]}"


RENAMES: tuple[Rename, ...] = (
    _inside(r"input_layernorm\.scale", "norm1.scale"),
    _inside(r"post_attention_layernorm\.scale", "norm2.scale"),
    _inside(rf"attention\.(query|key|value)_proj\.{_TB}", r"token_mixer.\2_proj.\3"),
    _inside(
        rf"attention\.(query|key|value)_proj\.hash\.projection\.{_WB}", r"token_mixer.\2_proj.hash.projection.\3"
    ),
    _inside(rf"attention\.hash_proj\.{_WB}", r"token_mixer.hash.projection.\2"),
    (rf"(?:sequential\.)?(\d+)\.mlp\.([02])\.{_TB}", _feed_forward),
    (rf"(?:sequential\.)?(\d+)\.mlp\.(1)\.{_WB}", _feed_forward),
    (r"(?:sequential\.)?(\d+)\.mlp\.([02])\.(hash\.projection\.(?:weight|bias))", _feed_forward),
    (r"(?:(?:sequential\.)?0|tied_modules\.embed)\.word_embeddings\.weight", "embed.weight"),
    (r"(?:sequential\.)?\d+\.norm\.scale", "norm.scale"),
    (r"(?:sequential\.)?\d+\.final_linear\.weight", "head.weight"),
)
