"""EcoFormer: attention on binary codes that are learned, in PVTv2 and Twins."""

from perception.registry import PluginInfo, VariantInfo

from .attention import HashAttention, SharedAttention, agreement_attention
from .energy import Operations, count_operations
from .kernel_hash import KernelHash
from .learning_hook import HashLearningHook
from .official import load_official
from .pvt_v2 import EcoFormerPVTv2
from .teacher import TeacherHook, load_teacher
from .twins import EcoFormerTwins

TOP1 = {"b0": "70.44", "b1": "78.38", "b2": "81.28", "b3": "81.96", "b4": "81.90"}
PLUGIN = PluginInfo(
    name="ecoformer",
    title="EcoFormer: Energy-Saving Attention with Linear Complexity",
    year=2022,
    roles=("image_backbone", "token_mixer"),
    official="ziplab/EcoFormer",
    checkpoints={
        **{f"pvtv2_{size}_ecoformer": f"configs/ecoformer/pvt_v2_{size}_ecoformer.py" for size in TOP1},
        "twins_svt_s_ecoformer": "configs/ecoformer/twins_svt_s_ecoformer.py",
        **{f"pvtv2_{size}_msa": f"configs/ecoformer/pvt_v2_{size}_msa.py" for size in TOP1},
    },
    parity="codes equal those of the authors' code exactly; attention, its gradients, what hash functions learn and "
    "the maps and logits of PVTv2 and Twins equal it to 2e-6",
    variants={
        f"configs/ecoformer/{name}.py": VariantInfo(score, score and "paper", picture=(224, 224))
        for name, score in (
            *((f"pvt_v2_{size}_ecoformer", f"{top1} % top-1, ImageNet") for size, top1 in TOP1.items()),
            ("twins_svt_s_ecoformer", "80.22 % top-1, ImageNet"),
            *((f"pvt_v2_{size}_msa", "") for size in TOP1),
        )
    },
)

__all__ = [
    "PLUGIN", "EcoFormerPVTv2", "EcoFormerTwins", "HashAttention", "HashLearningHook", "KernelHash", "Operations",
    "SharedAttention", "TeacherHook", "agreement_attention", "count_operations", "load_official", "load_teacher",
]
