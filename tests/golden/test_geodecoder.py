"""Cells, partitions, distances, GeoDecoder and its inference against the golden files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.evaluation.geo_localization import accuracy_within
from perception.geo import adaptive_partition, great_circle_km
from perception.geo.local_frames import argoverse2_latlng
from perception.geo.s2_cells import center_latlng, faces_of, ids_of_tokens, leaf_ids, levels_of, parent_ids, tokens_of
from perception.models.geo_inference import GeoLogits, chained_log_probabilities
from perception.models.key_map import rename_part
from perception_plugins.geodecoder import GeoDecoderHead, LegacyGeoHead, load_official
from perception_plugins.geodecoder.head import SceneQueryHead

NO_SMOOTHING = 0.0
PUBLIC_WEIGHTS, PUBLIC_SMOOTHING = (0.5, 0.3, 0.2), 0.1              # of the public trainer


def close(ours: Tensor | np.ndarray, expected: Tensor, name: str, *, atol: float = 1e-5, rtol: float = 0.0) -> None:
    """Equal to the sheet's tolerance; whole numbers exactly."""
    ours = torch.as_tensor(ours).detach().reshape(expected.shape)
    if not expected.is_floating_point():
        atol = rtol = 0.0
    torch.testing.assert_close(
        ours.to(expected.dtype), expected, atol=atol, rtol=rtol, msg=lambda text: f"{name}: {text}"
    )


def signed(ids: np.ndarray) -> np.ndarray:
    return ids.view(np.int64)


def _s2_cells(golden: Golden) -> None:
    ids = leaf_ids(golden.inputs["latlng.f64"].numpy())
    levels = golden.config["levels"]
    above = [parent_ids(ids, level) for level in levels]
    for parents, level in zip(above, levels, strict=True):
        assert (levels_of(parents) == level).all()
        assert (ids_of_tokens(tokens_of(parents)) == parents).all()
    ours = {
        "cell_id": signed(ids), "face": faces_of(ids),
        "parent_id": np.stack([signed(cells) for cells in above], axis=1),
        "parent_center_latlng.f64": np.stack([center_latlng(cells) for cells in above], axis=1),
    }
    for name, expected in golden.out.items():
        close(ours[name], expected, name, atol=1e-9)
    for key, tokens in golden.config.items():
        if key.startswith("tokens_level"):
            assert tokens_of(parent_ids(ids, int(key.removeprefix("tokens_level")))) == tokens


def _partition(golden: Golden) -> None:
    config, latlng = golden.config, golden.inputs["latlng.f64"].numpy()
    bounds = {name: config[name] for name in ("tau_min", "level_min", "level_max") if name in config}
    partition = adaptive_partition(latlng, config["tau_max"], **bounds)
    labels = partition.labels_of(latlng)
    ours: dict[str, np.ndarray] = {"valid_all": (labels >= 0).all(axis=1)}
    for number, cells in enumerate(partition.hierarchies):
        ours |= {
            f"h{number}.cells": signed(cells.ids), f"h{number}.labels": labels[:, number],
            f"h{number}.counts": cells.counts, f"h{number}.mean_latlng.f64": cells.latlng,
            f"h{number}.levels": cells.levels,
        }
    ours |= {f"h{number}.parent": parents for number, parents in enumerate(partition.parents, start=1)}
    for name, expected in golden.out.items():
        close(ours[name], expected, name, atol=1e-9)


def _av2_city_to_wgs84(golden: Golden) -> None:
    for key, xy in golden.inputs.items():
        city = key.split(".")[0]
        name = f"{city}.latlng.f64"
        close(argoverse2_latlng(xy.numpy(), city), golden.out[name], name, atol=1e-9)


def _great_circle(golden: Golden) -> None:
    distances = great_circle_km(golden.inputs["pred_latlng.f64"].numpy(), golden.inputs["true_latlng.f64"].numpy())
    ours = {"distance_km.f64": distances, "accuracy.f64": accuracy_within(distances, golden.config["thresholds_km"])}
    for name, expected in golden.out.items():
        close(ours[name], expected, name, atol=1e-6)


def _hier_inference(golden: Golden) -> None:
    inputs, crops = golden.inputs, golden.config["crops"]
    names = sorted(name for name in inputs if name.startswith("logits_h"))
    logits = tuple(inputs[name].flatten(0, 1) for name in names)
    few = torch.zeros(len(logits[0]), 1)
    raw = GeoLogits(logits, few, few[:, 0].long(), few[:, None]).averaged(crops)
    parents = [inputs[f"parent_of_{name.removeprefix('logits_')}"] for name in names[1:]]
    log_product = chained_log_probabilities(raw.hierarchies, parents)[-1]
    found = log_product.argmax(dim=1)
    places = inputs["cell_latlng.f64"][found]
    distances = great_circle_km(places.numpy(), inputs["true_latlng.f64"].numpy())
    ours = {
        "prob_product": log_product.exp(), "pred_class": found, "pred_latlng.f64": places,
        "accuracy.f64": accuracy_within(distances, golden.config["thresholds_km"]),
    }
    for name, expected in golden.out.items():
        close(ours[name], expected, name, atol=0, rtol=1e-4)


