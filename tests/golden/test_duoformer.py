"""DuoFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.registry import MODELS
from perception_plugins.duoformer import DuoFormerClassifier, load_official

TOLERANCE = 2e-5


class GivenPyramid(nn.Module):
    """An image backbone that gives the maps of a file."""

    strides = (4, 8, 16, 32)

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.maps: tuple[Tensor, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.maps


def _compare(found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=TOLERANCE, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def _classifier(golden: Golden) -> DuoFormerClassifier:
    MODELS.register_module("GivenPyramid", force=True, module=GivenPyramid)
    config = golden.config
    backbone = {
        "type": "DuoFormer", "cnn": {"type": "GivenPyramid", "channels": config["pyramid_channels"]},
        "depth": config["depth"], "width": config["proj_dim"], "heads": config["num_heads"],
        "scales": config["num_layers"], "scale_token": config["scale_token"], "mlp_ratio": config["mlp_ratio"],
    }
    return DuoFormerClassifier(backbone, config["num_classes"])


def _duoformer(golden: Golden) -> None:
    model = _classifier(golden)
    load_state(model, load_official(golden.state))
    neck, inputs = model.backbone.neck, golden.inputs
    B, _, rows, columns = inputs["feat3"].shape
    inputs["feat3"].requires_grad_()
    model.backbone.cnn.maps = tuple(
        inputs.get(f"feat{level}", torch.empty(0)) for level in range(4)               # those that are never read
    )
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, output: found.__setitem__(name, output)

    for kind, blocks in (("scale", neck.scale_blocks), ("patch", neck.patch_blocks)):
        blocks[0].register_forward_hook(keep(f"{kind}_block0"))
        blocks[-1].register_forward_hook(keep(f"{kind}_last"))
    logits = model(torch.zeros(B, 3, 32 * rows, 32 * columns))
    found |= {name: x.unflatten(0, (B, -1)) for name, x in found.items() if name.startswith("scale")}
    found |= {"logits": logits, "tokens": neck.tokens(model.backbone.cnn.maps)[0]}
    _compare(found, golden.out)
    logits.sum().backward()
    grads: dict[str, Tensor | None] = {"feat3": inputs["feat3"].grad}
    official = {name: value for name, value in golden.grad.items() if name not in inputs}
    for name, key in zip(official, load_official(official), strict=True):
        grads[name] = model.get_parameter(key).grad
    _compare(grads, golden.grad)


CASES: dict[str, Callable[[Golden], None]] = {"duoformer": _duoformer}


@pytest.mark.golden_files("duoformer")
def test_duoformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
