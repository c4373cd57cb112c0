"""Variables of a config file, such as ``data_root = "data"``, changed before the file is evaluated.

So a change reaches every place that uses the variable, in the file and in its bases.
"""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def with_variables(path: Path, values: Mapping[str, Any]) -> Iterator[Path]:
    """A config file like ``path``, in whose sources the top-level variables ``values`` are assigned other literals.

    Names that no file assigns a literal to are left to the caller; if there are only such, ``path`` itself is given.
    """
    sources = _sources(path.resolve())
    changed = {file: _changed(source, values) for file, source in sources.items()}
    if changed == sources:
        yield path
        return
    changed = {file: _changed(source, _with_relative_bases(file, source)) for file, source in changed.items()}
    root = Path(os.path.commonpath([file.parent for file in sources]))
    with tempfile.TemporaryDirectory() as folder:
        for file, source in changed.items():
            copy = Path(folder) / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(source, encoding="utf-8")
        yield Path(folder) / path.resolve().relative_to(root)


def _sources(path: Path) -> dict[Path, str]:
    """Sources of a config and all its bases; those that are absent or broken are left for mmengine to complain of."""
    found: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found[file] = file.read_text(encoding="utf-8")
        waiting += [(file.parent / name).resolve() for name in _bases(found[file]) if "::" not in name]
    return found


def _bases(source: str) -> list[str]:
    node = _literals(source).get("_base_")
    names = [] if node is None else ast.literal_eval(node)
    return [names] if isinstance(names, str) else list(names)


def _with_relative_bases(file: Path, source: str) -> dict[str, list[str]]:
    """The bases of a file by relative paths, so that its copy inherits from copies; nothing if they are so already."""
    bases = _bases(source)
    relative = [os.path.relpath(name, file.parent) if os.path.isabs(name) else name for name in bases]
    return {} if relative == bases else {"_base_": relative}


def _changed(source: str, values: Mapping[str, Any]) -> str:
    nodes = {name: node for name, node in _literals(source).items() if name in values}
    lines = source.splitlines(keepends=True)
    for name, node in sorted(nodes.items(), key=lambda item: -item[1].lineno):
        end = node.end_lineno or node.lineno
        before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
        after = lines[end - 1].encode()[node.end_col_offset :].decode()
        lines[node.lineno - 1 : end] = [f"{before}{values[name]!r}{after}"]
    return "".join(lines)


def _literals(source: str) -> dict[str, ast.expr]:
    """The value nodes of top-level ``name = literal`` assignments; of several to one name the last."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    assignments = [node for node in body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
    return {node.targets[0].id: node.value for node in assignments if _is_literal(node.value)}     # type: ignore[attr-defined]


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True
