"""TokenFormer: parameters as tokens that data attends to, so that a trained model can grow."""

from perception.registry import PluginInfo, VariantInfo

from .backbone import TokenFormer
from .compressor import TokenGrowth
from .growth import grow_checkpoint, grow_config, grow_model, grow_optimizer
from .language_model import TokenFormerLM
from .mixers import PattentionFeedForward, PattentionMixer
from .norm import PlainLayerNorm
from .official import load_official
from .pattention import Pattention

PERPLEXITIES = {"150m": "10.45", "450m": "8.28", "900m": "7.38", "1_5b": "6.91"}         # on the Pile
GROWN = {"354m": "11.9", "757m": "10.7"}                                                 # on OpenWebText2
PLUGIN = PluginInfo(
    name="tokenformer",
    title="TokenFormer: Rethinking Transformer Scaling with Tokenized Model Parameters",
    year=2025,
    roles=("image_backbone", "token_mixer", "channel_mixer"),
    official="Haiyang-W/TokenFormer",
    checkpoints={
        f"TokenFormer-{size.upper().replace('_', '-')}": f"configs/tokenformer/tokenformer_{size}.py"
        for size in (*PERPLEXITIES, "354m")
    },
    parity="tables, layers with cache, growth, the language model, its loss and gradients equal the authors' code to "
    "2e-5; of the image form no code was released",
    variants={
        **{
            f"configs/tokenformer/tokenformer_{size}.py": VariantInfo(f"{score} perplexity, the Pile", "paper")
            for size, score in PERPLEXITIES.items()
        },
        **{
            f"configs/tokenformer/tokenformer_{size}.py": VariantInfo(f"{score} perplexity, OpenWebText2", "paper")
            for size, score in GROWN.items()
        },
        **{
            f"configs/tokenformer/tokenformer_{size}_patch16.py": VariantInfo(picture=(224, 224))
            for size in ("base", "large")
        },
    },
)

__all__ = [
    "PLUGIN", "Pattention", "PattentionFeedForward", "PattentionMixer", "PlainLayerNorm",
    "TokenFormer", "TokenFormerLM", "TokenGrowth", "grow_checkpoint", "grow_config", "grow_model", "grow_optimizer",
    "load_official",
]
