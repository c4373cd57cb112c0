"""What the golden cases of DAFormer's network and of its training share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from center_cases import Golden
from torch import Tensor

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}
Maps = Mapping[str, Tensor]
close = torch.testing.assert_close


def check_outputs(golden: Golden, ours: Maps, **tolerance: float) -> None:
    """Every output that the file has, and no other; whole numbers must be equal."""
    for name, expected in golden.out.items():
        near = {**TOLERANCE, **tolerance} if expected.is_floating_point() else {"atol": 0, "rtol": 0}
        value = ours[name].reshape(expected.shape).to(expected.dtype)
        close(value, expected, **near, msg=lambda text, name=name: f"{name}: {text}")


def segmentor_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of the `Segmentor` that a golden file tells of."""
    backbone = config["backbone"]
    options = {
        "channels": "embed_dims", "depths": "depths", "heads": "num_heads", "reductions": "sr_ratios",
        "expansions": "mlp_ratios", "drop_path": "drop_path_rate", "qkv_bias": "qkv_bias",
    }
    return {
        "type": "Segmentor",
        "backbone": {
            "type": "MixTransformer",
            **{ours: backbone[theirs] for ours, theirs in options.items() if theirs in backbone},
        },
        "head": {
            "type": "DAFormerHead", "channels": config.get("channels"), "embed_channels": config.get("embed_dims"),
            "dropout": 0.0,
        },
        "classes": [f"class{label}" for label in range(config.get("num_classes", 1))],
    }
