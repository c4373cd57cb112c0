"""SLAB: norms that fold into linear layers, trained progressively, and simplified linear attention."""

from perception.registry import PluginInfo, VariantInfo

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

RELEASED = {                                         # top-1 on ImageNet
    "deit_tiny_prepbn": "73.6", "deit_small_prepbn": "80.2", "slab_deit_tiny": "74.3", "slab_deit_small": "80.0",
    "pvt_tiny_prepbn": "76.0", "pvt_small_prepbn": "80.1", "pvt_medium_prepbn": "81.7", "slab_pvt_tiny": "76.5",
    "swin_tiny_prepbn": "81.4", "slab_swin_tiny": "81.8", "slab_swin_small": "83.6", "slab_cswin_tiny": "82.8",
}
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
    variants={
        **{
            f"configs/slab/{name}.py":
                VariantInfo(f"{top1} % top-1, ImageNet", "the authors' README", picture=(224, 224))
            for name, top1 in RELEASED.items()
        },
        **{f"configs/slab/{name}.py": VariantInfo(picture=(224, 224)) for name in WITHOUT_WEIGHTS},
    },
)

__all__ = [
    "PLUGIN", "ClassTokenClassifier", "DepthwiseFeedForward", "PRepBN", "PaddedPatchEmbedding", "ProgressiveNormHook",
    "ReducedLinearAttention", "RepBN", "SimplifiedLinearAttention", "SlabCSWin", "SlabDeiT", "SlabPVT", "SlabPVTv2",
    "SlabPatchMerging", "SlabReducedAttention", "SlabStripeAttention", "SlabSwin", "SlabWindowAttention",
    "WindowLinearAttention", "linear_attention", "load_official", "replace_layer_norms",
]
