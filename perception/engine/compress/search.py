"""Settings that are sought, not listed: few bytes or little time, and a good metric (NSGA-II of optuna)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ConfigError, MissingExtraError
from ..config import parse_overrides

Evaluate = Callable[[Sequence[str]], tuple[float, float]]


def search(ranges: Sequence[str], trials: int, evaluate: Evaluate, seed: int = 0) -> None:
    """Try settings, those of good ones mixed and changed.

    Args:
        ranges: ``"KEY=LOW:HIGH"`` for a number, whole if both ends are, or ``"KEY=A|B|C"``.
        trials: settings that are tried.
        evaluate: what settings (``"KEY=VALUE"``, one a range) cost and lose, both to be small.
        seed: of the search.

    Raises:
        ConfigError: a range reads otherwise, or there are no trials.
        MissingExtraError: optuna is not installed.
    """
    if trials < 1:
        raise ConfigError(f"--trials must be >= 1, got {trials}")
    choices = [parse_range(text) for text in ranges]
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("compress", "--search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> tuple[float, float]:
        return evaluate([f"{key}={_suggested(trial, key, values)}" for key, values in choices])

    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, min(16, trials // 3)))
    optuna.create_study(directions=["minimize", "minimize"], sampler=sampler).optimize(objective, n_trials=trials)


def parse_range(text: str) -> tuple[str, list[Any] | tuple[float, float]]:
    """``"bits=4|8"`` -> ("bits", [4, 8]), ``"share=0.2:0.9"`` -> ("share", (0.2, 0.9)).

    Raises:
        ConfigError: it is neither.
    """
    key, equals, values = text.partition("=")
    parts = [value.strip() for value in values.split("|" if "|" in values else ":")]
    if not equals or not key or len(parts) < 2 or not all(parts):
        raise ConfigError(f"a range reads KEY=LOW:HIGH or KEY=A|B, got {text!r}")
    read = [parse_overrides([f"x={part}"])["x"] for part in parts]
    if "|" in values:
        return key, read
    if len(read) != 2 or not all(isinstance(end, (int, float)) for end in read) or not read[0] < read[1]:
        raise ConfigError(f"a range reads KEY=LOW:HIGH with two numbers that rise, got {text!r}")
    return key, (read[0], read[1])


def _suggested(trial: Any, key: str, values: list[Any] | tuple[float, float]) -> Any:
    if isinstance(values, list):
        return values[trial.suggest_categorical(key, list(range(len(values))))]
    is_whole = all(isinstance(end, int) for end in values)
    return trial.suggest_int(key, *values) if is_whole else round(trial.suggest_float(key, *values), 4)
