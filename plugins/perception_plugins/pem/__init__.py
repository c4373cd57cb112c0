"""PEM: masks of learned queries, each of which reads one pixel a head instead of all of them."""

from perception.registry import PluginInfo

from .decoder import MaskPredictions
from .head import PEMHead
from .official import load_official
from .pixel_decoder import PEMPixelDecoder

CONFIGS = (
    "r50_cityscapes_semantic", "r50_cityscapes_panoptic", "stdc1_cityscapes_semantic", "stdc2_cityscapes_semantic",
    "r50_ade20k_semantic", "r50_ade20k_panoptic", "stdc1_ade20k_semantic", "stdc2_ade20k_semantic",
)
PLUGIN = PluginInfo(
    name="pem",
    title="PEM: Prototype-based Efficient MaskFormer for Image Segmentation",
    year=2024,
    roles=("seg_head", "pixel_decoder"),
    official="NiccoloCavagnero/PEM",
    checkpoints={f"pem_{name}": f"configs/pem/pem_{name}.py" for name in CONFIGS},
    parity="modules, losses and gradients equal the authors' code to 1e-5 and 1e-4, whole models to 1e-3; no trained "
    "checkpoint was released",
)

__all__ = ["PLUGIN", "MaskPredictions", "PEMHead", "PEMPixelDecoder", "load_official"]
