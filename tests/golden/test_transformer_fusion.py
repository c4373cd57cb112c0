"""Optimal-transport fusion against the released functions on their own inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from fusion_vit import NamedViT
from torch import Tensor

from perception.compression.fusion.activations import central_tokens, record_outputs
from perception.compression.fusion.ground_metric import GroundMetric
from perception.compression.fusion.linear import Linear, fuse_linear
from perception.compression.fusion.matching import Matching
from perception.compression.fusion.residual import POLICIES, combine
from perception.compression.fusion.vit import FusedVit, VitFusion, fuse_vit

pytest.importorskip("ot", reason="POT is not installed: pip install -e '.[compress]'")
CLASS_TOKEN = "vit.embeddings.cls_token"
ALWAYS = ("fuse_src_embed", "fuse_sa", "fuse_norm", "fuse_fc", "fuse_bias")


def _matching(fusion: Mapping[str, Any]) -> Matching:
    metric = fusion["gnd_metric"]
    clip = (metric["reg"] * metric["clip_min"], metric["reg"] * metric["clip_max"]) if metric["clip"] else None
    return Matching(
        GroundMetric(metric["type"], metric["squared"], metric["norm"], clip), fusion["ot_solver"],
        fusion["sinkhorn_reg"], scale="code",
    )


def _limit(golden: Golden) -> float:
    return 2e-6 if golden.config["fusion"]["ot_solver"] == "emd" else 1e-5


def _near(found: Tensor, expected: Tensor, limit: float) -> None:
    torch.testing.assert_close(found, expected, atol=limit, rtol=0)


def _linear(golden: Golden) -> None:
    fusion, limit = golden.config["fusion"], _limit(golden)
    layers = [Linear(golden.state[f"w{i}.weight"], golden.state[f"w{i}.bias"]) for i in (0, 1)]
    acts = (golden.inputs["act_0"], golden.inputs["act_1"]) if fusion["type"] == "acts" else None

    def run(**options: bool) -> Any:
        return fuse_linear(
            *layers, _matching(fusion), alpha=golden.config["alpha"], acts=acts, incoming=golden.inputs["t_in"],
            unit_norm=fusion["wts"]["norm"], **options,
        )

    fused = run()
    _near(fused.cost, golden.out["ground_metric"], 2e-6)
    _near(fused.transport, golden.out["t_out"], limit)
    _near(fused.layer.weight, golden.out["weight"], limit)
    _near(fused.layer.bias, golden.out["bias"], limit)
    if "last_weight" in golden.out:
        last = run(last=True)
        assert last.transport is None
        _near(last.layer.weight, golden.out["last_weight"], 2e-6)
        _near(last.layer.bias, golden.out["last_bias"], 2e-6)


def _residual(golden: Golden) -> None:
    given = golden.inputs
    assert set(golden.out) == set(POLICIES)
    for policy, expected in golden.out.items():
        found = combine(given["t_resid"], given["t_in"], policy, (given["resid_acts"], given["in_acts"]))
        _near(found, expected, 2e-6)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _network(golden: Golden, number: int, state: Mapping[str, Tensor]) -> NamedViT:
    config = golden.config
    network = NamedViT(config["shapes"][number], config["patch"], config["image"], config["num_classes"])
    load_state(network, state)
    return network


def _select(name: str | None) -> Callable[[str, Tensor], Tensor] | None:
    """The tokens that a file keeps: all, or those of ``window_6`` and the like."""
    if name is None:
        return None
    window = int(name.removeprefix("window_"))
    return lambda module, tokens: central_tokens(tokens, window, class_token="patch_embeddings" not in module)


def _check_activations(golden: Golden, number: int, network: NamedViT) -> None:
    """Hooks on our network of the same names give the activations of the file."""
    acts = golden.config["fusion"]["acts"]
    flags = {name: acts[name] for name in ("std", "center", "norm")}
    found = record_outputs(network, golden.inputs["pixel_values"][:, None], select=_select(acts["seq_filter"]), **flags)
    expected = _under(golden.inputs, f"acts_{number}.")
    assert set(expected) - {"classifier"} <= set(found)
    for name, value in expected.items():
        if name != "classifier":                     # of two dimensions, and of no use
            torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-4)


def _check_maps(golden: Golden, fused: FusedVit) -> None:
    expected = [golden.out[key] for key in sorted(golden.out) if key.startswith("tmap.")]
    junctions = [golden.out[key] for key in sorted(golden.out) if key.startswith("resid_tmap.")]
    limit = _limit(golden)
    for number, (found, wanted) in enumerate(zip(fused.transports, expected, strict=True)):
        if number or golden.config["fusion"]["ot_solver"] != "emd":
            _near(found, wanted, limit)
    for found, wanted in zip(fused.junctions, junctions, strict=True):
        _near(found, wanted, limit)


def _check_class_token_map(golden: Golden, found: Tensor) -> None:
    """Of many matchings of the same cost, any will do."""
    fusion, stored = golden.config["fusion"], golden.out["tmap.000"]
    rows = [golden.state[f"model{i}.{CLASS_TOKEN}"].flatten(0, 1).T for i in (0, 1)]
    if fusion["type"] == "wts" and fusion["wts"]["norm"]:
        rows = [torch.nn.functional.normalize(row) for row in rows]
    cost = _matching(fusion).metric(*rows).double()
    torch.testing.assert_close((cost * found).sum(), (cost * stored).sum(), atol=1e-6, rtol=0, check_dtype=False)
    for dim in (0, 1):
        torch.testing.assert_close(found.sum(dim=dim), stored.sum(dim=dim), atol=1e-6, rtol=0)


def _vit(golden: Golden) -> None:
    config, fusion = golden.config, golden.config["fusion"]
    assert all(fusion[name] for name in ALWAYS)
    states = [_under(golden.state, f"model{i}.") for i in (0, 1)]
    networks = [_network(golden, i, states[i]) for i in (0, 1)]
    pixels = golden.inputs["pixel_values"]
    for number, network in enumerate(networks):
        _near(network(pixels).detach(), golden.out[f"logits{number}"], 1e-5)
        _check_activations(golden, number, network)
    settings = VitFusion.released(
        _matching(fusion), features=fusion["type"], unit_norm=fusion["wts"]["norm"], policy=fusion["resid_policy"],
        qk=fusion["qk_fusion"], alpha=config["alpha"], fuse_classifier=fusion["fuse_gen"],
    )
    fused = fuse_vit(*states, settings, (_under(golden.inputs, "acts_0."), _under(golden.inputs, "acts_1.")))
    _check_maps(golden, fused)
    if fusion["ot_solver"] == "emd":                 # its map of the class token is not the only one
        _check_class_token_map(golden, fused.transports[0])
        stored = states[0][CLASS_TOKEN] @ golden.out["tmap.000"]
        fused.state[CLASS_TOKEN] = torch.lerp(stored, states[1][CLASS_TOKEN], config["alpha"])
    expected = _under(golden.out, "fused.")
    assert set(expected) == set(fused.state)
    for name, value in expected.items():
        _near(fused.state[name], value, _limit(golden))
    _near(_network(golden, 1, fused.state)(pixels).detach(), golden.out["logits_fused"], 1e-5)


CASES: dict[str, Callable[[Golden], None]] = {"fc": _linear, "resid_policy": _residual, "vit": _vit}


@pytest.mark.golden_files("transformer_fusion")
def test_golden(golden_file: Path):
    golden = read_golden(golden_file)
    assert golden.case in CASES, f"no test for the case {golden.case}"
    CASES[golden.case](golden)
