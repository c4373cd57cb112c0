"""Keys of the authors' checkpoints (zeyuliu1037/LMUFormer): the network of numbers, and the spiking one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_BLOCK = r"block\.(\d+)\."
CELL_NORMS = {"u": "signal", "m": "memory", "h": "read"}
RENAMES: tuple[Rename, ...] = (
    (r"patch_embed\.conv_layers\.([0-3])\.0\.weight", r"embed.layers.\1.conv.conv.weight"),
    (rf"patch_embed\.conv_layers\.([0-3])\.3\.{_BN}", r"embed.layers.\1.norm.norm.\2"),
    (_BLOCK + rf"attn\.lmu\.W_u\.{_WB}", r"blocks.\1.token_mixer.cell.signal.\2"),
    (_BLOCK + rf"attn\.lmu\.W_h\.{_WB}", r"blocks.\1.token_mixer.cell.read.\2"),
    (
        _BLOCK + rf"attn\.lmu\.bn_([umh])\.{_BN}",
        lambda match: f"blocks.{match[1]}.token_mixer.cell.{CELL_NORMS[match[2]]}_norm.norm.{match[3]}",
    ),
    (_BLOCK + rf"attn\.prev_bn\.{_BN}", r"blocks.\1.token_mixer.before.norm.\2"),
    (_BLOCK + rf"attn\.proj_conv\.{_WB}", r"blocks.\1.token_mixer.proj.\2"),
    (_BLOCK + rf"attn\.proj_bn\.{_BN}", r"blocks.\1.token_mixer.norm.norm.\2"),
    (_BLOCK + rf"mlp\.(fc[12])_conv\.{_WB}", r"blocks.\1.channel_mixer.\2.\3"),
    (_BLOCK + rf"mlp\.fc([12])_bn\.{_BN}", r"blocks.\1.channel_mixer.norm\2.norm.\3"),
    (rf"head_bn\.{_BN}", r"readout.norm.norm.\1"),
    (rf"head\.{_WB}", r"head.\1"),
)
SPIKING: tuple[Rename, ...] = (                      # a layer's number stands behind its name, but for the first
    (r"patch_embed\.proj_conv\.weight", r"embed.layers.0.conv.conv.weight"),
    (r"patch_embed\.proj_conv([12])\.weight", r"embed.layers.\1.conv.conv.weight"),
    (r"patch_embed\.proj_conv3\.weight", r"embed.layers.3.conv.weight"),
    (rf"patch_embed\.proj_bn\.{_BN}", r"embed.layers.0.norm.norm.\1"),
    (rf"patch_embed\.proj_bn([12])\.{_BN}", r"embed.layers.\1.norm.norm.\2"),
    (rf"patch_embed\.proj_bn3\.{_BN}", r"embed.places.norm.norm.\1"),
    (r"patch_embed\.rpe_conv\.weight", r"embed.places.conv.conv.weight"),
)
NUMBERS: tuple[Rename, ...] = ((r"patch_embed\.rpe_conv\.weight", r"embed.places.conv.weight"),)
DROPPED = (_BLOCK + r"attn\.lmu\.(A|B|H|fft_H)",)    # made anew from the sizes
POINTWISE = ("token_mixer.proj.weight", "channel_mixer.fc1.weight", "channel_mixer.fc2.weight")


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of an `LMUFormer`.

    The prefix of the authors' data-parallel wrapper is taken off, and 1x1 convolutions become linear layers.

    Args:
        state: a whole state_dict: the layers of the embedding tell which of the two networks it is.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    spiking = any(key.startswith("patch_embed.proj_") for key in state)
    mapped = rename_keys(state, (*RENAMES, *(SPIKING if spiking else NUMBERS)), DROPPED)
    return {key: value.flatten(1) if _is_pointwise(key, value) else value for key, value in mapped.items()}


def _is_pointwise(key: str, value: Tensor) -> bool:
    return key.endswith(POINTWISE) and value.dim() == 3
