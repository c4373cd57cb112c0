"""A small segmentor of each family, for pictures of five classes of which the last two are things."""

from __future__ import annotations

from typing import Any

from perception.registry import MODELS, load_plugins

CLASSES = ("road", "sky", "tree", "car", "person")
THINGS = (3, 4)
RESNET = {"type": "ResNet", "depth": 18, "stem_channels": 4, "widths": (4, 6, 8, 10), "counts": (1, 1, 1, 1)}
HEADS: dict[str, dict[str, Any]] = {
    "p2at": {"type": "P2ATHead", "aux2_channels": 1, "width": 8, "key_dim": 4, "num_heads": 2},
    "kmax": {
        "type": "KMaXHead", "num_queries": 7, "things": THINGS, "semantic_branch": "light",
        "semantic_channels": (8, 4, 4), "pixel_decoder": {"layers": (1, 1, 1, 1), "channels": (8, 8, 4, 2), "heads": 2},
        "decoder": {"layers": (1, 1, 1), "channels": 16, "base_channels": 8, "heads": 2, "hidden": 32,
                    "mask_channels": 8},
    },
    "pem": {
        "type": "PEMHead", "things": THINGS, "loss": {"num_points": 64},
        "pixel_decoder": {"type": "PEMPixelDecoder", "channels": 8, "mask_channels": 12},
        "decoder": {"channels": 16, "num_queries": 6, "layers": 4, "heads": 4, "hidden": 24},
    },
    "daformer": {
        "type": "DAFormerHead", "channels": 8, "embed_channels": 8,
        "fusion": {"type": "ContextASPP", "dilations": (1, 2)},
    },
}
FAMILIES = tuple(HEADS)
MASK_FAMILIES = ("kmax", "pem")


def segmentor_config(family: str, **options: Any) -> dict[str, Any]:
    """Config of a model with a few thousand parameters."""
    load_plugins([family])
    mit = {"type": "MixTransformer", "channels": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)}
    return {
        "type": "Segmentor", "backbone": mit if family == "daformer" else RESNET, "head": HEADS[family],
        "data_preprocessor": {"type": "ImageDataPreprocessor", "pad_divisor": 32 if family == "pem" else 1},
        "classes": CLASSES, "things": THINGS if family in MASK_FAMILIES else None, **options,
    }


def small_segmentor(family: str, **options: Any) -> Any:
    """The model itself."""
    return MODELS.build(segmentor_config(family, **options))
