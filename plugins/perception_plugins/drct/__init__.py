"""DRCT: super-resolution by densely connected Swin layers, for crops of what a camera sees far away."""

from perception.registry import PluginInfo, VariantInfo

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
    variants={
        f"configs/drct/{name}.py": VariantInfo(score, score and "the authors' README", picture=(64, 64))
        for name, score in (
            ("drct_x2_df2k", ""), ("drct_x3_df2k", ""), ("drct_x4_df2k", "33.11 dB PSNR of the luma, Set5"),
            ("drct_x2_df2k_finetune", ""), ("drct_x3_df2k_finetune", ""), ("drct_x4_df2k_finetune", ""),
            ("drct_x4_from_x2_df2k", ""), ("drct_l_x2_df2k", ""), ("drct_l_x3_df2k", ""),
            ("drct_l_x4_df2k", "33.37 dB PSNR of the luma, Set5"), ("real_drct_x4", ""),
        )
    },
)

__all__ = ["DRCT", "PLUGIN", "load_official"]
