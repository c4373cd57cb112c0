"""The linear transformer: attention with the feature map elu(x) + 1 in place of the softmax."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits, State
from perception.registry import MODELS

from .kernel_sums import causal_kernel_sums, kernel_sums, with_ones
from .packed import CausalMixer, at_least_float32

EPS = 1e-6


@MODELS.register_module(role="token_mixer")
class LinearAttentionMixer(CausalMixer):
    """Linear attention; causal, it is a recurrent net whose state is one matrix a head.

    "Transformers are RNNs" (Katharopoulos et al., ICML 2020), equations 4 to 12. Certain: the feature map and the sums.
    Interpretation: 1e-6 is added to the sum of the weights. Features and sums are float32 under autocast.

    Args:
        channels: width C of the tokens.
        heads, head_channels: see `PackedMixer`.
        causal: a token looks at none behind it; the mixer can then stream.

    Raises:
        ValueError: the width is not divisible by the heads.
    """

    TRAITS = MixerTraits(cost="N", causal="option", streaming=True)

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, causal: bool = False
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, causal=causal)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `PackedMixer.attend`."""
        return self._mix(x, mask, None)[0]

    def advance(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `CausalMixer.advance`; ``sums`` (B, heads, D, D + 1) are S and z of the paper side by side."""
        mixed, sums = self._mix(x, None, None if state is None else state["sums"])
        assert sums is not None
        return mixed, {"sums": sums}

    def _mix(self, x: Tensor, mask: Tensor | None, start: Tensor | None) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.project(x)
        with without_autocast(x.device.type):
            q, k, v = at_least_float32(q, k, v)
            q, k, v, sums = F.elu(q) + 1, F.elu(k) + 1, with_ones(v, mask), None
            if self.causal:
                total, sums = causal_kernel_sums(q, k, v, start)                               # (B, heads, N, D + 1)
            else:
                total = kernel_sums(q, k, v)
            return total[..., :-1] / (total[..., -1:] + EPS), sums
