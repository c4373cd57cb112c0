"""P2AT: real-time semantic segmentation of a picture by a ResNet, axial attention and a light decoder."""

from perception.registry import PluginInfo

from .head import P2ATHead, P2ATLogits
from .losses import P2ATLoss
from .official import config_options, load_official

PLUGIN = PluginInfo(
    name="p2at",
    title="P2AT: Pyramid Pooling Axial Transformer for Real-time Semantic Segmentation",
    year=2024,
    roles=("seg_head", "loss"),
    official="mohamedac29/P2AT",
    checkpoints={
        "P2AT_small_Cityscapes_train": "configs/p2at/p2at_s_cityscapes.py",
        "P2AT_Medium_Cityscapes_train": "configs/p2at/p2at_m_cityscapes.py",
        "P2AT_Large_Cityscapes_train": "configs/p2at/p2at_l_cityscapes.py",
    },
    parity="modules, losses and gradients equal the authors' code to 1e-5; the authors have released no weights",
)

__all__ = ["PLUGIN", "P2ATHead", "P2ATLogits", "P2ATLoss", "config_options", "load_official"]
