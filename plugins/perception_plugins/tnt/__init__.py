"""TNT and PyramidTNT: transformers over patches, and over the words of every patch."""

from perception.registry import PluginInfo, VariantInfo

from .attention import PyramidTNTAttention, TNTAttention
from .classifier import TNTClassifier
from .official import load_official
from .pyramid import PyramidTNT
from .tnt import TNT

PLUGIN = PluginInfo(
    name="tnt",
    title="Transformer in Transformer; PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid "
    "Architecture",
    year=2021,
    roles=("image_backbone", "image_classifier", "token_mixer"),
    official="huawei-noah/Efficient-AI-Backbones",
    checkpoints={
        "tnt_s_81.5": "configs/tnt/tnt_s_patch16_224.py",
        "tnt_b_82.9": "configs/tnt/tnt_b_patch16_224.py",
        "tnt_s_legacy_patch16_224.in1k": "configs/tnt/tnt_s_legacy_patch16_224.py",
        "ptnt_ti_patch16_192": "configs/tnt/ptnt_ti_patch16_192.py",
        "ptnt_s_patch16_256": "configs/tnt/ptnt_s_patch16_256.py",
        "ptnt_m_patch16_256": "configs/tnt/ptnt_m_patch16_256.py",
        "ptnt_b_patch16_256": "configs/tnt/ptnt_b_patch16_256.py",
    },
    parity="outputs and gradients equal the authors' code to 2e-5 (TNT) and 5e-4 (PyramidTNT)",
    variants={
        f"configs/tnt/{config}.py": VariantInfo(score, score and "paper", picture=(side, side))
        for config, score, side in (
            ("tnt_s_patch16_224", "81.5 % top-1, 95.7 % top-5, ImageNet", 224),
            ("tnt_b_patch16_224", "82.9 % top-1, 96.3 % top-5, ImageNet", 224),
            ("tnt_ti_patch16_224", "73.9 % top-1, ImageNet", 224),
            ("tnt_s_legacy_patch16_224", "", 224),
            ("ptnt_ti_patch16_192", "75.2 % top-1, ImageNet", 192),
            ("ptnt_s_patch16_256", "82.0 % top-1, ImageNet", 256),
            ("ptnt_m_patch16_256", "83.5 % top-1, ImageNet", 256),
            ("ptnt_b_patch16_256", "84.1 % top-1, ImageNet", 256),
        )
    },
)

__all__ = [
    "PLUGIN", "TNT", "PyramidTNT", "PyramidTNTAttention", "TNTAttention", "TNTClassifier", "load_official",
]
