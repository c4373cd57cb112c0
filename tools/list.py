"""Print the zoo: every installed plugin with its paper, roles and parity status, and the native kernels in use.

A plugin that cannot be imported is shown as broken, with the reason.

Examples:
    python tools/list.py
    python tools/list.py --params                       # also the parameters of the models in each plugin's configs
    python tools/list.py --json work_dirs/zoo.json
    python tools/list.py --markdown README.md           # write the tables between the markers of the file

The tables of --markdown hold parameters, operations at the authors' picture size (two for each multiply-add) and
published scores of every variant, and what every token mixer costs and promises; without FILE they are printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perception.engine.cli import run_tool
from perception.replay.command_line import progress_bar

if TYPE_CHECKING:
    from perception.zoo.entries import Entry

ROOT = Path(__file__).resolve().parents[1]             # config paths in a PLUGIN are relative to it


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", action="store_true", help="count the parameters of each config's model")
    parser.add_argument("--markdown", nargs="?", const="", metavar="FILE", help="the zoo's tables, into FILE if given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what is printed as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.atomic_write import write_json
    from perception.zoo.entries import as_record, installed_entries, with_sizes
    from perception.zoo.markdown import write_zoo, zoo_tables
    from perception.zoo.mixers import registered_mixers
    from perception_ops import native_kernels

    entries, kernels = installed_entries(), list(native_kernels())
    if args.params or args.markdown is not None:
        waiting = entries if args.markdown == "" else progress_bar(entries, len(entries), "counting")
        entries = [with_sizes(entry, ROOT, operations=args.markdown is not None) for entry in waiting]
    if args.markdown is None:
        show(entries, kernels)
    elif args.markdown:
        print(f"wrote {write_zoo(args.markdown, zoo_tables(entries, registered_mixers()))}")
    else:
        print(zoo_tables(entries, registered_mixers()))
    if args.json is not None:
        record = {"plugins": list(map(as_record, entries)), "native_kernels": kernels}
        print(f"wrote {write_json(args.json, record)}")
    return 0


def show(entries: Sequence[Entry], kernels: Sequence[str]) -> None:
    """Print the table of working plugins, what is wrong with the others, and the kernels."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from perception.zoo.entries import sizes_of

    console = Console(highlight=False)
    table = Table("name", "paper", "roles", "parity", box=SIMPLE, show_lines=True)
    table.columns[1].overflow = "fold"
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for entry in entries:
        if entry.info is not None:
            info = entry.info
            paper = f"{info.title} ({info.year})" + (f", {info.official}" if info.official else "")
            table.add_row(*map(escape, (entry.name, paper, "\n".join(info.roles), info.parity)))
    console.print(table)
    for entry in entries:
        for config, size in sizes_of(entry):
            console.print(escape(f"{config}: {size}"), soft_wrap=True)
        if entry.fault is not None:
            console.print(f"[red]broken[/red]: {escape(entry.fault)}", soft_wrap=True)
    console.print(f"native kernels: {', '.join(kernels) or 'none, the torch references are used'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_tool(main))
