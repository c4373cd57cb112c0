"""EcoFormer: attention on binary codes that are learned, in PVTv2 and Twins."""

from perception.registry import PluginInfo

from .attention import HashAttention, SharedAttention, agreement_attention
from .energy import Operations, count_operations
from .kernel_hash import KernelHash
from .learning_hook import HashLearningHook
from .official import load_official
from .pvt_v2 import EcoFormerPVTv2
from .teacher import TeacherHook, load_teacher
from .twins import EcoFormerTwins

SIZES = ("b0", "b1", "b2", "b3", "b4")
PLUGIN = PluginInfo(
    name="ecoformer",
    title="EcoFormer: Energy-Saving Attention with Linear Complexity",
    year=2022,
    roles=("image_backbone", "token_mixer"),
    official="ziplab/EcoFormer",
    checkpoints={
        **{f"pvtv2_{size}_ecoformer": f"configs/ecoformer/pvt_v2_{size}_ecoformer.py" for size in SIZES},
        "twins_svt_s_ecoformer": "configs/ecoformer/twins_svt_s_ecoformer.py",
        **{f"pvtv2_{size}_msa": f"configs/ecoformer/pvt_v2_{size}_msa.py" for size in SIZES},
    },
    parity="codes equal those of the authors' code exactly; attention, its gradients, what hash functions learn and the "
    "maps and logits of PVTv2 and Twins equal it to 2e-6",
)

__all__ = [
    "PLUGIN", "EcoFormerPVTv2", "EcoFormerTwins", "HashAttention", "HashLearningHook", "KernelHash", "Operations",
    "SharedAttention", "TeacherHook", "agreement_attention", "count_operations", "load_official", "load_teacher",
]
