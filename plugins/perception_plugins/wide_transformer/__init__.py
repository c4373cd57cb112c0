"""Wide transformers: the heads of many layers in one, and a single layer that approximates by construction."""

from perception.registry import PluginInfo, VariantInfo

from .attention import WideAttentionMixer
from .budget import Account, Shape, account, stack_weights, widen
from .encoder import WideTransformer
from .official import load_official
from .universal import RidgeSum, UniversalRidge
from .vision import WideVisionTransformer

PLUGIN = PluginInfo(
    name="wide_transformer",
    title="Wide Attention Is The Way Forward For Transformers?",
    year=2022,
    roles=("image_backbone", "token_mixer"),
    parity="tokens, maps, gradients, stacked weights and the constructed network equal an independent float64 form to "
    "2e-5; no code of the authors is public",
    variants={
        f"configs/wide_transformer/{name}.py": VariantInfo(picture=(224, 224))
        for name in ("deep_512", "wide_heads_512", "wide_params_512")
    },
)

__all__ = [
    "PLUGIN", "Account", "RidgeSum", "Shape", "UniversalRidge", "WideAttentionMixer", "WideTransformer",
    "WideVisionTransformer", "account", "load_official", "stack_weights", "widen",
]
