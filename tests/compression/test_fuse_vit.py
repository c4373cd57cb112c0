"""The mended fusion of vision transformers: what the released procedure gets wrong, it gets right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perception.compression.fusion.activations import record_outputs
from perception.compression.fusion.matching import Matching
from perception.compression.fusion.vit import VitFusion, fuse_vit

pytest.importorskip("ot", reason="POT is not installed: pip install -e '.[compress]'")
sys.path.append(str(Path(__file__).resolve().parents[1] / "golden"))
from fusion_vit import NamedViT

SHAPE, HEADS, WIDTH = (12, 3, 20, 2), 3, 4
PIXELS = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
EXACT = Matching(solver="emd")
MENDED = VitFusion(EXACT, policy="no_resid", qk="heads", heads=(HEADS, HEADS))     # of the embedding: the patches' map
RELEASED = VitFusion.released(Matching(solver="emd", scale="code"), features="wts", policy="no_resid")


def network(seed: int = 0, shape: tuple[int, int, int, int] = SHAPE) -> NamedViT:
    torch.manual_seed(seed)
    model = NamedViT(shape, 4, 8, 5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    return model


def state_of(depth: int) -> dict[str, Tensor]:
    return network(0, (*SHAPE[:3], depth)).state_dict()


def reordered(state: dict[str, Tensor], *, stream: bool) -> dict[str, Tensor]:
    """The same network with its hidden units and heads, and if asked for its stream, in another order."""
    draw = torch.Generator().manual_seed(7)
    order = torch.randperm(SHAPE[0], generator=draw) if stream else torch.arange(SHAPE[0])
    hidden = torch.randperm(SHAPE[2], generator=draw)
    heads = torch.randperm(HEADS, generator=draw).tolist()
    inner, values = (torch.cat([h * WIDTH + torch.randperm(WIDTH, generator=draw) for h in heads]) for _ in range(2))
    moved = {}
    for name, value in state.items():
        gives, reads = order, order
        if "intermediate" in name:
            gives = hidden
        elif ".output.dense" in name:
            reads = values if ".attention." in name else hidden
        elif name.endswith((".query.weight", ".query.bias", ".key.weight", ".key.bias")):
            gives = inner
        elif ".value." in name:
            gives = values
        elif name.startswith("classifier"):
            gives = torch.arange(5)
        if name.endswith(("cls_token", "position_embeddings")):
            moved[name] = value[:, :, order]
        elif value.dim() == 2:
            moved[name] = value[gives][:, reads]
        else:
            moved[name] = value[gives]
    return moved


def fused(first: dict[str, Tensor], anchor: NamedViT, settings: VitFusion) -> Tensor:
    """Logits of the fusion of a state into a network."""
    other, result = network(), network()
    other.load_state_dict(first)
    acts = tuple(record_outputs(model, [PIXELS]) for model in (other, anchor))
    result.load_state_dict(fuse_vit(first, anchor.state_dict(), settings, acts).state)
    return result(PIXELS)


@pytest.mark.parametrize("stream", [False, True])
def test_a_network_in_another_order_gives_the_anchor_back(stream: bool):
    anchor = network()
    moved = reordered(anchor.state_dict(), stream=stream)
    other = network()
    other.load_state_dict(moved)
    torch.testing.assert_close(other(PIXELS), anchor(PIXELS), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fused(moved, anchor, MENDED), anchor(PIXELS), atol=1e-4, rtol=1e-4)


def test_by_weights_the_released_procedure_loses_the_class_token_and_the_mended_one_keeps_it():
    anchor = network()
    moved = reordered(anchor.state_dict(), stream=True)
    token = anchor.state_dict()["vit.embeddings.cls_token"]
    released, mended = (
        fuse_vit(moved, anchor.state_dict(), settings).state["vit.embeddings.cls_token"]
        for settings in (RELEASED, replace(MENDED, features="wts"))
    )
    torch.testing.assert_close(mended, token)
    assert (released - token).abs().max() > 1e-2


def test_alpha_counts_in_layers_only_where_it_is_mended():
    first, anchor = network(1).state_dict(), network()
    mended = VitFusion(EXACT, alpha=1.0)
    torch.testing.assert_close(fused(first, anchor, mended), anchor(PIXELS))
    released = VitFusion.released(Matching(solver="emd", scale="code"), alpha=1.0)
    assert (fused(first, anchor, released) - anchor(PIXELS)).abs().max() > 1e-2


@pytest.mark.parametrize("qk", ["separate", "eq_t_map", "joint", "heads"])
@pytest.mark.parametrize("features", ["acts", "wts"])
@pytest.mark.parametrize("fuse_classifier", [True, False])
def test_every_setting_narrows_a_network(qk: str, features: str, fuse_classifier: bool):
    wide, anchor = network(1, (18, 3, 24, 2)), network()
    acts = tuple(record_outputs(model, [PIXELS]) for model in (wide, anchor))
    settings = VitFusion(features=features, qk=qk, heads=(3, 3), fuse_classifier=fuse_classifier)
    result = fuse_vit(wide.state_dict(), anchor.state_dict(), settings, acts)
    model = network()
    model.load_state_dict(result.state)
    assert model(PIXELS).isfinite().all()
    weights = (state["classifier.weight"] for state in (result.state, anchor.state_dict()))
    assert torch.equal(*weights) is not fuse_classifier


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: VitFusion(qk="both"), "qk must be one of .* got 'both'"),
        (lambda: VitFusion(features="grads"), 'features must be "acts" or "wts", got \'grads\''),
        (lambda: VitFusion(qk="heads"), "needs the heads of both models, got None"),
        (lambda: fuse_vit(state_of(2), state_of(2), MENDED), "activations of both models .* None"),
        (lambda: fuse_vit(state_of(1), state_of(2), MENDED), "got 1 and 2 layers"),
    ],
)
def test_slips_are_refused(call: Any, told: str):
    with pytest.raises(ValueError, match=told):
        call()
