"""AlgoFormer: a transformer whose middle part is run again and again with the same weights."""

from perception.registry import PluginInfo, VariantInfo

from .backbone import AlgoFormerBackbone
from .looped import AlgoFormer
from .losses import mean_over_iterations, mean_squared_error
from .mixer import AlgoFormerMixer
from .official import load_official

PLUGIN = PluginInfo(
    name="algoformer",
    title="On the Expressive Power of a Variant of the Looped Transformer",
    year=2024,
    roles=("image_backbone", "token_mixer"),
    parity="outputs of all iterations, loss and gradients equal an independent float64 form of the definition to 1e-5; "
    "no code of the authors is public",
    variants={"configs/algoformer/algoformer_256.py": VariantInfo(picture=(224, 224))},
)

__all__ = [
    "PLUGIN", "AlgoFormer", "AlgoFormerBackbone", "AlgoFormerMixer", "load_official", "mean_over_iterations",
    "mean_squared_error",
]
