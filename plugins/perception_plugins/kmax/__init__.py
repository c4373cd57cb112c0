"""kMaX-DeepLab: panoptic, semantic and instance segmentation by clusters of pixels."""

from perception.registry import PluginInfo, VariantInfo

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
    variants={
        _CONFIGS.format(name): VariantInfo(score, "README of the authors' PyTorch code", picture=picture)
        for name, score, picture in (
            ("r50_coco", "53.3 PQ, COCO val", (1281, 1281)),
            ("convnext_tiny_coco", "55.5 PQ, COCO val", (1281, 1281)),
            ("convnext_small_coco", "56.7 PQ, COCO val", (1281, 1281)),
            ("convnext_base_coco", "57.2 PQ, COCO val", (1281, 1281)),
            ("convnext_large_coco", "57.9 PQ, COCO val", (1281, 1281)),
            ("r50_cityscapes", "63.5 PQ, 38.6 AP, 79.5 mIoU, Cityscapes val", (1025, 2049)),
            ("convnext_large_cityscapes", "68.4 PQ, 45.1 AP, 83.0 mIoU, Cityscapes val", (1025, 2049)),
            ("r50_ade20k", "42.2 PQ, ADE20K val", (1281, 1281)),
            ("convnext_large_ade20k", "50.0 PQ, ADE20K val", (1281, 1281)),
        )
    },
)

__all__ = ["PLUGIN", "KMaXHead", "instances", "load_official", "panoptic_map", "pixel_shares", "semantic_scores"]
