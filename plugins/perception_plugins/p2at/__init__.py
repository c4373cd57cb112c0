"""P2AT: real-time semantic segmentation of a picture by a ResNet, axial attention and a light decoder."""

from perception.registry import PluginInfo, VariantInfo

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
    variants={
        **{
            f"configs/p2at/p2at_{size}_camvid.py":
                VariantInfo(f"{score} mIoU, CamVid test", "paper", picture=(720, 960))
            for size, score in (("s", "80.5"), ("m", "81.0"), ("l", "81.1"))
        },
        **{f"configs/p2at/p2at_{size}_camvid_trainval.py": VariantInfo(picture=(720, 960)) for size in ("s", "m")},
        "configs/p2at/p2at_s_cityscapes.py": VariantInfo(picture=(1024, 2048)),
        "configs/p2at/p2at_m_cityscapes.py": VariantInfo("78.7 mIoU, Cityscapes", "paper", picture=(1024, 2048)),
        "configs/p2at/p2at_l_cityscapes.py": VariantInfo(picture=(1024, 2048)),
    },
)

__all__ = ["PLUGIN", "P2ATHead", "P2ATLogits", "P2ATLoss", "config_options", "load_official"]
