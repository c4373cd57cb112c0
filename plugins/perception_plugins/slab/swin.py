"""SLAB on Swin ("Swin Transformer", Liu et al., ICCV 2021): attention within windows, linear in the first stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.staged import MetaFormerStage
from perception.registry import MODELS

from .pyramid import LINEAR, SOFTMAX, Norm, SlabPyramid, attention_letters
from .window_attention import WindowMixer

VARIANTS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {  # width of stage 0, blocks, heads
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
WINDOW, RESOLUTION = 7, 56                           # of softmax attention; side of the map of stage 0 at 224 pixels
NORM: dict[str, Any] = {"type": "PRepBN", "steps": 60_000, "eps": 1e-5}


@MODELS.register_module(role="image_backbone")
class SlabSwin(SlabPyramid):
    """Stages of attention within windows, between which four neighbours become one token.

    The authors' classifiers shift the windows of softmax attention in every second block, where the map is larger than
    one; linear attention has a window as large as the map of a picture of 224 pixels and is never shifted. Their
    detectors shift both, by half a window, whatever the map. The two give other maps from the same weights.

    Args:
        variant: "tiny", "small" or "base".
        width, depths, heads: of stage 0 and of each stage, instead of the variant's.
        attention: for each stage, "L" for simplified linear attention or "S" for softmax.
        windows: side of each stage's windows; None is 7 for softmax, and 56, 28, 14, 7 for linear attention.
        shift_all: shift as in the authors' detectors.
        patch: side of a patch, 4 as published.
        ratio: hidden over outer width of the feed-forward nets.
        norm: of everything, see `token_norm`.
        options: further arguments of a `SlabPyramid`.

    Raises:
        ValueError: the variant is unknown, or as `MetaFormer` and the mixers do.
    """

    def __init__(
        self, variant: str = "tiny", *, width: int | None = None, depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None, attention: str = "LLSS", windows: Sequence[int] | None = None,
        shift_all: bool = False, patch: int = 4, ratio: float = 4.0, norm: Norm = NORM, **options: Any,
    ) -> None:
        own_width, own_depths, own_heads = variant_of(VARIANTS, variant)
        width, depths = own_width if width is None else width, own_depths if depths is None else depths
        heads, count = own_heads if heads is None else heads, len(depths)
        letters = attention_letters(attention, count)
        if windows is None:
            windows = [RESOLUTION // 2**stage if letter == LINEAR else WINDOW for stage, letter in enumerate(letters)]
        mixers = [
            {
                "type": "WindowLinearAttention" if letter == LINEAR else "SlabWindowAttention", "heads": heads[stage],
                "window": windows[stage], "shift_small": shift_all,
            }
            for stage, letter in enumerate(letters)
        ]
        super().__init__(
            depths, [width * 2**stage for stage in range(count)], ratios=[ratio] * count, token_mixer=mixers, norm=norm,
            stem={"type": "PaddedPatchEmbedding", "patch": patch, "norm": norm},
            downsample={"type": "SlabPatchMerging", "norm": norm},
            **options,
        )
        for stage, letter in zip(self.stages, letters, strict=False):
            if letter == SOFTMAX or shift_all:
                assert isinstance(stage, MetaFormerStage)
                _shift_every_second(stage)


def _shift_every_second(stage: MetaFormerStage) -> None:
    for block in stage.blocks[1::2]:
        mixer = block.token_mixer
        assert isinstance(mixer, WindowMixer)
        mixer.shift = mixer.window // 2
