"""VectorMapNet: vector HD maps from surround cameras, LiDAR or both, written vertex by vertex."""

from perception.registry import PluginInfo, VariantInfo

from .bev_neck import VectorMapNetNeck
from .encoder import VectorMapNetEncoder
from .joint_hook import JointStageHook
from .map_head import VectorMapHead
from .official import load_official

PLUGIN = PluginInfo(
    name="vectormapnet",
    title="VectorMapNet: End-to-end Vectorized HD Map Learning",
    year=2023,
    roles=("bev_encoder", "neck", "map_head"),
    official="Mrmoore98/VectorMapNet_code",
    checkpoints={"vectormapnet": "configs/vectormapnet/vectormapnet_camera_nuscenes.py"},
    parity="modules, losses and gradients equal the authors' code to 1e-4, tokens of greedy decoding exactly",
    variants={
        f"configs/vectormapnet/vectormapnet_{name}.py": VariantInfo(f"{score} mAP, nuScenes val", source)
        for name, score, source in (
            ("camera_nuscenes", "42.1", "the released checkpoint"), ("camera_nuscenes_finetune", "46.0", "paper"),
            ("lidar_nuscenes", "34.0", "paper"), ("fusion_nuscenes", "45.2", "paper"),
        )
    },
)

__all__ = ["PLUGIN", "JointStageHook", "VectorMapHead", "VectorMapNetEncoder", "VectorMapNetNeck", "load_official"]
