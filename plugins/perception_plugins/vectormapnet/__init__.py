"""VectorMapNet: vector maps from surround cameras, LiDAR or both."""

from perception.registry import PluginInfo

from .bev_neck import VectorMapNetNeck
from .encoder import VectorMapNetEncoder

PLUGIN = PluginInfo(
    name="vectormapnet",
    title="VectorMapNet: End-to-end Vectorized HD Map Learning",
    year=2023,
    roles=("bev_encoder", "neck", "map_head"),
    official="Mrmoore98/VectorMapNet_code",
    parity="the camera branch, the LiDAR branch and the neck equal the authors' code to 1e-4",
)

__all__ = ["PLUGIN", "VectorMapNetEncoder", "VectorMapNetNeck"]
