"""Keys of the authors' checkpoints: VMamba (MzeroMiko/VMamba), old names and new, and Vision Mamba (hustvl/Vim)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

DETECTOR_PREFIX = "backbone."
_WB = r"(weight|bias)"
_LAYER = r"layers\.(\d)\."
_BLOCK = _LAYER + r"blocks\.(\d+)\."
_OURS = r"backbone.stages.\1.\2."
_OP = _BLOCK + r"(?:op|self_attention)\."

VMAMBA: tuple[Rename, ...] = (
    (_BLOCK + rf"(?:norm|ln_1)\.{_WB}", _OURS + r"norm.\3"),
    (_BLOCK + rf"norm2\.{_WB}", _OURS + r"norm2.\3"),
    (_BLOCK + rf"mlp\.(fc[12])\.{_WB}", _OURS + r"mlp.\3.\4"),
    (_OP + r"(in_proj|out_proj)\.weight", _OURS + r"op.\3.weight"),
    (_OP + rf"(conv2d|out_norm)\.{_WB}", _OURS + r"op.\3.\4"),
    (_OP + r"(x_proj_weight|dt_projs_weight|dt_projs_bias|A_logs|Ds)", _OURS + r"op.\3"),
    (_LAYER + rf"downsample\.1\.{_WB}", r"backbone.downsamples.\1.conv.\2"),
    (_LAYER + rf"downsample\.(?:3|norm)\.{_WB}", r"backbone.downsamples.\1.norm.\2"),
    (_LAYER + r"downsample\.reduction\.weight", r"backbone.downsamples.\1.reduction.weight"),
    (rf"outnorm(\d)\.{_WB}", r"backbone.out_norms.\1.\2"),
    (rf"(?:classifier\.)?(norm|head)\.{_WB}", r"\1.\2"),
)
PATCH_STEM: tuple[Rename, ...] = (                   # one convolution
    (rf"patch_embed\.(?:0|proj)\.{_WB}", r"backbone.stem.conv.\1"),
    (rf"patch_embed\.(?:2|norm)\.{_WB}", r"backbone.stem.norm.\1"),
)
CONV_STEM: tuple[Rename, ...] = (                    # two
    (rf"patch_embed\.0\.{_WB}", r"backbone.stem.0.conv.\1"),
    (rf"patch_embed\.2\.{_WB}", r"backbone.stem.0.norm.\1"),
    (rf"patch_embed\.5\.{_WB}", r"backbone.stem.2.conv.\1"),
    (rf"patch_embed\.7\.{_WB}", r"backbone.stem.2.norm.\1"),
)


def _mixer(official: str, ours: str, paths: Mapping[str, str]) -> tuple[Rename, ...]:
    """Keys of a Mamba block; ``paths`` are ours by the suffix that the authors give the names of a direction."""
    names: list[Rename] = [(official + r"(in_proj|out_proj)\.weight", ours + r"\g<1>.weight")]
    for suffix, path in paths.items():
        to = f"{ours}{path}."
        names += [
            (official + (r"A_b_log" if suffix else "A_log"), f"{to}A_log"),
            (official + f"D{suffix}", f"{to}D"),
            (official + rf"dt_proj{suffix}\.{_WB}", rf"{to}dt_\g<1>"),
            (official + rf"conv1d{suffix}\.{_WB}", rf"{to}conv1d.\g<1>"),
            (official + rf"x_proj{suffix}\.weight", f"{to}x_proj.weight"),
        ]
    return tuple(names)


BOTH_WAYS = {"": "ahead", "_b": "back"}
LAYERS = 64                                          # more than any Vim has


def _vim() -> tuple[Rename, ...]:
    blocks: list[Rename] = []
    for layer in range(LAYERS):
        blocks += _mixer(rf"layers\.{layer}\.mixer\.", f"backbone.blocks.{layer}.mixer.", BOTH_WAYS)
    return (
        ("cls_token", "backbone.class_token"),
        ("pos_embed", "backbone.position_table"),
        (rf"patch_embed\.proj\.{_WB}", r"backbone.embed.\1"),
        (r"layers\.(\d+)\.norm\.weight", r"backbone.blocks.\1.norm.weight"),
        *blocks,
        (r"norm_f\.weight", "backbone.norm.weight"),
        (rf"head\.{_WB}", r"head.\1"),
    )


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a classifier with one of our backbones.

    Dense models give the keys ``backbone.*`` alone. Linear layers that are convolutions of 1 x 1 lose those axes.

    Args:
        state: a whole state_dict: the other keys tell which network it is, and which stem it has.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    if any(key.startswith(DETECTOR_PREFIX) for key in state):
        parts = {key: value for key, value in state.items() if key.startswith(DETECTOR_PREFIX)}
        state = {key.removeprefix(DETECTOR_PREFIX): value for key, value in parts.items()}
    if any(".mixer." in key or key == "norm_f.weight" for key in state):
        return rename_keys(state, _vim())
    stem = CONV_STEM if any(key.startswith("patch_embed.5.") for key in state) else PATCH_STEM
    return {key: _as_linear(key, value) for key, value in rename_keys(state, (*VMAMBA, *stem)).items()}


def load_mixer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of one official block to those of a `MambaMixer`, of a `BiMambaMixer` if it has both ways.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, _mixer("", "", BOTH_WAYS if "A_b_log" in state else {"": "path"}))


def _as_linear(key: str, value: Tensor) -> Tensor:
    is_linear = key.endswith(("_proj.weight", "fc1.weight", "fc2.weight", "reduction.weight", "head.weight"))
    return value[:, :, 0, 0] if is_linear and value.ndim == 4 else value
