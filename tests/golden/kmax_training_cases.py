"""Golden cases of kMaX-DeepLab's losses, decoding and learning rate."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from center_cases import Golden
from kmax_cases import MODULE, check
from kmax_model_cases import rule_of, segments_of
from torch import Tensor

from perception.engine.warmup_poly import warmup_poly
from perception_plugins.kmax import instances, panoptic_map, pixel_shares, semantic_scores
from perception_plugins.kmax.cluster_targets import TrueSegments, cluster_targets, match_clusters
from perception_plugins.kmax.losses import WEIGHTS, KMaXLoss
from perception_plugins.kmax.predictor import ClusterPredictions


def _found(inputs: dict[str, Tensor], prefix: str = "") -> ClusterPredictions:
    return ClusterPredictions(*(inputs[f"{prefix}{name}"] for name in ("pred_logits", "pred_masks", "pixel_feature")))


def _truths(golden: Golden) -> list[TrueSegments]:
    return [
        TrueSegments(*(golden.inputs[f"t{image}.{name}"] for name in ("labels", "masks", "semantic_masks")))
        for image in range(golden.config["batch"])
    ]


def _criterion(golden: Golden) -> KMaXLoss:
    """With weights of 1; its uniform numbers are those of the file, in their order."""
    config, drawn = golden.config, iter(range(len(golden.inputs)))
    return KMaXLoss(
        weights=dict.fromkeys(WEIGHTS, 1.0), share_matching=config["share_final_matching"],
        pixels={"count": config["pixel_insdis_sample_k"], "temperature": config["pixel_insdis_temperature"]},
        semantic={"count": config["aux_semantic_sample_k"], "temperature": config["aux_semantic_temperature"]},
        draw=lambda _: golden.inputs[f"rand{next(drawn)}"],
    )


def _targets_of(golden: Golden, found: ClusterPredictions, truths: list[TrueSegments]) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    matches = [match_clusters(*image) for image in zip(found.logits, found.masks, truths, strict=True)]
    for image, match in enumerate(matches):
        ours |= {
            f"match{image}.src": match.clusters, f"match{image}.tgt": match.segments, f"match{image}.dice": match.dice,
            f"match{image}.cls_prob": match.probability,
        }
    targets = cluster_targets(found.logits, found.masks, truths, matches)
    return ours | {
        "gt.labels": targets.labels, "gt.masks": targets.masks, "gt.pixel_gt_void_mask": targets.is_void,
        "gt.pq_loss_class_weight": targets.class_weight, "gt.pq_loss_mask_weight": targets.mask_weight,
        "gt.inverse_gt_mask_area": targets.inverse_area, "gt.ground_truth_semantic": targets.semantic,
    }


def loss(golden: Golden) -> None:
    differentiable = {name: golden.inputs[name].requires_grad_() for name in golden.grad}
    inputs, layers = golden.inputs | differentiable, 0
    while f"aux{layers}.pred_masks" in inputs:
        layers += 1
    found = replace(
        _found(inputs), auxiliary=tuple(_found(inputs, f"aux{layer}.") for layer in range(layers)),
        semantic=inputs.get("aux_semantic_pred"),
    )
    truths = _truths(golden)
    losses = _criterion(golden)(found, truths)
    weights = golden.config["weight_dict"]
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    check(losses | {"total_weighted": total} | _targets_of(golden, found, truths), golden.out, MODULE)
    total.backward()
    check({name: value.grad for name, value in differentiable.items()}, golden.grad, 1e-4)


def postprocess(golden: Golden) -> None:
    config, logits, shares = golden.config, golden.inputs["class_logits"], pixel_shares(golden.inputs["mask_logits"])
    things, rules = config["thing_classes"], [rule_of(thresholds) for thresholds in config["cfgs"]]
    top = re.search(r"topk (\d+)", config["instance"])
    assert top is not None
    found = instances(logits, shares, things=things, top_k=int(top[1]), pixel=rules[-1].pixel)
    ours = {
        "semantic": semantic_scores(logits, shares), "inst.classes": found.labels, "inst.scores": found.scores,
        "inst.masks": found.masks,
    }
    for number, rule in enumerate(rules):
        ours |= segments_of(panoptic_map(logits, shares, things, rule), f"pan{number}", f"info{number}")
    check(ours, golden.out, MODULE)


def lr_schedule(golden: Golden) -> None:
    config = golden.config
    endings = dict(zip((False, True), config["constant_ending"], strict=True))
    for name, expected in golden.out.items():
        rates = [
            warmup_poly(
                config["base_lr"], step, config["max_iter"], warmup=config["warmup_iters"],
                first=config["warmup_factor"], power=config["power"], floor=endings["constant_ending" in name],
                jumps=True,
            )
            for step in golden.inputs["iters"].tolist()
        ]
        torch.testing.assert_close(torch.tensor(rates, dtype=torch.float64), expected, rtol=1e-9, atol=0)
