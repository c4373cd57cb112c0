"""Selective state spaces for pictures and BEV maps: Mamba's block, Vision Mamba and VMamba."""

from perception.registry import PluginInfo, VariantInfo

from .bev_mixer import BEVSS2D, BEVSS2DMixer
from .cross_scan import cross_merge, cross_scan
from .mamba import BiMambaMixer, MambaMixer
from .middle_token import resized_positions
from .official import load_mixer, load_official
from .ss2d import SS2D, SS2DMixer
from .vim import VisionMamba
from .vim_classifier import VimClassifier
from .vmamba import VMambaBackbone
from .vss_block import VSSBlock

RELEASED = {                                         # top-1 on ImageNet
    "vmamba_tiny_s1l8": "82.6", "vmamba_small_s1l20": "83.3", "vmamba_base_s1l20": "83.8", "vmamba_tiny_s2l5": "82.5",
    "vmamba_small_s2l15": "83.6", "vmamba_base_s2l15": "83.9", "vmamba_vanilla_tiny": "82.2",
    "vmamba_vanilla_small": "83.5", "vmamba_vanilla_base": "83.7", "vim_tiny": "76.1", "vim_tiny_plus": "78.3",
    "vim_small": "80.5", "vim_base": "81.9",
}
PLUGIN = PluginInfo(
    name="ssm_vision",
    title="Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space Model; VMamba: Visual "
    "State Space Model",
    year=2024,
    roles=("image_backbone", "image_classifier", "token_mixer"),
    official="MzeroMiko/VMamba",
    checkpoints={name: f"configs/ssm_vision/{name}.py" for name in RELEASED},
    parity="scans, mixers, gradients, Vision Mamba and both forms of VMamba equal the authors' code (hustvl/Vim, "
    "MzeroMiko/VMamba) to 1e-5; the BEV mixer's mask is ours",
    variants={
        f"configs/ssm_vision/{name}.py":
            VariantInfo(f"{top1} % top-1, ImageNet", "the authors' READMEs and papers", picture=(224, 224))
        for name, top1 in RELEASED.items()
    },
)

__all__ = [
    "BEVSS2D", "PLUGIN", "SS2D", "BEVSS2DMixer", "BiMambaMixer", "MambaMixer", "SS2DMixer", "VMambaBackbone",
    "VSSBlock", "VimClassifier", "VisionMamba", "cross_merge", "cross_scan", "load_mixer", "load_official",
    "resized_positions",
]