def _check_grads(head: SceneQueryHead, total: Tensor, golden: Golden, tokens: Tensor) -> None:
    total.backward()
    expected = {name: grad for name, grad in golden.grad.items() if name != "tokens"}
    parameters = dict(head.named_parameters())
    for name, grad in rename_part(expected, load_official, "", "head.").items():
        close(parameters[name].grad, grad, f"grad of {name}")
    if "tokens" in golden.grad:
        close(tokens.grad, golden.grad["tokens"], "grad of tokens")


def _layer_outputs(layers: list[nn.Module]) -> list[Tensor]:
    """Filled in the order of the layers when the head runs; queries (B, S * H, C)."""
    found: list[Tensor] = []
    for layer in layers:
        layer.register_forward_hook(lambda _module, _inputs, queries: found.append(queries.flatten(1, 2)))
    return found


def _legacy(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    parts = [inputs[name] for name in ("tokens_stage2", "tokens_last") if name in inputs]
    options = {"depth": config["depth"], "heads": config["heads"], "head_channels": config["dh"],
               "hidden": config["mlp"]}
    head = LegacyGeoHead(
        [part.shape[2] for part in parts], config["ncls"], num_scenes=config["S"], channels=config["D"],
        decoder={**options, "legacy_chain": True}, hierarchy_weights=PUBLIC_WEIGHTS, label_smoothing=PUBLIC_SMOOTHING,
    )
    load_state(head, rename_part(golden.state, load_official, "", "head."))
    found = _layer_outputs([head.decoder])
    raw = head.tell(head.tokens(parts))
    losses = head.loss(raw, inputs["labels"], inputs["scene_labels"])
    by_hierarchy = [losses[f"loss_hierarchy{number}"] for number in range(len(config["ncls"]))]
    total = sum(losses.values())
    ours = {
        "decoder": found[0], "scene": raw.scenes, "scene_choice": raw.scene, "selected": raw.selected,
        "hier_conf": raw.confidence(), "loss_scene": losses.get("loss_scene", torch.zeros(())),
        "loss_total": total,
        "loss_h": torch.stack(by_hierarchy) / torch.tensor(PUBLIC_WEIGHTS),
        **{f"h{number}": logits for number, logits in enumerate(raw.hierarchies, start=1)},
    }
    for name, expected in golden.out.items():
        close(ours[name], expected, name)
    _check_grads(head, total, golden, parts[-1])


def _geodecoder(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    options = {
        "heads": config["num_heads"], "head_channels": config["dim_head"], "hidden": config["mlp_dim"],
        "num_independent": config["num_independent"], "num_dependent": config["num_dependent"],
    }
    assert len(config["num_classes"]) == config["num_hierarchies"]
    head = GeoDecoderHead(
        [config["dim"]], config["num_classes"], num_scenes=config["num_scenes"], channels=config["dim"],
        decoder=options, label_smoothing=config["label_smoothing"], scene_smoothing=NO_SMOOTHING,
    )
    load_state(head, rename_part(golden.state, load_official, "", "head."))
    tokens = inputs["tokens"].requires_grad_()
    layers = _layer_outputs([*head.decoder.independent, *head.decoder.dependent])
    raw = head.tell(head.tokens([tokens]))
    losses = head.loss(raw, inputs["labels"], inputs["scene_labels"])
    by_hierarchy = [losses[f"loss_hierarchy{number}"] for number in range(len(config["num_classes"]))]
    parents = [inputs[f"parent_of_h{number}"] for number in range(1, len(config["num_classes"]))]
    log_product = chained_log_probabilities(raw.hierarchies, parents)[-1]
    total = sum(losses.values())
    ours = {
        "scene_logits": raw.scenes, "scene_choice": raw.scene, "selected": raw.selected,
        "prob_product": log_product.exp(), "pred_class": log_product.argmax(dim=1),
        "loss_h": torch.stack(by_hierarchy), "loss_scene": losses.get("loss_scene", torch.zeros(())),
        "loss_total": total,
        **{f"layer{number}": queries for number, queries in enumerate(layers)},
        **{f"logits_h{number}": logits for number, logits in enumerate(raw.hierarchies)},
    }
    for name, expected in golden.out.items():
        close(ours[name], expected, name, **({"atol": 0.0, "rtol": 1e-4} if name == "prob_product" else {}))
    _check_grads(head, total, golden, tokens)


CASES: dict[str, Callable[[Golden], None]] = {
    "s2_cells": _s2_cells,
    "partition": _partition,
    "av2_city_to_wgs84": _av2_city_to_wgs84,
    "great_circle": _great_circle,
    "hier_inference": _hier_inference,
    "legacy": _legacy,
    "geodecoder": _geodecoder,
}


@pytest.mark.golden_files("geodecoder", pattern="*.*")
def test_every_case_is_known(golden_file: Path):
    assert golden_file.stem.split("__")[0] in CASES


@pytest.mark.golden_files("geodecoder")
def test_geodecoder_equals_the_reference(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
