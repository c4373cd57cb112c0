"""LMUFormer: sequences read through Legendre memories, at once or frame by frame, also by spiking neurons."""

from perception.registry import PluginInfo, VariantInfo

from .cell import LMUCell
from .feed_forward import NormedFeedForward
from .legendre import impulse_response, legendre_matrices
from .lif import LIF
from .memory import LegendreMemory
from .mixer import LMUMixer
from .network import LMUFormer, Streamed
from .official import load_official
from .spiking_attention import SpikingAttentionMixer
from .spiking_mixer import SpikingLMUCell, SpikingLMUMixer
from .streamed import membranes_of

PLUGIN = PluginInfo(
    name="lmuformer",
    title="LMUFormer: Low Complexity Yet Powerful Spiking Model With Legendre Memory Units",
    year=2024,
    roles=("token_mixer", "channel_mixer"),
    official="zeyuliu1037/LMUFormer",
    checkpoints={
        "lmuformer": "configs/lmuformer/lmuformer_speech.py",
        "spiking_lmuformer": "configs/lmuformer/spiking_lmuformer_speech.py",
    },
    parity="matrices, cells, neurons and their gradients equal the authors' code to 1e-5, both released networks to "
    "1e-4, frame by frame too; the two other spiking networks have not been compared",
    variants={
        "configs/lmuformer/lmuformer_speech.py":
            VariantInfo("96.53 % top-1, Speech Commands v2, 35 classes", "paper"),
        "configs/lmuformer/spiking_lmuformer_speech.py":
            VariantInfo("96.12 % top-1, Speech Commands v2, 35 classes", "paper"),
        "configs/lmuformer/spiking_lmuformer_shortcuts_of_spikes_speech.py": VariantInfo(),
        "configs/lmuformer/spiking_attention_speech.py": VariantInfo(),
    },
)

__all__ = [
    "LIF", "PLUGIN", "LMUCell", "LMUFormer", "LMUMixer", "LegendreMemory", "NormedFeedForward", "SpikingAttentionMixer",
    "SpikingLMUCell", "SpikingLMUMixer", "Streamed", "impulse_response", "legendre_matrices", "load_official",
    "membranes_of",
]
