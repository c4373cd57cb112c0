"""SLAB: norms that fold into linear layers, trained progressively, and simplified linear attention."""

from perception.registry import PluginInfo

from .cswin import SlabCSWin
from .deit import ClassTokenClassifier, SlabDeiT
from .embedding import DepthwiseFeedForward, PaddedPatchEmbedding, SlabPatchMerging
from .linear_attention import SimplifiedLinearAttention, linear_attention
from .norm import PRepBN, RepBN, replace_layer_norms
from .official import load_official
from .pvt import SlabPVT, SlabPVTv2
from .reduced_attention import ReducedLinearAttention, SlabReducedAttention
from .schedule_hook import ProgressiveNormHook
from .stripe_attention import SlabStripeAttention
from .swin import SlabSwin
from .window_attention import SlabWindowAttention, WindowLinearAttention

RELEASED = (
    "deit_tiny_prepbn", "deit_small_prepbn", "slab_deit_tiny", "slab_deit_small", "pvt_tiny_prepbn",
    "pvt_small_prepbn", "pvt_medium_prepbn", "slab_pvt_tiny", "swin_tiny_prepbn", "slab_swin_tiny", "slab_swin_small",
    "slab_cswin_tiny",
)
WITHOUT_WEIGHTS = (
    "slab_pvt_small", "slab_pvt_medium", "slab_pvt_large", "slab_swin_base", "slab_cswin_small", "slab_pvtv2_b0",
    "slab_pvtv2_b1", "slab_pvtv2_b2",
)
PLUGIN = PluginInfo(
    name="slab",
    title="SLAB: Efficient Transformers with Simplified Linear Attention and Progressive Re-parameterized Batch "
    "Normalization",
    year=2024,
    roles=("image_backbone", "image_classifier", "token_mixer"),
    official="xinghaochen/SLAB",
    checkpoints={name: f"configs/slab/{name}.py" for name in (*RELEASED, *WITHOUT_WEIGHTS)},
    parity="norms, their schedule, folding, mixers, gradients and the DeiT, PVT, Swin and CSWin networks equal the "
    "authors' code to 2e-6; PVTv2 has not been compared",
)

__all__ = [
    "PLUGIN", "ClassTokenClassifier", "DepthwiseFeedForward", "PRepBN", "PaddedPatchEmbedding", "ProgressiveNormHook",
    "ReducedLinearAttention", "RepBN", "SimplifiedLinearAttention", "SlabCSWin", "SlabDeiT", "SlabPVT", "SlabPVTv2",
    "SlabPatchMerging", "SlabReducedAttention", "SlabStripeAttention", "SlabSwin", "SlabWindowAttention",
    "WindowLinearAttention", "linear_attention", "load_official", "replace_layer_norms",
]
