"""The decoder of P2AT, from the maps of an image backbone to a score for each class and pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.losses.weighted_cross_entropy import pixel_accuracy
from perception.registry import MODELS
from perception.structures.segmentation import PixelLabels

from .attention import AxialLayer, ConvMlp, PyramidAxialAttention
from .boundary import boundary_map
from .decoder import BidirectionalFusion, DecoderBlock, GlobalContext, PixelClassifier
from .layers import ConvPReLU, resized


@dataclass(frozen=True)
class P2ATLogits:
    """What the head gives in training.

    Args:
        logits: (B, K, H/4, W/4) of the classes.
        aux1: (B, K, H/8, W/8) logits of the classes, from the middle of the decoder.
        aux2: (B, A, H/4, W/4) logits of the boundary (A = 1), or what ``aux2_channels`` says.
    """

    logits: Tensor
    aux1: Tensor
    aux2: Tensor


@MODELS.register_module(role="seg_head")
class P2ATHead(nn.Module):
    """Axial attention on the coarsest map and a light decoder in which every level takes in its neighbours.

    "P2AT: Pyramid Pooling Axial Transformer for Real-time Semantic Segmentation" (arXiv 2310.15025).

    Args:
        in_channels: widths of the backbone's maps, of strides 4, 8, 16 and 32.
        num_classes: K.
        auxiliary: build the two heads that are used in training alone.
        aux2_channels: width A of the second one; 1 to train it on boundaries. None takes ``num_classes``, as the
            authors' module has it, which cannot be trained.
        width: of the decoder.
        key_dim: width of queries and keys a head of the attention.
        num_heads: attention heads.
        mlp_ratio: width of the attention layers' MLP over ``width``.
        attn_ratio: width of a head's values over ``key_dim``.
        num_layers: attention layers.
        table_length: length of the attention's position tables.
        pyramid: see `PyramidPooling`.
        criterion: config of a `P2ATLoss`; None takes its defaults.
        loss_stride: every how many rows and columns of the labels the losses look at; 1, as published, takes all. With
            2, a step of a small network takes a quarter less time.
        logit_adjustment: share of the logarithms of the criterion's class weights that is taken off the logits outside
            training ("Long-tail learning via logit adjustment", Menon et al., ICLR 2021, section 4): what teaches rare
            classes makes them look more likely than they are.

    Raises:
        ValueError: ``in_channels`` are not four, ``loss_stride`` is below 1, or logits are to be adjusted for class
            weights that there are not.
    """

    logit_offsets: Tensor | None
    align_corners = True                             # of the resizing of the logits to the size of the picture

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int = 19,
        *,
        auxiliary: bool = True,
        aux2_channels: int | None = None,
        width: int = 64,
        key_dim: int = 16,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        attn_ratio: float = 2.0,
        num_layers: int = 2,
        table_length: int = 16,
        pyramid: str = "p1p1p3",
        criterion: Mapping[str, Any] | None = None,
        loss_stride: int = 1,
        logit_adjustment: float = 0.0,
    ) -> None:
        super().__init__()
        if loss_stride < 1:
            raise ValueError(f"loss_stride must be >= 1, got {loss_stride}")
        if len(in_channels) != 4:
            raise ValueError(f"in_channels must be the widths of four maps, got {tuple(in_channels)}")
        c1, c2, c3, c4 = in_channels
        self.num_classes, self.loss_stride = num_classes, loss_stride
        self.reduce = ConvPReLU(c4, width)
        self.layers = nn.Sequential(*(
            AxialLayer(
                PyramidAxialAttention(
                    width, key_dim=key_dim, num_heads=num_heads, attn_ratio=attn_ratio, table_length=table_length,
                    pyramid=pyramid,
                ),
                ConvMlp(width, int(mlp_ratio * width)),
            )
            for _ in range(num_layers)
        ))
        self.block1, self.block2, self.block3 = (DecoderBlock(width, size) for size in (3, 5, 7))
        self.fusion4 = BidirectionalFusion(c2, c3, width, width)
        self.context4 = GlobalContext(width)
        self.fusion3 = BidirectionalFusion(c1, c2, width, width)
        self.context3 = GlobalContext(width)
        self.refine3, self.refine2, self.refine1 = (ConvPReLU(width, width, 3) for _ in range(3))
        self.merge2, self.merge1 = (ConvPReLU(2 * width, width, 3) for _ in range(2))
        self.classifier = PixelClassifier(width, width, num_classes)
        self.aux1: nn.Module | None = None
        self.aux2: nn.Module | None = None
        self.aux2_channels = num_classes if aux2_channels is None else aux2_channels
        if auxiliary:
            self.aux1 = PixelClassifier(width, width, num_classes)
            self.aux2 = PixelClassifier(width, width, self.aux2_channels)
        self.criterion = MODELS.build(criterion or {"type": "P2ATLoss"})
        offsets = weight_offsets(self.criterion.class_weights, logit_adjustment)
        self.register_buffer("logit_offsets", offsets, persistent=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor | P2ATLogits:
        """Maps (B, C_i, H/s_i, W/s_i) of strides 4 to 32 -> logits (B, K, H/4, W/4), in training with the auxiliary."""
        if self.training and self.aux1 is not None:
            return self.all_logits(features)
        logits = self.classifier(self.decode(features)[0])
        return logits if self.training or self.logit_offsets is None else logits - self.logit_offsets

    def all_logits(self, features: Sequence[Tensor]) -> P2ATLogits:
        """The final and the auxiliary logits. Raises ValueError if the auxiliary heads were not built."""
        if self.aux1 is None or self.aux2 is None:
            raise ValueError("auxiliary logits need auxiliary=True")
        refined, fused4, fused3 = self.decode(features)
        return P2ATLogits(self.classifier(refined), self.aux1(fused4), self.aux2(fused3))

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The maps that classifiers see: the refined one of stride 4, the fused ones of strides 8 and 4."""
        f1, f2, f3, f4 = features
        stream1 = self.block1(self.layers(self.reduce(f4)))                  # stride 32
        fused4 = self.fusion4(f2, f3, stream1)                               # stride 8
        stream2 = self.block2(self.context4(fused4))
        fused3 = self.fusion3(f1, f2, stream2)                               # stride 4 from here on
        refined = self.refine3(self.block3(self.context3(fused3)))
        for merge, refine, stream in ((self.merge2, self.refine2, stream2), (self.merge1, self.refine1, stream1)):
            refined = refine(merge(torch.cat([resized(stream, like=refined), refined], dim=1)))
        return refined, fused4, fused3

    def loss(self, raw: Tensor | P2ATLogits, labels: Sequence[PixelLabels]) -> dict[str, Tensor]:
        """Losses by name, and the accuracy of pixels; the final logits alone give the semantic loss alone.

        Args:
            raw: as `forward` gives it.
            labels: of the B pictures, all of one size, which the logits are resized to.

        Raises:
            ValueError: the labels are not as many as the pictures, or differ in size, or ``aux2_channels`` is not 1.
        """
        final = raw if isinstance(raw, Tensor) else raw.logits
        sizes = {tuple(one.classes.shape) for one in labels}
        if len(labels) != len(final) or len(sizes) != 1:
            raise ValueError(
                f"labels must be those of {len(final)} pictures of one size, got {len(labels)} of {sorted(sizes)}"
            )
        whole = torch.stack([one.classes for one in labels])                 # (B, H, W)
        classes = sampled(whole, self.loss_stride)                             # (B, H', W')
        final = self.resized_logits(final, classes.shape[1:])
        if isinstance(raw, Tensor):
            losses = self.criterion(final, classes)
        else:
            if self.aux2_channels != 1:
                raise ValueError(f"aux2_channels must be 1 to train on boundaries, got {self.aux2_channels}")
            aux1, aux2 = (self.resized_logits(logits, classes.shape[1:]) for logits in (raw.aux1, raw.aux2))
            boundaries = sampled(boundary_map(whole), self.loss_stride)
            losses = self.criterion(final, classes, aux1, aux2[:, 0], boundaries)
        return {**losses, "accuracy": pixel_accuracy(final, classes) / 100}

    def resized_logits(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """(B, K, h, w) -> (B, K, H, W): bilinear, corners on corners."""
        return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=self.align_corners)


def weight_offsets(class_weights: Tensor | None, share: float) -> Tensor | None:
    """Share of the logarithms of the weights, (K,) -> (K, 1, 1); None for a share of 0.

    Raises:
        ValueError: there are no weights to take a share of.
    """
    if share == 0.0:
        return None
    if class_weights is None:
        raise ValueError("logit_adjustment needs a criterion with class_weights")
    return share * class_weights.log()[:, None, None]


def sampled(planes: Tensor, stride: int) -> Tensor:
    """Rows and columns of (B, H, W), from the first to the last, ``stride`` apart or a little less."""
    if stride == 1:
        return planes
    for axis in (1, 2):
        last = planes.shape[axis] - 1
        places = torch.linspace(0, last, -(-last // stride) + 1, device=planes.device).round().long()
        planes = planes.index_select(axis, places)
    return planes
