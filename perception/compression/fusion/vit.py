"""Two vision transformers fused layer by layer, with the names of the published checkpoints.

Pre-norm, a class token first, which the classifier reads: ``vit.embeddings``, ``vit.encoder.layer.{i}``,
``vit.layernorm``, ``classifier``. `VitFusion.released` does what the released code does; the defaults mend its defects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .ground_metric import unit_rows
from .heads import head_plans
from .linear import FusedLinear, Linear, aligned_input, aligned_output, averaged, features_of, fuse_linear
from .matching import Matching
from .residual import combine

State = Mapping[str, Tensor]
QK = ("separate", "eq_t_map", "joint", "heads")
EMBEDDINGS = "vit.embeddings"
PATCHES = f"{EMBEDDINGS}.patch_embeddings"


@dataclass(frozen=True)
class VitFusion:
    """How two of them are fused.

    Args:
        matching: of units.
        features: "acts" compares activations, "wts" weights.
        unit_norm: compare weights by direction only.
        policy: of the residual junctions, see `combine`.
        qk: maps of queries and keys: "separate"; "eq_t_map", one for both; "joint", both stacked as one layer, in the
            order keys, queries of the activations although the weights have the other one, as released; "heads", one
            for both that keeps heads whole, and one for the values that goes with it. Otherwise heads may mix.
        heads: of model 0 and of the anchor, for "heads".
        alpha: weight of the anchor.
        alpha_in_layers: within layers; None is ``alpha``.
        own_table_maps: transport class token and position table by maps of their own, though both are added into one
            stream; otherwise by that of the embedding.
        aligns_last: transport the last branch where the anchor's classifier is kept, which reads it.
        fuse_classifier: otherwise it is the anchor's.

    Raises:
        ValueError: a name is unknown, or heads are missing.
    """

    matching: Matching = field(default_factory=Matching)
    features: str = "acts"
    unit_norm: bool = True
    policy: str = "mean"
    qk: str = "eq_t_map"
    heads: tuple[int, int] | None = None
    alpha: float = 0.5
    alpha_in_layers: float | None = None
    own_table_maps: bool = False
    aligns_last: bool = True
    fuse_classifier: bool = True

    def __post_init__(self) -> None:
        if self.qk not in QK:
            raise ValueError(f"qk must be one of {', '.join(QK)}, got {self.qk!r}")
        if self.features not in ("acts", "wts"):
            raise ValueError(f'features must be "acts" or "wts", got {self.features!r}')
        if self.qk == "heads" and self.heads is None:
            raise ValueError('qk "heads" needs the heads of both models, got None')

    @classmethod
    def released(
        cls, matching: Matching, *, features: str = "acts", unit_norm: bool = True, policy: str = "mean",
        qk: str = "separate", alpha: float = 0.5, fuse_classifier: bool = True,
    ) -> VitFusion:
        """As the released code does it, defects included; ``matching`` wants the scale "code"."""
        return cls(
            matching, features, unit_norm, policy, qk, None, alpha, 0.5, own_table_maps=True, aligns_last=False,
            fuse_classifier=fuse_classifier,
        )


@dataclass(frozen=True)
class FusedVit:
    """What became of two models.

    Args:
        state: the weights, shaped as the anchor's.
        transports: maps in the order they were made: class token, positions, patches, then of each layer q, k, v (or
            qk, v), attention output, both layers of the feed-forward part.
        junctions: maps behind the embedding, then behind both branches of each layer.
    """

    state: dict[str, Tensor]
    transports: list[Tensor]
    junctions: list[Tensor]


def fuse_vit(
    first: State, anchor: State, settings: VitFusion, acts: tuple[State, State] | None = None
) -> FusedVit:
    """Fuse model 0 into the anchor; depths must be the same, widths may differ.

    Args:
        first: weights of model 0.
        anchor: of model 1.
        settings: how.
        acts: of both, activations (S, n) by module, transformed as `perception.compression.fusion.activations` does
            (modules that have children as ``NAME.data``); None if weights are compared and no junction is weighted.

    Raises:
        ValueError: the depths differ, or activations are missing.
        MissingExtraError: POT is not installed.
    """
    depths = [_depth(state) for state in (first, anchor)]
    if depths[0] != depths[1]:
        raise ValueError(f"models of the same depth can be fused, got {depths[0]} and {depths[1]} layers")
    run = _Run(first, anchor, settings, acts)
    stream: Tensor | None = run.embed()
    for number in range(depths[0]):
        assert stream is not None
        stream = run.layer(number, stream, is_last=number + 1 == depths[0])
    run.norm("vit.layernorm", stream, settings.alpha)
    run.classify(stream)
    return FusedVit(run.state, run.transports, run.junctions)


class _Run:
    """One fusion under way."""

    def __init__(self, first: State, anchor: State, settings: VitFusion, acts: tuple[State, State] | None) -> None:
        self.first, self.anchor, self.settings, self.acts = first, anchor, settings, acts
        self.matching = settings.matching
        self.inner_alpha = settings.alpha if settings.alpha_in_layers is None else settings.alpha_in_layers
        self.state: dict[str, Tensor] = {}
        self.transports: list[Tensor] = []
        self.junctions: list[Tensor] = []

    def embed(self) -> Tensor:
        """Tables and patches; gives the map of the embedding."""
        names = [f"{EMBEDDINGS}.{name}" for name in ("cls_token", "position_embeddings")]
        maps = [self._map_of_table(name) for name in names]
        patches = self._fuse(f"{PATCHES}.projection", None, self.settings.alpha, acts_of=f"{PATCHES}.data")
        table = self.anchor[names[1]].flatten(0, 1)                                          # (N + 1, C)
        stream = self._join(maps[1], patches, lambda acts: (table, acts[f"{PATCHES}.data"]))
        for name, own in zip(names, maps, strict=True):
            moved = self.first[name] @ (own if self.settings.own_table_maps else stream)
            self.state[name] = torch.lerp(moved, self.anchor[name], self.settings.alpha)
        return stream

    def layer(self, number: int, stream: Tensor, *, is_last: bool) -> Tensor | None:
        """One encoder layer; gives the map behind it, None if its last branch was not transported."""
        name, alpha = f"vit.encoder.layer.{number}", self.inner_alpha
        before = f"{EMBEDDINGS}.data" if number == 0 else f"vit.encoder.layer.{number - 1}.data"
        attended, fed = f"{name}.attention.data", f"{name}.output.dense"
        self.norm(f"{name}.layernorm_before", stream, alpha)
        values = self._query_key_value(f"{name}.attention.attention", stream)
        branch = self._fuse(f"{name}.attention.output.dense", values, alpha)
        stream = self._join(stream, branch, lambda acts: (acts[before], acts[attended]))
        self.norm(f"{name}.layernorm_after", stream, alpha)
        hidden = self._fuse(f"{name}.intermediate.dense", stream, alpha)
        if is_last and not self.settings.fuse_classifier and not self.settings.aligns_last:
            self._keep(fed, fuse_linear(*self._pair(fed), self.matching, alpha=alpha, incoming=hidden, last=True))
            return None
        branch = self._fuse(fed, hidden, alpha)
        return self._join(stream, branch, lambda acts: (acts[attended] + acts[before], acts[fed]))

    def norm(self, name: str, stream: Tensor | None, alpha: float) -> None:
        """A LayerNorm, whose scale and shift follow the stream."""
        for key in (f"{name}.weight", f"{name}.bias"):
            moved = self.first[key] if stream is None else self.first[key] @ stream
            self.state[key] = torch.lerp(moved, self.anchor[key], alpha)

    def classify(self, stream: Tensor | None) -> None:
        """The classifier, whose outputs are not transported."""
        first, anchor = self._pair("classifier")
        fused = FusedLinear(anchor, None, None)
        if self.settings.fuse_classifier:
            alpha = self.settings.alpha
            fused = fuse_linear(first, anchor, self.matching, alpha=alpha, incoming=stream, last=True)
        self._keep("classifier", fused)

    def _query_key_value(self, name: str, stream: Tensor) -> Tensor:
        """All three; gives the map of the values, which the output layer reads."""
        q, k, v = (f"{name}.{part}" for part in ("query", "key", "value"))
        settings = self.settings
        if settings.qk == "heads":
            assert settings.heads is not None
            costs = [self._cost((q, k), stream), self._cost((v,), stream)]
            shared, values = map(self.matching.scaled, head_plans(costs, settings.heads, self.matching))
            self._move((q, k), shared, stream)
            self._move((v,), values, stream)
            return values
        if settings.qk == "eq_t_map":
            self._move((q, k), self.matching.transport(self._cost((q, k), stream), stream), stream)
        elif settings.qk == "joint":
            self._fuse_joined(q, k, stream)
        else:
            for part in (q, k):
                self._fuse(part, stream, self.inner_alpha)
        return self._fuse(v, stream, self.inner_alpha)

    def _fuse_joined(self, q: str, k: str, stream: Tensor) -> None:
        """Queries over keys as one layer."""
        first, anchor = (_stacked(*layers) for layers in zip(self._pair(q), self._pair(k), strict=True))
        keys, queries = self._heard(k), self._heard(q)
        acts = None
        if keys is not None and queries is not None:
            acts = (torch.cat([keys[0], queries[0]], dim=1), torch.cat([keys[1], queries[1]], dim=1))   # (S, 2C) each
        fused = fuse_linear(
            first, anchor, self.matching, alpha=self.inner_alpha, acts=acts, incoming=stream,
            unit_norm=self.settings.unit_norm,
        )
        assert fused.transport is not None
        self.transports.append(fused.transport)
        for number, name in enumerate((q, k)):
            bias = None if fused.layer.bias is None else fused.layer.bias.chunk(2)[number]
            part = Linear(fused.layer.weight.chunk(2)[number], bias)
            self._keep(name, FusedLinear(part, None, None))

    def _cost(self, names: tuple[str, ...], stream: Tensor) -> Tensor:
        """Costs of units that several layers share: samples, or weights, of all of them are features."""
        found = []
        for name in names:
            first, anchor = self._pair(name)
            moved = aligned_input(first, stream, self.matching)
            found.append(features_of(moved, anchor, self._heard(name), False))
        x, y = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        if self.settings.features == "wts" and self.settings.unit_norm:
            x, y = unit_rows(x), unit_rows(y)
        return self.matching.metric(x, y)

    def _move(self, names: tuple[str, ...], transport: Tensor, stream: Tensor) -> None:
        """Layers whose map is known."""
        for name in names:
            first, anchor = self._pair(name)
            moved = aligned_output(aligned_input(first, stream, self.matching), transport)
            self._keep(name, FusedLinear(averaged(moved, anchor, self.inner_alpha), None, None))
            self.transports.append(transport)

    def _fuse(self, name: str, incoming: Tensor | None, alpha: float, acts_of: str | None = None) -> Tensor:
        """A layer whose map follows from its own units; gives that."""
        fused = fuse_linear(
            *self._pair(name), self.matching, alpha=alpha, acts=self._heard(acts_of or name), incoming=incoming,
            unit_norm=self.settings.unit_norm,
        )
        assert fused.transport is not None
        self._keep(name, fused)
        self.transports.append(fused.transport)
        return fused.transport

    def _map_of_table(self, name: str) -> Tensor:
        """A map of channels from a table (1, rows, C), whose rows are the features."""
        x, y = (state[name].flatten(0, 1).T for state in (self.first, self.anchor))          # (C, rows) each
        if self.settings.features == "wts" and self.settings.unit_norm:
            x, y = unit_rows(x), unit_rows(y)
        transport = self.matching.transport(self.matching.metric(x, y))
        self.transports.append(transport)
        return transport

    def _join(self, stream: Tensor, branch: Tensor, acts: Callable[[State], tuple[Tensor, Tensor]]) -> Tensor:
        """The map behind a sum; ``acts`` reads what is added from the anchor's activations."""
        is_weighted = self.settings.policy.startswith("weighted")
        joined = combine(stream, branch, self.settings.policy, acts(self._acts[1]) if is_weighted else None)
        self.junctions.append(joined)
        return joined

    def _pair(self, name: str) -> tuple[Linear, Linear]:
        first, anchor = (Linear(state[f"{name}.weight"].flatten(1), state[f"{name}.bias"])
                         for state in (self.first, self.anchor))
        return first, anchor

    def _keep(self, name: str, fused: FusedLinear) -> None:
        weight, bias = fused.layer
        assert bias is not None
        self.state[f"{name}.weight"], self.state[f"{name}.bias"] = weight.view_as(self.anchor[f"{name}.weight"]), bias

    def _heard(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Activations of a module in both, if these are compared."""
        if self.settings.features != "acts":
            return None
        first, anchor = self._acts
        return first[name], anchor[name]

    @property
    def _acts(self) -> tuple[State, State]:
        if self.acts is None:
            raise ValueError("activations of both models are needed by these settings, got None")
        return self.acts


def _stacked(upper: Linear, lower: Linear) -> Linear:
    assert upper.bias is not None
    assert lower.bias is not None
    return Linear(torch.cat([upper.weight, lower.weight]), torch.cat([upper.bias, lower.bias]))


def _depth(state: State) -> int:
    return len({key.split(".")[3] for key in state if key.startswith("vit.encoder.layer.")})
