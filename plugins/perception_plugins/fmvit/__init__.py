"""FMViT-style networks: convolutions for high frequencies, attention for low ones, plain convolutions when deployed.

**Is this the official model? No.** The authors of "FMViT: A multiple-frequency mixing Vision Transformer" have
published neither code nor weights (as of their repository's only commit); this is a self-consistent network in the
spirit of the paper's abstract, not a reproduction. Its equations, widths, depths and the names of its sizes are this
project's, and the paper's accuracies say nothing about it.
"""

from perception.registry import PluginInfo, VariantInfo

from .backbone import FMViT
from .official import load_official

SIZES = ("tiny", "small", "base")
PLUGIN = PluginInfo(
    name="fmvit",
    title="FMViT-style, not a reproduction of: FMViT: A multiple-frequency mixing Vision Transformer",
    year=2023,
    roles=("image_backbone",),
    checkpoints={f"fmvit_{size}": f"configs/fmvit/fmvit_{size}.py" for size in SIZES},
    parity="the official code is not public; blocks, maps, gradients and fused kernels equal an independent float64 "
    "implementation of the same equations to 2e-5",
    variants={f"configs/fmvit/fmvit_{size}.py": VariantInfo(picture=(224, 224)) for size in SIZES},
)

__all__ = ["PLUGIN", "FMViT", "load_official"]
