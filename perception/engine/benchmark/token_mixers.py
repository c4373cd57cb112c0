"""Token mixers against softmax attention: how time and memory grow with the tokens."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ConfigError, PluginError, suggestion
from ...models.mixers.attention import AttentionMixer
from ...registry import MODELS, list_registered, load_plugin, plugin_modules
from .command_line import ALL_MIXERS, LINEAR_MIXERS
from .flops import count_flops
from .memory import peak_mib
from .rows import Row, compared
from .scaling import fitted_exponent
from .setting import Setting
from .timing import Call, interleaved_ms

logger = logging.getLogger(__name__)
FUSED, EXPLICIT = "softmax, fused", "softmax, two products"
PROBES = (64, 128)                                 # tokens of the calls that tell how much memory others will take


class ExplicitAttention(AttentionMixer):
    """Softmax attention as two products with all N x N weights between them, which papers compare with."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, heads, N, D) each -> (B, N, C)."""
        weights = (query * query.shape[3] ** -0.5 @ key.mT).softmax(dim=3)                 # (B, heads, N, N)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2))


@dataclass(frozen=True)
class MixerSetup:
    """What mixers are made of and run on.

    Args:
        channels: width C of the tokens.
        heads: of the attention, for mixers that have heads.
        setting: dtype of autocast, device, and the machine's limits.
    """

    channels: int
    heads: int
    setting: Setting

    def mixer(self, kind: type[nn.Module], tokens: int) -> nn.Module:
        """A mixer for so many tokens, to which some are bound."""
        known = {"heads": self.heads, "num_heads": self.heads, "tokens": tokens}
        taken = inspect.signature(kind).parameters
        return kind(self.channels, **{name: value for name, value in known.items() if name in taken})

    def weights_gib(self, kind: type[nn.Module], tokens: int) -> float:
        """Memory of its parameters, which are not made for it [GiB]."""
        with torch.device("meta"):
            return sum(parameter.nbytes for parameter in self.mixer(kind, tokens).parameters()) / 2**30

    def call(self, kind: type[nn.Module], tokens: int) -> Call:
        """A seeded mixer in evaluation mode on one seeded map of so many tokens, see `map_size`."""
        torch.manual_seed(0)
        mixer = self.mixer(kind, tokens)
        x = torch.randn(1, tokens, self.channels).to(self.setting.device)
        return self.setting.inference(partial(mixer.eval().to(x.device), x, map_size(tokens)))

    def peak(self, kind: type[nn.Module], tokens: int) -> float:
        """Memory of a call, see `peak_mib`.

        Raises:
            ConfigError: the mixer cannot be built so, or cannot take such tokens.
        """
        try:
            return peak_mib(self.call(kind, tokens), self.setting.device)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{kind.__name__}: {error}") from error


def map_size(tokens: int) -> tuple[int, int]:
    """Height and width of the squarest map of so many tokens, lying."""
    height = next(rows for rows in range(isqrt(tokens), 0, -1) if tokens % rows == 0)
    return height, tokens // height


def mixer_kinds(names: Sequence[str]) -> dict[str, type[nn.Module]]:
    """The two forms of softmax attention, and the token mixers of these registered names.

    "all" stands for every one, "linear" for those whose traits claim a cost of N or N log N.

    Raises:
        ConfigError: no installed plugin, nor the core, has a token mixer of a name.
    """
    for plugin in plugin_modules():
        try:
            load_plugin(plugin)
        except PluginError as error:
            logger.info("%s", error)               # it is not asked for, or its mixer will be missed below
    known = list_registered(MODELS, role="token_mixer")
    if {ALL_MIXERS, LINEAR_MIXERS} & set(names):
        every = [name for name in known if name != AttentionMixer.__name__]
        names = every if ALL_MIXERS in names else [name for name in every if _claims_to_be_linear(name)]
    for name in names:
        if name not in known:
            raise ConfigError(f'no token mixer "{name}"{suggestion(name, known)}; there are {", ".join(known)}')
    return {FUSED: AttentionMixer, EXPLICIT: ExplicitAttention, **{name: MODELS.module_dict[name] for name in names}}


def _claims_to_be_linear(name: str) -> bool:
    traits = getattr(MODELS.module_dict[name], "TRAITS", None)
    return traits is not None and traits.cost in ("N", "N log N")


def benchmark_mixers(
    kinds: Mapping[str, type[nn.Module]], setting: Setting, *, sizes: Sequence[int], channels: int = 128,
    heads: int = 4, memory_gib: float = 4.0, repeats: int = 11,
) -> list[Row]:
    """Time whole mixers, with their projections, on one map of each number of tokens; those of one number in turn.

    Memory is `peak_mib`, beyond the weights and the tokens. Two small calls, and then the two largest so far, tell what
    the next number of tokens would take: a part that is linear in them and a part that is quadratic. A mixer stops
    where that passes the limit, its weights included.

    Args:
        kinds: as `mixer_kinds` gives them.
        setting: dtype of autocast, device, and the machine's limits.
        sizes: numbers of tokens, three or more.
        channels, heads: see `MixerSetup`.
        memory_gib: the limit [GiB].
        repeats: rounds.

    Returns:
        A row a mixer and number of tokens, mixer by mixer. The reference is softmax attention by torch's fused
        operator; the exponents are `fitted_exponent` of the numbers that the mixer was run with.

    Raises:
        ConfigError: see `MixerSetup.peak`.
    """
    setup = MixerSetup(channels, heads, setting)
    peaks = {name: {tokens: setup.peak(kind, tokens) for tokens in PROBES} for name, kind in kinds.items()}
    rows: dict[str, list[Row]] = {name: [] for name in kinds}
    running = dict(kinds)
    for tokens in sorted(set(sizes)):
        for name in list(running):
            expected = expected_peak(peaks[name], tokens) / 1024 + setup.weights_gib(running[name], tokens)
            if expected > memory_gib:
                logger.warning("%s stops before %d tokens, which would take %.1f GiB", name, tokens, expected)
                del running[name]
        if not running:
            break
        calls = {name: setup.call(kind, tokens) for name, kind in running.items()}
        times = interleaved_ms(list(calls.values()), repeats, setting.device)              # (rounds, mixers)
        own = dict(zip(calls, times.T, strict=True))
        for name, call in calls.items():
            peaks[name][tokens] = peak_mib(call, setting.device)
            columns = {"ms": float(np.median(own[name]))}
            if FUSED in own:                       # it is the first, so its peak is there
                columns = compared(own[name], own[FUSED]) | {"reference_peak_mib": peaks[FUSED][tokens]}
            columns |= setting.achieved(count_flops(call) / 1e9, columns["ms"])
            rows[name].append(setting.row(name, tokens, **columns, peak_mib=peaks[name][tokens]))
    return [row for of_mixer in rows.values() for row in _with_exponents(of_mixer)]


def expected_peak(peaks: Mapping[int, float], tokens: int) -> float:
    """Peak of so many tokens by the law a N + b N^2, b >= 0, through the peaks of the two largest numbers measured."""
    first, second = sorted(peaks)[-2:]
    slope = (peaks[second] / second - peaks[first] / first) / (second - first)
    quadratic = max(slope, 0.0)
    return tokens * (peaks[second] / second + quadratic * (tokens - second))


def _with_exponents(rows: Sequence[Row]) -> Iterator[Row]:
    sizes = [row.size for row in rows]
    times = fitted_exponent(sizes, [row.ms for row in rows])
    memory = fitted_exponent(sizes, [row.peak_mib or 0.0 for row in rows])
    return (replace(row, time_exponent=times, memory_exponent=memory) for row in rows)
