"""ATLAS: a token mixer whose state is the weights of a small network that learns while it reads."""

from perception.registry import PluginInfo

from .memories import polynomial_features
from .mixer import AtlasMixer
from .newton_schulz import newton_schulz

PLUGIN = PluginInfo(
    name="atlas",
    title="ATLAS: Learning to Optimally Memorize the Context at Test Time",
    year=2025,
    roles=("token_mixer",),
    parity="there is no official code; outputs and states equal an independent float64 implementation of the same "
    "definition to 1e-5, gradients to 1e-4",
)

__all__ = ["PLUGIN", "AtlasMixer", "newton_schulz", "polynomial_features"]
