"""What our plugins tell of their variants: every one, files that exist, and scores that the configs tell too."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from perception.registry import load_plugin, plugin_modules

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = [name for name, module in plugin_modules().items() if module.startswith("perception_plugins.")]
OURS = re.compile("synthetic|sample|flatformer_tiny|_drive$")    # small ones, and one whose classes are a user's places


def decimals(text: str) -> set[str]:
    """Numbers with a point, but those of metres and of millions of parameters."""
    return {number for number, unit in re.findall(r"(\d+\.\d+)( M\b| m\b)?", text) if not unit}


@pytest.mark.parametrize("name", PLUGINS)
def test_every_variant_is_told(name):
    folder = ROOT / "configs" / name
    files = {str(path.relative_to(ROOT)) for path in folder.glob("*.py") if not OURS.search(path.stem)}
    told = load_plugin(name).variants
    assert set(told) == files
    assert set(load_plugin(name).checkpoints.values()) <= set(told)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_score_has_a_source_and_is_that_of_the_configs_docstring(name):
    for config, info in load_plugin(name).variants.items():
        assert bool(info.score) == bool(info.source), config
        summary = (ast.get_docstring(ast.parse((ROOT / config).read_text())) or "").partition("\n")[0]
        assert decimals(summary) <= decimals(info.score), config
