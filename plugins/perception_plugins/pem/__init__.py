"""PEM: masks of learned queries, each of which reads one pixel a head instead of all of them."""

from perception.registry import PluginInfo, VariantInfo

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
    variants={
        f"configs/pem/pem_{name}.py": VariantInfo(score, "the authors' README", picture=picture)
        for name, score, picture in (
            ("r50_cityscapes_semantic", "79.9 mIoU, Cityscapes val", (1024, 2048)),
            ("r50_cityscapes_panoptic", "61.1 PQ (things 54.3, stuff 66.1), Cityscapes val", (1024, 2048)),
            ("stdc1_cityscapes_semantic", "78.3 mIoU, Cityscapes val", (1024, 2048)),
            ("stdc2_cityscapes_semantic", "79.0 mIoU, Cityscapes val", (1024, 2048)),
            ("r50_ade20k_semantic", "45.5 mIoU, ADE20K val", (512, 512)),
            ("r50_ade20k_panoptic", "38.5 PQ (things 37.0, stuff 41.1), ADE20K val", (640, 640)),
            ("stdc1_ade20k_semantic", "39.6 mIoU, ADE20K val", (512, 512)),
            ("stdc2_ade20k_semantic", "45.0 mIoU, ADE20K val", (512, 512)),
        )
    },
)

__all__ = ["PLUGIN", "MaskPredictions", "PEMHead", "PEMPixelDecoder", "load_official"]
