"""The compressors and settings of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ConfigError
from ..config import parse_overrides


def parse_methods(names: str, settings: Sequence[str]) -> list[dict[str, Any]]:
    """``"A+B", ["x=1", "A.y=2"]`` -> configs of A with y and of B with x.

    Raises:
        ConfigError: a name is empty, or a setting is of no compressor that is asked for.
    """
    methods: list[dict[str, Any]] = [{"type": name.strip()} for name in names.split("+")]
    if not all(method["type"] for method in methods):
        raise ConfigError(f'compressors are joined by "+", got {names!r}')
    for key, value in parse_overrides(settings).items():
        owner, dot, argument = key.rpartition(".")
        target = next((method for method in methods if method["type"] == owner), None) if dot else methods[-1]
        if target is None:
            raise ConfigError(f"{key}: {owner} is none of {names}")
        target[argument] = value
    return methods


def parse_sweep(text: str) -> list[str]:
    """``"share=0.25,0.5"`` -> ``["share=0.25", "share=0.5"]``; parted by ";" if one is there.

    Raises:
        ConfigError: there is no ``=``, or no value.
    """
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(";" if ";" in values else ",") if value.strip()]
    if not equals or not key or not found:
        raise ConfigError(f"a sweep reads KEY=A,B,C, got {text!r}")
    return [f"{key}={value}" for value in found]
