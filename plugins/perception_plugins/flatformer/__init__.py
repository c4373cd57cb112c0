"""FlatFormer: LiDAR detection with flattened-window group attention on pillars."""

from perception.registry import PluginInfo

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
)

__all__ = ["PLUGIN", "FlatFormer", "GroupAttention", "load_official"]
