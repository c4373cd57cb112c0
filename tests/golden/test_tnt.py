"""TNT and PyramidTNT against the authors' own states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.registry import MODELS
from perception_plugins.tnt import load_official

OPTIONS = {                                          # our arguments by the files' names
    "img_size": "img_size", "qkv_bias": "qkv_bias", "se": "se", "mlp_ratio": "expansion", "in_chans": "in_channels",
    "patch_size": "patch_size", "inner_stride": "inner_stride", "depth": "depth",
    "outer_dim": "channels", "inner_dim": "word_channels", "outer_num_heads": "heads", "inner_num_heads": "word_heads",
}
STAGE_OPTIONS = {
    "depths": "depths", "outer_dims": "channels", "inner_dims": "word_channels", "outer_heads": "heads",
    "inner_heads": "word_heads",
}
TNT_ATOL = 2e-5                                      # tolerances of the sheet
PYRAMID_ATOL = 5e-4                                  # norms over two channels of a word are ill-conditioned


def _tnt(golden: Golden) -> None:
    config = dict(golden.config)
    patch = config.pop("patch_size")
    (patch,) = {patch} if isinstance(patch, int) else set(patch)
    num_classes = config.pop("num_classes")
    backbone = {"type": "TNT", "patch_size": patch, **_renamed(config, OPTIONS)}
    model = MODELS.build({"type": "TNTClassifier", "backbone": backbone, "num_classes": num_classes})
    load_state(model, load_official(golden.state))
    image = golden.inputs["image"].requires_grad_()
    ours = {"words_embed": model.backbone.word_embed(image), "tokens": model.norm(model.backbone.tokens(image))}
    for number, (words, sentences) in enumerate(model.backbone.levels(image, len(model.backbone.blocks))):
        ours |= {f"block{number}_inner": words, f"block{number}_outer": sentences}
    ours["logits"] = model(image)
    ours["logits"].sum().backward()
    for key, expected in golden.out.items():
        _check(key, ours[key], expected, TNT_ATOL)
    for key, (grad, expected) in _gradients(model, image, golden.grad).items():
        _check(key, grad, expected, TNT_ATOL)


def _pyramid_tnt(golden: Golden) -> None:
    config = dict(golden.config)
    stages, num_classes = config.pop("configs"), config.pop("num_classes")
    backbone = {"type": "PyramidTNT", **_renamed(config, OPTIONS), **_renamed(stages, STAGE_OPTIONS)}
    model = MODELS.build(
        {"type": "BackboneClassifier", "backbone": backbone, "num_classes": num_classes, "norm": "layer"}
    )
    load_state(model, load_official(golden.state))
    image = golden.inputs["image"].requires_grad_()
    ours = _pyramid_outputs(model.backbone, image)
    ours["logits"] = model(image)
    ours["logits"].sum().backward()
    for key, expected in golden.out.items():
        _check(key, ours[key], expected, PYRAMID_ATOL)
    for key, (grad, expected) in _gradients(model, image, golden.grad).items():
        _check(key, grad, expected, PYRAMID_ATOL * float(expected.abs().max()))


def _pyramid_outputs(backbone: nn.Module, image: Tensor) -> dict[str, Tensor]:
    ours = dict(zip(("stem_inner", "stem_outer"), backbone.stem(image), strict=True))
    words, sentences, size = backbone.embed(image)
    for number, stage in enumerate(backbone.stages):
        if stage.merge is not None:
            merged = stage.merge(words, sentences, size)
            ours |= {f"word_merge{number - 1}": merged[0], f"sentence_merge{number - 1}": merged[1]}
        words, sentences, size = stage(words, sentences, size)
        ours |= {f"stage{number}_inner": words, f"stage{number}_outer": sentences}
    return ours


def _check(key: str, ours: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(ours, expected, atol=atol, rtol=0, msg=lambda text: f"{key}: {text}")


def _renamed(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Our arguments; a name that is in no table fails."""
    return {names[key]: value for key, value in config.items()}


def _gradients(model: nn.Module, image: Tensor, expected: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Our gradient and the file's, by our names."""
    wanted = dict(expected)
    pairs = {"image": (image.grad, wanted.pop("image"))} if "image" in wanted else {}
    return pairs | {key: (model.get_parameter(key).grad, value) for key, value in load_official(wanted).items()}


CASES: dict[str, Callable[[Golden], None]] = {"tnt": _tnt, "pyramid_tnt": _pyramid_tnt}


@pytest.mark.golden_files("tnt")
def test_tnt_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
