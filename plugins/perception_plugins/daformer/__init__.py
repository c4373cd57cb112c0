"""DAFormer: segmentation that learns from labelled synthetic and unlabelled real pictures."""

from perception.registry import PluginInfo

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
)

__all__ = [
    "PLUGIN", "ContextASPP", "ConvFusion", "DAFormerHead", "InterlacedAttention", "SelfTraining", "SourceTargetPairs",
    "StudentHook", "load_official",
]
