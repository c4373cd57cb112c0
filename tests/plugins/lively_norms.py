"""Norms that make neurons spike, for the tests of spiking networks."""

from __future__ import annotations

from torch import nn


def make_lively(network: nn.Module) -> None:
    """Let batch normalisations give numbers that neurons spike at now and then, as those of a trained network do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 3.0)
            nn.init.constant_(module.bias, 0.5)
