"""The zoo as tables of Markdown, and their place in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..atomic_write import atomic_path
from ..errors import DataError
from .entries import Entry, Variant
from .mixers import MixerEntry

BEGIN = "<!-- the zoo, written by: python tools/list.py --markdown README.md -->"
END = "<!-- end of the zoo -->"
ABSENT = "-"
PLUGIN_COLUMNS = ("plugin", "paper and code", "what it is", "roles", "variants", "parity with the authors' code")
VARIANT_COLUMNS = ("plugin", "config", "picture", "parameters", "GFLOP", "published", "source")
MIXER_COLUMNS = ("token mixer", "plugin", "time grows as", "causal", "streams", "takes masks")
CAUSAL = {"never": "", "always": "yes", "option": "by an option"}
EXPLANATION = """\
Parameters are all that a model built from its config has: those of heads that only help it to learn and of norms that
training leaves alone, too, but not a teacher's. GFLOP are the operations of matrix products, convolutions and attention
for one picture of the size that the authors use, two for each multiply-add; papers often count multiply-adds, half as
many, and some count element-wise work too. "-" stands where the input is not one picture. Scores are the authors', with
where they stand; "-" is where they publish none."""


def zoo_tables(entries: Sequence[Entry], mixers: Sequence[MixerEntry] = ()) -> str:
    """A line a plugin, the broken ones too, below it a line a variant and a line a mixer.

    The same entries and mixers give the same text.
    """
    return "\n".join([
        *_table(PLUGIN_COLUMNS, map(_plugin_cells, entries)), "",
        "<details>", "<summary>Every variant: parameters, operations, published score</summary>", "", EXPLANATION, "",
        *_table(VARIANT_COLUMNS, (cells for entry in entries for cells in _variant_rows(entry))), "", "</details>", "",
        "<details>", "<summary>Every token mixer: what it costs and promises</summary>", "",
        *_table(MIXER_COLUMNS, map(_mixer_cells, mixers)), "", "</details>",
    ])


def write_zoo(path: Path | str, tables: str) -> Path:
    """Put tables between the markers of a file, or into a new file.

    Raises:
        DataError: the file exists and has not one pair of markers, in their order.
    """
    path, block = Path(path), f"{BEGIN}\n\n{tables}\n\n{END}"
    if path.exists():
        before, after = around_zoo(path)
        block = f"{before}{block}{after}"
    else:
        block += "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(block, encoding="utf-8")
    return path


def around_zoo(path: Path) -> tuple[str, str]:
    """The text of a file before and after the tables and their markers. Raises DataError as `write_zoo` does."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(path, "markers", f"the lines {BEGIN} and {END}, once each", "other text")
    return text[: text.index(BEGIN)], text[text.index(END) + len(END) :]


def _mixer_cells(mixer: MixerEntry) -> Sequence[str]:
    traits = mixer.traits
    if traits is None:
        return (f"`{mixer.name}`", mixer.plugin, *[ABSENT] * 4)
    promises = ("yes" if traits.streaming else "", "yes" if traits.masked else "")
    return (f"`{mixer.name}`", mixer.plugin, traits.cost, CAUSAL[traits.causal], *promises)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _line(headings)
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield _line(cell.replace("|", "\\|").replace("\n", " ") for cell in row)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plugin_cells(entry: Entry) -> list[str]:
    name = f"`{entry.name}`"
    if entry.info is None:
        return [name, ABSENT, f"broken: {entry.fault}", ABSENT, ABSENT, ABSENT]
    info = entry.info
    paper = f"{info.title} ({info.year})"
    if info.official:
        paper += f", [{info.official}](https://github.com/{info.official})"
    return [
        name, paper, entry.summary.rstrip(".") or ABSENT, ", ".join(info.roles), str(len(entry.variants)), info.parity,
    ]


def _variant_rows(entry: Entry) -> Iterator[list[str]]:
    for variant in entry.variants:
        info = variant.info
        picture = "{} x {}".format(*info.picture) if info.picture is not None else ABSENT
        score = [info.score or ABSENT, info.source if info.score else ABSENT]
        yield [f"`{entry.name}`", _link(variant.config), picture, *_size_cells(variant), *score]


def _link(config: str) -> str:
    name = f"`{PurePosixPath(config).stem}`"
    return name if PurePosixPath(config).is_absolute() else f"[{name}]({config})"


def _size_cells(variant: Variant) -> list[str]:
    if variant.size is None:
        return [ABSENT if variant.fault is None else "cannot be built", ABSENT]
    flops = variant.size.flops
    return [f"{variant.size.parameters:,}", ABSENT if flops is None else _gflop(flops / 1e9)]


def _gflop(value: float) -> str:
    """Three digits, or all before the point."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"
