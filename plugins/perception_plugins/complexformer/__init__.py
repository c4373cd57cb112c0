"""ComplexFormer: attention between complex numbers whose phases each head stretches and shifts."""

from perception.registry import PluginInfo, VariantInfo

from .attention import ComplexAttention
from .language_model import ComplexFormerLM
from .mixer import ComplexAttentionMixer
from .official import load_official

PLUGIN = PluginInfo(
    name="complexformer",
    title="ComplexFormer: Disruptively Advancing Transformer Inference Ability via Head-Specific Complex Vector "
    "Attention",
    year=2025,
    roles=("token_mixer",),
    official="shaojintian/complexFormer",
    checkpoints={
        f"ComplexFormer, {size}M": f"configs/complexformer/complexformer_{size}m.py" for size in (271, 52)
    },
    parity="attention, its mask, cache and gradients equal the authors' code to 1e-5 and the language models to 1e-3; "
    "the paper was withdrawn by its author, no figure of it can be read and no weights are known; positions in the "
    "plane are ours",
    variants={
        "configs/complexformer/complexformer_271m.py": VariantInfo(),
        "configs/complexformer/complexformer_52m.py": VariantInfo(),
    },
)

__all__ = ["PLUGIN", "ComplexAttention", "ComplexAttentionMixer", "ComplexFormerLM", "load_official"]
