"""kMaX-DeepLab: panoptic, semantic and instance segmentation by clusters of pixels."""

from perception.registry import PluginInfo

from .decoding import instances, panoptic_map, pixel_shares, semantic_scores
from .head import KMaXHead
from .official import load_official

_CONFIGS = "configs/kmax/kmax_{}.py"

PLUGIN = PluginInfo(
    name="kmax",
    title="k-means Mask Transformer",
    year=2022,
    roles=("seg_head",),
    official="bytedance/kmax-deeplab",
    checkpoints={
        f"kmax_{name}": _CONFIGS.format(name)
        for name in (
            "r50_coco", "convnext_tiny_coco", "convnext_small_coco", "convnext_base_coco", "convnext_large_coco",
            "r50_cityscapes", "convnext_large_cityscapes", "r50_ade20k", "convnext_large_ade20k",
        )
    },
    parity="modules, losses and gradients equal the authors' code to 1e-5, whole models to 2e-3, segments exactly",
)

__all__ = ["PLUGIN", "KMaXHead", "instances", "load_official", "panoptic_map", "pixel_shares", "semantic_scores"]
