"""Small networks of RMT's kind."""

from __future__ import annotations

from typing import Any

import torch

from perception_plugins.rmt import RMT

TINY: dict[str, Any] = {
    "channels": (8, 8, 16, 16), "depths": (1, 1, 2, 1), "heads": (2, 2, 4, 4), "expansions": (2, 2, 2, 2),
    "decomposed": (True, True, True, False), "layer_scales": (False, False, True, True), "layer_scale_init": 0.5,
    "drop_path": 0.0,
}


def tiny_backbone(**options: Any) -> RMT:
    """A backbone of a few thousand parameters whose norms have statistics of their own, in evaluation mode."""
    torch.manual_seed(0)
    model = RMT(**{**TINY, **options})
    randomize_norms(model)
    return model.eval()


def randomize_norms(model: torch.nn.Module) -> None:
    """Statistics of batch norms that are not those of the identity."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.2, 0.2)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
