"""DAFormer: segmentation that learns from labelled synthetic and unlabelled real pictures."""

from perception.registry import PluginInfo, VariantInfo

from .fusion import ContextASPP, ConvFusion, InterlacedAttention
from .head import DAFormerHead
from .official import load_official
from .pairs import SourceTargetPairs
from .self_training import SelfTraining
from .student_hook import StudentHook

PLUGIN = PluginInfo(
    name="daformer",
    title="DAFormer: Improving Network Architectures and Training Strategies for Domain-Adaptive Semantic Segmentation",
    year=2022,
    roles=("seg_head", "task_model"),
    official="lhoyer/DAFormer",
    checkpoints={"daformer": "configs/daformer/daformer_mitb5_cityscapes.py"},
    parity="modules, losses and gradients equal the authors' code to 1e-5, three rounds of self-training to 1e-4",
    variants={
        f"configs/daformer/{config}.py": VariantInfo(score, "the authors' README", picture=(512, 1024))
        for config, score in (
            ("daformer_gta2cityscapes", "68.3 mIoU from GTA, Cityscapes val, mean of 3 seeds"),
            ("daformer_synthia2cityscapes", "60.9 mIoU of 16 classes from Synthia, Cityscapes val, mean of 3 seeds"),
            ("daformer_mitb5_cityscapes", "68.85 mIoU from GTA, Cityscapes val, the released seed"),
        )
    },
)

__all__ = [
    "PLUGIN", "ContextASPP", "ConvFusion", "DAFormerHead", "InterlacedAttention", "SelfTraining", "SourceTargetPairs",
    "StudentHook", "load_official",
]
