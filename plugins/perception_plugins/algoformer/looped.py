"""AlgoFormer: a transformer in front, one that is run again and again, and one behind.

"On the Expressive Power of a Variant of the Looped Transformer" (2024), section 3. Certain are the composition
post(loop^T(pre(x))), the three sets of weights and that iterations share one; the injection of the input, the norms and
the norm at the end are an interpretation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perception.models.attention.causal import earlier_keys
from perception.models.mixers.attention import seen_keys

from .layer import AlgoFormerLayer

INJECTIONS = ("none", "add")


class AlgoFormer(nn.Module):
    """Tokens to tokens; how often the middle part is run can be told anew at every call.

    Args:
        channels: token width C; divisible by ``heads``.
        heads: attention heads.
        pre_layers, loop_layers, post_layers: of the three parts.
        loops: T, iterations of the middle part if a call tells no other number; 0 leaves it out.
        mlp_ratio, norm, activation, qk_scale: see `AlgoFormerLayer`.
        causal: a token sees itself and those before it.
        inject: "none": h_t = loop(h_{t-1}), h_0 = pre(x). "add": h_t = loop(h_{t-1} + pre(x)), h_0 = 0, which keeps
            many iterations stable.
        cross_attention: the middle and the last part look at a memory too: the form of a decoder of queries (ours).
        checkpointing: in training, run iterations again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: a number of layers or loops is negative, ``inject`` is another, or as `AlgoFormerLayer` does.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        pre_layers: int = 1,
        loop_layers: int = 1,
        post_layers: int = 1,
        loops: int = 8,
        mlp_ratio: float = 4.0,
        norm: str = "pre_ln",
        activation: str = "gelu",
        causal: bool = False,
        inject: str = "none",
        qk_scale: str = "rsqrt",
        cross_attention: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        counts = (pre_layers, loop_layers, post_layers, loops)
        if min(counts) < 0:
            raise ValueError(f"numbers of layers and loops must be >= 0, got {counts}")
        if inject not in INJECTIONS:
            raise ValueError(f"inject must be one of {', '.join(INJECTIONS)}, got {inject!r}")
        self.loops, self.causal, self.inject, self.checkpointing = loops, causal, inject, checkpointing

        def part(layers: int, crosses: bool) -> nn.ModuleList:
            return nn.ModuleList(
                AlgoFormerLayer(
                    channels, heads, mlp_ratio=mlp_ratio, norm=norm, activation=activation, qk_scale=qk_scale,
                    cross_attention=crosses,
                )
                for _ in range(layers)
            )

        self.pre = part(pre_layers, False)
        self.loop, self.post = part(loop_layers, cross_attention), part(post_layers, cross_attention)
        self.norm = nn.LayerNorm(channels) if norm == "pre_ln" else nn.Identity()
        self.init_weights()

    def init_weights(self) -> None:
        """As GPT-2: normal of 0.02, what is added to the shortcuts divided by the root of their number."""
        branches = 2 * (len(self.pre) + len(self.loop) * self.loops + len(self.post))
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not module.weight.is_meta:
                is_added = name.endswith(("out_proj", "fc2"))
                nn.init.normal_(module.weight, std=0.02 / (branches**0.5 if is_added else 1.0))
                nn.init.zeros_(module.bias)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, loops: int | None = None, memory: Tensor | None = None
    ) -> Tensor:
        """post(loop^T(pre(x))).

        Args:
            x: (B, N, C).
            mask: (B, N) bool, False where there is no real token: none looks at it. A sample without any is as if all
                were real.
            loops: T; None takes ``loops`` of the constructor.
            memory: (B, S, C), with ``cross_attention``.

        Returns:
            (B, N, C).

        Raises:
            ValueError: ``loops`` is negative, or the memory is missing or not asked for.
        """
        count = self._checked(loops)
        *_, last = islice(self.states(x, mask, memory=memory), count + 1)
        return self.read(last, mask, memory)

    def outputs(
        self, x: Tensor, mask: Tensor | None = None, *, loops: int | None = None, memory: Tensor | None = None,
        back_through: int | None = None,
    ) -> list[Tensor]:
        """What would be given after each iteration: T tensors (B, N, C), of which the last is that of `forward`.

        Args:
            x, mask, loops, memory: as of `forward`.
            back_through: gradients end before so many last iterations; None takes them through all.
        """
        count = self._checked(loops)
        cut = 0 if back_through is None else max(count - back_through, 0)
        states = islice(self.states(x, mask, memory=memory, detach_after=cut), 1, count + 1)
        return [self.read(state, mask, memory) for state in states]

    def settled(
        self, x: Tensor, mask: Tensor | None = None, *, threshold: float, loops: int | None = None,
        memory: Tensor | None = None,
    ) -> tuple[Tensor, int]:
        """The output of the first iteration that changes it by less than ``threshold`` on average, and its number.

        At the latest that of the last iteration. Ours; a host decides, so this is for inference alone.
        """
        count = self._checked(loops)
        outputs = (self.read(state, mask, memory) for state in self.states(x, mask, memory=memory))
        before = next(outputs)
        for number, after in enumerate(islice(outputs, count), 1):
            if (after - before).abs().mean() < threshold:
                return after, number
            before = after
        return before, count

    def states(
        self, x: Tensor, mask: Tensor | None = None, *, memory: Tensor | None = None, detach_after: int = 0
    ) -> Iterator[Tensor]:
        """The first part's output, then h_1, h_2, ... (B, N, C) without end.

        ``detach_after`` is the number of the last state that no gradient passes; 0 lets it pass all of them.
        """
        seen = self._seen(x, mask)
        first = x
        for layer in self.pre:
            first = layer(first, seen)
        yield first
        state, number = torch.zeros_like(first) if self.inject == "add" else first, 0
        while True:
            entering = state + first if self.inject == "add" else state
            if self.checkpointing and self.training:
                state = checkpoint(self._iteration, entering, seen, memory, use_reentrant=False)
            else:
                state = self._iteration(entering, seen, memory)
            number += 1
            state = state.detach() if number == detach_after else state
            yield state

    def read(self, state: Tensor, mask: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        """The last part, and the norm behind it: (B, N, C) -> (B, N, C)."""
        seen = self._seen(state, mask)
        for layer in self.post:
            state = layer(state, seen, memory)
        return self.norm(state)

    def _iteration(self, state: Tensor, seen: Tensor | None, memory: Tensor | None) -> Tensor:
        for layer in self.loop:
            state = layer(state, seen, memory)
        return state

    def _seen(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """The keys that queries see, bool that broadcasts to (B, heads, N, N); None shows all."""
        if self.causal:
            return earlier_keys(x.shape[1], x.shape[1], mask, device=x.device)
        return None if mask is None else seen_keys(mask)

    def _checked(self, loops: int | None) -> int:
        count = self.loops if loops is None else loops
        if count < 0:
            raise ValueError(f"loops must be >= 0, got {count}")
        return count
