"""Names of the variables of the authors' TensorFlow code (google-research/pix2seq), of which no weights are released.

Matrices there are (in, out), and those of attention have heads apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_FIT, _KIND, _PART = r"fit(?:ar|den)?/", r"(kernel|bias|gamma|beta)", r"(query|key|value|attention_output)"
_NETWORK = _FIT + r"(x|l)_network(?:_(\d+))?/transformer_(?:encoder|decoder_layer)(?:_(\d+))?/"
_READING = _FIT + r"(l2x|x2l|l2c)_cross_attn(?:_(\d+))?/"
_OURS = {
    "kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "x": "local", "l": "latent",
    "l2x": "read", "x2l": "write", "l2c": "condition", "query": "query", "key": "key", "value": "value",
    "attention_output": "proj", "dense1": "mlp.fc1", "dense2": "mlp.fc2", "ln": "norm", "enc_ln": "memory_norm",
}
_SINGLE = {
    "stem": "stem.0", "stem_ln": "stem.1", "stem_y": "extra_stem.0", "stem_y_ln": "extra_stem.1", "x_output_ln": "norm",
    "l_output_ln": "latent_norm", "x_output_linear": "head", "time_emb/dense0": "time.0", "time_emb/dense1": "time.2",
    "cond_proj": "condition", "latent_prev_ln": "memory.out_norm", "latent_prev_proj/ffn/ln": "memory.norm",
    "latent_prev_proj/ffn/dense1": "memory.mlp.fc1", "latent_prev_proj/ffn/dense2": "memory.mlp.fc2",
}


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename variables to the keys of a `FITEncoder`, `FITDenoiser` or `FITAutoregressive`, and turn their matrices.

    Raises:
        CheckpointError: a variable belongs to another architecture; all such names are listed.
    """
    return rename_keys({name: _turned(name, value) for name, value in state.items()}, RENAMES)


def _turned(name: str, value: Tensor) -> Tensor:
    if name.endswith("/kernel"):
        joined = value.flatten(0, -2) if "/attention_output/" in name else value.flatten(1)
        return joined.T.contiguous()
    return value.flatten() if name.endswith("/bias") else value


def _layer(match: re.Match[str], rest: str) -> str:
    network, block, layer = match.groups("0")[:3]
    return f"trunk.blocks.{block}.{_OURS[network]}.layers.{layer}.{rest}"


def _reading(match: re.Match[str], rest: str) -> str:
    reading, block = match.groups("0")[:2]
    return f"trunk.blocks.{block}.{_OURS[reading]}.{rest}"


RENAMES: tuple[Rename, ...] = (
    (
        _NETWORK + rf"(?:self_)?mha/{_PART}/{_KIND}",
        lambda match: _layer(match, f"attention.{_OURS[match[4]]}.{_OURS[match[5]]}"),
    ),
    (_NETWORK + rf"(?:self_)?mha/ln/{_KIND}", lambda match: _layer(match, f"norm1.{_OURS[match[4]]}")),
    (_NETWORK + rf"mlp/ffn/ln/{_KIND}", lambda match: _layer(match, f"norm2.{_OURS[match[4]]}")),
    (
        _NETWORK + rf"mlp/ffn/(dense[12])/{_KIND}",
        lambda match: _layer(match, f"{_OURS[match[4]]}.{_OURS[match[5]]}"),
    ),
    (
        _READING + rf"cross_mha/{_PART}/{_KIND}",
        lambda match: _reading(match, f"attention.{_OURS[match[3]]}.{_OURS[match[4]]}"),
    ),
    (
        _READING + rf"cross_mha/(ln|enc_ln)/{_KIND}",
        lambda match: _reading(match, f"{_OURS[match[3]]}.{_OURS[match[4]]}"),
    ),
    (_READING + rf"mlp/ffn/ln/{_KIND}", lambda match: _reading(match, f"norm2.{_OURS[match[3]]}")),
    (
        _READING + rf"mlp/ffn/(dense[12])/{_KIND}",
        lambda match: _reading(match, f"{_OURS[match[3]]}.{_OURS[match[4]]}"),
    ),
    (
        _FIT + rf"({'|'.join(_SINGLE)})/{_KIND}",
        lambda match: f"{_SINGLE[match[1]]}.{_OURS[match[2]]}",
    ),
    (_FIT + r"x_pos_emb/kernel/vis_pos_embedding", "position.table"),
    (_FIT + r"latent_pos_emb/kernel/vis_pos_embedding", "latent_position.table"),
    (r"fitar/(?:inp_)?token_embedding", "embed.weight"),
    (r"fitar/outp_token_embedding", "out_embed.weight"),
    (r"fitar/outp_bias", "bias"),
)
