"""RMT: image backbones whose attention fades with Manhattan distance."""

from perception.registry import PluginInfo, VariantInfo

from .backbone import RMT
from .classifier import RMTClassifier, RMTTokenLabelClassifier
from .mixers import DecomposedManhattanAttention, ManhattanAttention
from .official import config_options, load_official
from .token_label import TokenLabelLogits, TokenLabelLoss

PLUGIN = PluginInfo(
    name="rmt",
    title="RMT: Retentive Networks Meet Vision Transformers",
    year=2024,
    roles=("image_backbone", "image_classifier", "token_mixer", "loss"),
    official="qhfan/RMT",
    checkpoints={
        "RMT-T": "configs/rmt/rmt_t_imagenet.py",
        "RMT-S": "configs/rmt/rmt_s_imagenet.py",
        "RMT-B": "configs/rmt/rmt_b_imagenet.py",
        "RMT-L": "configs/rmt/rmt_l_imagenet.py",
        "RMT-S*": "configs/rmt/rmt_s_token_label_imagenet.py",
        "RMT-B*": "configs/rmt/rmt_b_token_label_imagenet.py",
        "RMT-L*": "configs/rmt/rmt_l_token_label_imagenet.py",
    },
    parity="attention, blocks and losses equal the authors' code to 1e-5, classifiers and dense maps to 2e-6",
    variants={
        f"configs/rmt/rmt_{name}_imagenet.py": VariantInfo(f"{top1} % top-1, ImageNet", "paper", picture=(224, 224))
        for name, top1 in (
            ("t", "82.4"), ("s", "84.1"), ("b", "85.0"), ("l", "85.5"), ("s_token_label", "84.8"),
            ("b_token_label", "85.6"), ("l_token_label", "86.1"),
        )
    },
)

__all__ = [
    "PLUGIN", "RMT", "DecomposedManhattanAttention", "ManhattanAttention", "RMTClassifier", "RMTTokenLabelClassifier",
    "TokenLabelLogits", "TokenLabelLoss", "config_options", "load_official",
]
