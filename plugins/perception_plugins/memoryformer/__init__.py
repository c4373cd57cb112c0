"""MemoryFormer: lookup tables in place of linear layers."""

from perception.registry import PluginInfo, VariantInfo

from .accounting import BlockCost, block_cost, read_share
from .hashing import HashCodes, SignHash, sign_codes, sign_scores
from .layer import MemoryLayer, MemoryTables, replace_linear_layers
from .mixers import MemoryAttentionMixer, MemoryFeedForward
from .network import MemoryFormer, MemoryFormerLM, memory_block
from .norm import MemoryRMSNorm
from .official import load_official

SIZES = ("tiny", "small", "base")
PLUGIN = PluginInfo(
    name="memoryformer",
    title="MemoryFormer: Minimize Transformer Computation by Removing Fully-Connected Layers",
    year=2024,
    roles=("image_backbone", "token_mixer", "channel_mixer"),
    official="C0-Design/MemoryFormer",
    checkpoints={f"memoryformer_{size}": f"configs/memoryformer/memoryformer_{size}.py" for size in SIZES},
    parity="codes equal those of the authors' modules exactly, scores and layers to 1e-5, blocks to 1e-4 and their "
    "gradients, which reach 300, to 3e-3; no weights are released, and the picture form is ours",
    variants={
        **{f"configs/memoryformer/memoryformer_{size}.py": VariantInfo() for size in SIZES},
        **{f"configs/memoryformer/memoryformer_{size}_patch16.py": VariantInfo(picture=(224, 224)) for size in SIZES},
    },
)

__all__ = [
    "PLUGIN", "BlockCost", "HashCodes", "MemoryAttentionMixer", "MemoryFeedForward", "MemoryFormer",
    "MemoryFormerLM", "MemoryLayer", "MemoryRMSNorm", "MemoryTables", "SignHash", "block_cost", "load_official",
    "memory_block", "read_share", "replace_linear_layers", "sign_codes", "sign_scores",
]
