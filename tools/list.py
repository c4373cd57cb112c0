"""Print the zoo: every installed plugin with its paper, roles and parity status, and the native kernels in use.

A plugin that cannot be imported is shown as broken, with the reason.

Examples:
    python tools/list.py
    python tools/list.py --params                       # also the parameters of the models in each plugin's configs
    python tools/list.py --json work_dirs/zoo.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perception.engine.cli import run_tool

ROOT = Path(__file__).resolve().parents[1]             # config paths in a PLUGIN are relative to it


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", action="store_true", help="count the parameters of each config's model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what is printed as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.atomic_write import write_json
    from perception.registry import plugin_modules
    from perception_ops import native_kernels

    plugins = [describe(name, module, args.params) for name, module in plugin_modules().items()]
    kernels = list(native_kernels())
    show(plugins, kernels)
    if args.json is not None:
        print(f"wrote {write_json(args.json, {'plugins': plugins, 'native_kernels': kernels})}")
    return 0


def describe(name: str, module: str, count: bool) -> dict[str, Any]:
    """One row of the zoo; ``broken`` holds the reason if the plugin cannot be imported, else None."""
    from perception.errors import PluginError
    from perception.registry import load_plugin

    try:
        info = load_plugin(name)
    except PluginError as error:
        return {"name": name, "module": module, "broken": str(error)}
    row = {**asdict(info), "checkpoints": dict(info.checkpoints), "module": module, "broken": None}
    if count:
        row["parameters"] = {config: parameters_of(config) for config in sorted(set(info.checkpoints.values()))}
    return row


def parameters_of(config: str) -> int | str:
    """Number of parameters of a config's model, which gets no memory; or why it cannot be built."""
    import torch

    from perception.engine.config import load_config
    from perception.errors import PerceptionError
    from perception.registry import MODELS

    path = Path(config) if Path(config).is_file() else ROOT / config
    try:
        cfg = load_config(path)
        if "model" not in cfg:
            return "cannot be built: it has no model"
        with torch.device("meta"):
            model = MODELS.build(cfg.model)
    except (PerceptionError, ValueError, TypeError, NotImplementedError) as error:
        return f"cannot be built: {error}"
    return sum(parameter.numel() for parameter in model.parameters())


def show(plugins: list[dict[str, Any]], kernels: list[str]) -> None:
    """Print the table of working plugins, what is wrong with the others, and the kernels."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("name", "paper", "roles", "parity", box=SIMPLE, show_lines=True)
    table.columns[1].overflow = "fold"
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for row in plugins:
        if row["broken"] is None:
            paper = f"{row['title']} ({row['year']})" + (f", {row['official']}" if row["official"] else "")
            table.add_row(*map(escape, (row["name"], paper, "\n".join(row["roles"]), row["parity"])))
    console.print(table)
    for row in plugins:
        for config, number in row.get("parameters", {}).items():
            text = f"{number:,} parameters" if isinstance(number, int) else escape(number)
            console.print(f"{config}: {text}", soft_wrap=True)
        if row["broken"] is not None:
            console.print(f"[red]broken[/red]: {escape(row['broken'])}", soft_wrap=True)
    console.print(f"native kernels: {', '.join(kernels) or 'none, the torch references are used'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_tool(main))
