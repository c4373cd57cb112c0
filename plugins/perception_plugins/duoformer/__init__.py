"""DuoFormer: attention across the scales of a pyramid within regions of a picture, then among the regions.

Its neck goes on top of any image backbone with four maps whose strides double; published is a classifier of
histological slides on ResNets. Sides of pictures must be multiples of the coarsest stride.
"""

from perception.registry import PluginInfo, VariantInfo

from .backbone import DuoFormer
from .classifier import DuoFormerClassifier
from .neck import DuoFormerNeck
from .official import load_official

PUBLISHED = ("r50_2scales", "r50_3scales", "r50_4scales", "r50_2scales_channel", "r50_4scales_channel", "r18_light")
PLUGIN = PluginInfo(
    name="duoformer",
    title="DuoFormer: Leveraging Hierarchical Visual Representations by Local and Global Attention",
    year=2025,
    roles=("image_backbone", "neck", "image_classifier"),
    official="xiaoyatang/duoformer_TCGA",
    checkpoints={f"duoformer_{name}": f"configs/duoformer/duoformer_{name}.py" for name in PUBLISHED},
    parity="tokens, blocks, logits and gradients equal the authors' code to 2e-5; no weights are released",
    variants={f"configs/duoformer/duoformer_{name}.py": VariantInfo(picture=(224, 224)) for name in PUBLISHED},
)

__all__ = ["PLUGIN", "DuoFormer", "DuoFormerClassifier", "DuoFormerNeck", "load_official"]
