"""A task model of every kind of layer that compressors know, small enough to look into."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.compression.compressor import Calibration
from perception.models.conv_unit import ConvUnit
from perception.models.mixers.attention import AttentionMixer
from perception.models.mixers.feed_forward import FeedForward
from perception.registry import MODELS


@MODELS.register_module()
class SmallTaskModel(nn.Module):
    """Pictures (B, 3, H, W) to a map, a score and a residual of tokens."""

    classes = ("one", "two")

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = ConvUnit(nn.Conv2d(3, width, 3, padding=1, bias=False))
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.mixer = AttentionMixer(width, heads=2)
        self.norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, ratio=2)
        self.embedding = nn.Parameter(torch.randn(1, 64, width))
        self.tied = nn.Linear(width, width)
        self.again = nn.Linear(width, width)
        self.again.weight = self.tied.weight
        self.box = nn.Conv2d(width, 7, 1)
        self.score = nn.Linear(width, 2)

    def forward(self, inputs: Tensor, mode: str = "tensor") -> Any:
        """Raw maps by name, whatever the mode."""
        maps = self.up(self.stem(inputs))                                          # (B, C, 8, 8)
        tokens = maps.flatten(2).transpose(1, 2) + self.embedding                  # (B, 64, C)
        tokens = self.norm(tokens + self.mixer(tokens))
        tokens = tokens + self.ffn(tokens)
        tokens = self.again(self.tied(tokens).relu())
        maps = tokens.transpose(1, 2).view_as(maps)
        return {"box": self.box(maps), "score": self.score(tokens.mean(1)).sigmoid()}


PICTURE = torch.ones(1, 3, 4, 4)


def small_model(seed: int = 0) -> SmallTaskModel:
    """In evaluation mode, with running statistics that are not trivial."""
    torch.manual_seed(seed)
    model = SmallTaskModel()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(2, 3, 4, 4) * 2 + 1)
    return model.eval()


def calibration(batches: int = 2) -> Calibration:
    """Pictures like those the model was made with."""
    generator = torch.Generator().manual_seed(7)
    return Calibration([{"inputs": torch.randn(2, 3, 4, 4, generator=generator) * 2 + 1} for _ in range(batches)])
