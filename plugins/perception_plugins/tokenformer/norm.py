"""Layer normalisation that learns nothing, as between TokenFormer's layers."""

from __future__ import annotations

from torch import nn

from perception.registry import MODELS


@MODELS.register_module()
class PlainLayerNorm(nn.LayerNorm):
    """Layer normalisation without weight and bias ("layernorm_nonparam" in the released configs).

    Args:
        channels: width C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, elementwise_affine=False)
