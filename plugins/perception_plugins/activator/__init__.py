"""Activator: a gated linear unit in place of attention and feed-forward net, which mixes channels and no tokens."""

from perception.registry import PluginInfo, VariantInfo

from .backbone import Activator, ActivatorMetaFormer
from .block import ActivatorBlock
from .glu import ActivatorGLU
from .official import load_official

PLUGIN = PluginInfo(
    name="activator",
    title="Activator: GLU Activation Function as the Core Component of a Vision Transformer",
    year=2024,
    roles=("channel_mixer", "image_backbone"),
    official="Abdullah-88/Activator",
    checkpoints={
        "CIFAR-10, with FFN": "configs/activator/activator_cifar10.py",
        "CIFAR-10, GLU only": "configs/activator/activator_glu_cifar10.py",
    },
    parity="gating units, blocks, their gradients and whole networks equal the authors' code to 1e-5; no weights are "
    "released. No patch of the published network sees another: a bag of patches; the form with a token mixer is ours",
    variants={
        "configs/activator/activator_cifar10.py": VariantInfo(picture=(32, 32)),
        "configs/activator/activator_glu_cifar10.py": VariantInfo(picture=(32, 32)),
        "configs/activator/activator_metaformer.py": VariantInfo(picture=(224, 224)),
    },
)

__all__ = ["PLUGIN", "Activator", "ActivatorBlock", "ActivatorGLU", "ActivatorMetaFormer", "load_official"]
