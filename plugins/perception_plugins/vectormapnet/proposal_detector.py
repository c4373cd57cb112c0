"""A detector whose queries begin at what the map itself proposes, and move to where their keypoints are found.

Not in the paper, whose queries take a hundred epochs to learn where elements tend to lie. Proposals and steps from
layer to layer are those of "Deformable DETR" (Zhu et al., ICLR 2021), appendix A.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.fourier import fourier
from perception.models.heads.element_proposals import ElementProposals, Proposals

from .detector import Detections, Detector

MARGIN = 0.01                                        # proposed points stay so far within the map, in shares of it


class ProposalDetector(Detector):
    """Finds map elements from an `ElementProposals`.

    Args:
        in_channels, num_classes, canvas: as of `Detector`.
        proposals: further arguments of the `ElementProposals`.
        frequencies: of `BEVMemory`, and of the code of points.
        options: further arguments of `Detector`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        canvas: tuple[int, int],
        *,
        proposals: Mapping[str, Any],
        frequencies: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, num_classes, canvas, frequencies=frequencies, **options)
        channels = self.keypoint_queries.embedding_dim // 2
        self.frequencies = frequencies
        self.proposals = ElementProposals(in_channels, num_classes, self.num_keypoints, **proposals)
        self.content = nn.Linear(in_channels, channels)
        self.place = nn.Linear((2 + 4 * frequencies) * (self.num_keypoints + 1), channels)
        for zero in (self.class_head.weight, self.class_head.bias):          # what is proposed stands to begin with
            nn.init.zeros_(zero)

    def forward(self, bev: Tensor) -> Detections:
        """(B, C, H, W) map -> what every layer found."""
        dense = self.proposals(bev)
        best = self.proposals.best(dense, self.num_queries)
        tokens, keypoints = self.refined(bev, best)
        scores = self.class_head(tokens.flatten(3)) + best.logits.detach()
        return Detections(scores, (keypoints * self.canvas).flatten(3), dense)

    def refined(self, bev: Tensor, best: Proposals) -> tuple[Tensor, Tensor]:
        """Tokens (layers, B, Q, P, C) and keypoints (layers, B, Q, P, 2), each layer's read around those before it."""
        shape, memory = (bev.shape[2], bev.shape[3]), self.memory(bev)        # (B, H * W, C)
        rows = torch.arange(len(bev), device=bev.device)[:, None]
        content = self.content(bev.flatten(2).transpose(1, 2)[rows, best.cells])             # (B, Q, C)
        tokens = (content[:, :, None] + self.keypoint_queries.weight.chunk(2, dim=1)[1]).flatten(1, 2)
        points, found, keypoints = best.points.detach().clamp(MARGIN, 1 - MARGIN), [], []
        for layer in self.layers:
            tokens = layer(tokens, self.position(points).flatten(1, 2), memory, shape, points.flatten(1, 2))
            found.append(tokens.unflatten(1, (-1, self.num_keypoints)))
            keypoints.append(self.moved(found[-1], points))
            points = keypoints[-1].detach()
        return torch.stack(found), torch.stack(keypoints)

    def position(self, points: Tensor) -> Tensor:
        """(B, Q, P, 2) points -> (B, Q, P, C) codes of each, and of all those of its element."""
        codes = fourier(2 * points - 1, self.frequencies)
        together = codes.flatten(2)[:, :, None].expand(-1, -1, self.num_keypoints, -1)
        return self.place(torch.cat([codes, together], dim=3)) + self.keypoint_queries.weight.chunk(2, dim=1)[0]
