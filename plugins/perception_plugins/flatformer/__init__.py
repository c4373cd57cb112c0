"""FlatFormer: LiDAR detection with flattened-window group attention on pillars."""

from perception.registry import PluginInfo, VariantInfo

from . import fusion, pruning  # noqa: F401  # what compression has to know of the encoder
from .attention import GroupAttention
from .encoder import FlatFormer
from .official import load_official

PLUGIN = PluginInfo(
    name="flatformer",
    title="FlatFormer: Flattened Window Attention for Efficient Point Cloud Transformer",
    year=2023,
    roles=("lidar_backbone", "token_mixer"),
    official="mit-han-lab/flatformer",
    checkpoints={"flatformer_waymo_D1_2x_3class": "configs/flatformer/flatformer_waymo_D1_2x_3class.py"},
    parity="modules, losses and gradients equal the authors' code to 1e-5, the whole detector to 1e-4",
    variants={
        **{
            f"configs/flatformer/flatformer_waymo_D1_2x_3class{suffix}.py":
                VariantInfo(f"{ap} mAP, {aph} mAPH, level 2, Waymo val", "the authors' README")
            for suffix, ap, aph in (("", "69.7", "67.2"), ("_2f", "72.7", "71.2"), ("_3f", "73.5", "72.0"))
        },
        "configs/flatformer/flatformer_waymo_D5_1x_3class.py": VariantInfo(),
        "configs/flatformer/flatformer_waymo_D5_1x_3class_3f.py": VariantInfo(),
        "configs/flatformer/flatformer_nuscenes.py": VariantInfo(),
        "configs/flatformer/flatformer_av2.py": VariantInfo(),
    },
)

__all__ = ["PLUGIN", "FlatFormer", "GroupAttention", "load_official"]
