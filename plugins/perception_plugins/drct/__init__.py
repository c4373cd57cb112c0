"""DRCT: super-resolution by densely connected Swin layers, for crops of what a camera sees far away."""

from perception.registry import PluginInfo

from .network import DRCT
from .official import load_official

PLUGIN = PluginInfo(
    name="drct",
    title="DRCT: Saving Image Super-Resolution away from Information Bottleneck",
    year=2024,
    roles=("super_resolution_net",),
    official="ming053l/DRCT",
    checkpoints={
        **{f"DRCT_SRx{scale}": f"configs/drct/drct_x{scale}_df2k.py" for scale in (2, 3, 4)},
        **{f"DRCT_SRx{scale}_ImageNet-pretrain": f"configs/drct/drct_x{scale}_df2k_finetune.py" for scale in (2, 3, 4)},
        **{f"DRCT-L_SRx{scale}_ImageNet-pretrain": f"configs/drct/drct_l_x{scale}_df2k.py" for scale in (2, 3, 4)},
        "DRCT-L_X4": "configs/drct/drct_l_x4_df2k.py",
        "Real-DRCT_x4": "configs/drct/real_drct_x4.py",
    },
    parity="modules, gradients, whole networks, tiled inference and metrics equal the authors' code to 1e-5 (gradients "
    "1e-4, x4 pictures 5e-5)",
)

__all__ = ["DRCT", "PLUGIN", "load_official"]
