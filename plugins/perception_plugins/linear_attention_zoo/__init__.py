"""Efficient token mixers behind one interface: windows, hashing, low rank, random features, linear attention."""

from perception.registry import PluginInfo, VariantInfo

from .linear import LinearAttentionMixer
from .linformer import LinformerMixer
from .longformer import LongformerMixer
from .performer import PerformerMixer
from .reformer import ReformerMixer
from .transfer import replace_attention, take_attention

SKELETONS = ("full", "longformer", "reformer", "linformer", "performer", "performer_relu", "linear")
PLUGIN = PluginInfo(
    name="linear_attention_zoo",
    title="A Practical Survey on Faster and Lighter Transformers",
    year=2021,
    roles=("token_mixer",),
    parity="mixers and their gradients equal an independent float64 implementation of the published formulas; the "
    "papers' own code has not been compared",
    variants={
        f"configs/linear_attention_zoo/{name}_s12.py": VariantInfo(picture=(224, 224)) for name in SKELETONS
    },
)

__all__ = [
    "PLUGIN", "LinearAttentionMixer", "LinformerMixer", "LongformerMixer", "PerformerMixer", "ReformerMixer",
    "replace_attention", "take_attention",
]
