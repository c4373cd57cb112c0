"""One self-contained HTML file: tables, plots and pictures of a run, with nothing to fetch."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perception.atomic_write import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b2330; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #d8dde5; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e7eaf0; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: .6rem .8rem .6rem 0; vertical-align: top; }
figcaption { font-size: .85rem; color: #586274; } img { max-width: 100%; height: auto; }
code { background: #eef1f6; padding: .1rem .3rem; border-radius: 3px; }
"""


class Report:
    """An HTML report that grows section by section.

    Args:
        title: heading of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def section(self, heading: str, text: str = "") -> None:
        """Begin a section; ``text`` is a plain paragraph."""
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")
        if text:
            self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; floats are shown with four significant digits, NaN as a dash.

        Raises:
            ValueError: a row has another number of cells than the header.
        """
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"a row has {len(row)} cells, the header {len(header)}: {list(row)}")
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def picture(self, picture: np.ndarray, caption: str, *, width: int | None = None) -> None:
        """An RGB picture (H, W, 3) uint8, stored as JPEG; shown ``width`` pixels wide."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
        self._embed(buffer.getvalue(), "image/jpeg", caption, width)

    def figure(self, figure: Figure, caption: str = "") -> None:
        """A matplotlib figure, stored as SVG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg")
        self._embed(buffer.getvalue(), "image/svg+xml", caption, None)

    def save(self, path: Path) -> Path:
        """Write the page, whole or not at all; returns its path."""
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{STYLE}</style></head><body><h1>{html.escape(self.title)}</h1>{''.join(self._parts)}</body></html>"
        )
        with atomic_path(path) as scratch:
            scratch.write_text(page, encoding="utf-8")
        return path

    def _embed(self, data: bytes, kind: str, caption: str, width: int | None) -> None:
        size = f' width="{width}"' if width else ""
        source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        text = html.escape(caption)
        self._parts.append(f'<figure><img src="{source}"{size} alt="{text}"><figcaption>{text}</figcaption></figure>')


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return html.escape(str(value))
