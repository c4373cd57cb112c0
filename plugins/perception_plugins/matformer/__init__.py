"""MatFormer: nested feed-forward nets, so that one training gives models of many sizes."""

from perception.registry import PluginInfo, VariantInfo

from .attention import OlmoAttention
from .classifier import MatViTClassifier
from .compressor import NestedExtraction
from .elastic import active_widths, checked_widths, extract, level_widths, nested_layers, parameters_at
from .language_model import MatLM
from .matvit import MatViT
from .nested import NestedFeedForward
from .nested_loop import NestedLoop
from .official import load_official
from .profiles import Candidate, balanced_profiles, cost_of_layers, within_budget

SIZES = ("ti", "s", "b", "l", "h")
RELEASED = {"MatViT-B16-IN1K": "b", "MatViT-L16-IN21K+IN1K": "l"}
LANGUAGE = ("180m", "460m", "1300m")
PLUGIN = PluginInfo(
    name="matformer",
    title="MatFormer: Nested Transformer for Elastic Inference",
    year=2024,
    roles=("image_backbone", "image_classifier", "token_mixer", "channel_mixer"),
    official="RAIVNLab/MatFormer-OLMo",
    checkpoints={
        **{name: f"configs/matformer/matvit_{size}_patch16.py" for name, size in RELEASED.items()},
        **{f"MatFormer-OLMo-{size.upper()}": f"configs/matformer/matlm_{size}.py" for size in LANGUAGE},
    },
    parity="MatLM and MatViT (google-research/scenic) at all widths and mixed ones, losses and gradients equal the "
    "authors' code to 3e-5",
    variants={
        **{f"configs/matformer/matvit_{size}_patch16.py": VariantInfo(picture=(224, 224)) for size in SIZES},
        **{f"configs/matformer/matlm_{size}.py": VariantInfo() for size in LANGUAGE},
    },
)

__all__ = [
    "PLUGIN", "Candidate", "MatLM", "MatViT", "MatViTClassifier", "NestedExtraction", "NestedFeedForward", "NestedLoop",
    "OlmoAttention", "active_widths", "balanced_profiles", "checked_widths", "cost_of_layers", "extract",
    "level_widths", "load_official", "nested_layers", "parameters_at", "within_budget",
]
