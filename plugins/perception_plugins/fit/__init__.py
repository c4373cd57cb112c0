"""FIT: tokens that see their group, and latents that carry news between groups."""

from perception.registry import PluginInfo, VariantInfo

from .autoregressive import FITAutoregressive, shifted_right, snake_order
from .backbone import FIT
from .denoiser import FITDenoiser
from .encoder import FITEncoder
from .glimpses import glimpse_tokens
from .mixer import FITMixer
from .official import load_official

PLUGIN = PluginInfo(
    name="fit",
    title="FIT: Far-reaching Interleaved Transformers",
    year=2023,
    roles=("image_backbone", "token_mixer"),
    official="google-research/pix2seq",
    parity="encoder, denoiser, sequence model and picture parts equal the authors' code to 2e-5, gradients to 5e-5; no "
    "weights or sizes are released, and the backbone for pictures of any size and the mixer are ours",
    variants={"configs/fit/fit_384_patch16.py": VariantInfo(picture=(448, 448))},
)

__all__ = [
    "FIT", "PLUGIN", "FITAutoregressive", "FITDenoiser", "FITEncoder", "FITMixer", "glimpse_tokens", "load_official",
    "shifted_right", "snake_order",
]
