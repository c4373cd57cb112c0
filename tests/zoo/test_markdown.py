"""The zoo's tables, and their place in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.errors import DataError
from perception.models.mixers.traits import MixerTraits
from perception.registry import PluginInfo, VariantInfo, load_plugins
from perception.zoo.entries import Entry, Variant, as_record
from perception.zoo.markdown import BEGIN, END, write_zoo, zoo_tables
from perception.zoo.mixers import MixerEntry, registered_mixers
from perception.zoo.model_size import ModelSize

INFO = PluginInfo(
    name="acme", title="Acme | Nets", year=2024, roles=("image_backbone", "neck"), official="acme/nets",
    parity="to 1e-5",
)
ENTRIES = [
    Entry("acme", "acme_plugins", INFO, "Networks.", (
        Variant("configs/acme/a.py", VariantInfo("80.1 % top-1", "paper", (224, 192)), ModelSize(12_345, 2 * 10**9)),
        Variant("/elsewhere/b.py", VariantInfo(), ModelSize(7)),
        Variant("configs/acme/c.py", VariantInfo(source="paper"), fault="cannot be built: it has no model"),
        Variant("configs/acme/d.py", VariantInfo()),
    )),
    Entry("bad", "bad_plugin", fault='plugin "bad" (bad_plugin) cannot be imported: ZeroDivisionError: by zero'),
    Entry("bare", "bare", PluginInfo(name="bare", title="Bare", year=2020, roles=("loss",))),
]


def lines_of(entries: list[Entry], beginning: str) -> list[str]:
    return [line for line in zoo_tables(entries).splitlines() if line.startswith(beginning)]


def test_a_plugin_has_a_line():
    assert lines_of(ENTRIES, "| `acme` |")[0] == (
        "| `acme` | Acme \\| Nets (2024), [acme/nets](https://github.com/acme/nets) | Networks | image_backbone, neck "
        "| 4 | to 1e-5 |"
    )
    assert lines_of(ENTRIES, "| `bare` |") == ["| `bare` | Bare (2020) | - | loss | 0 | none |"]


def test_a_broken_plugin_has_a_line_that_says_so():
    assert lines_of(ENTRIES, "| `bad` |") == [
        '| `bad` | - | broken: plugin "bad" (bad_plugin) cannot be imported: ZeroDivisionError: by zero | - | - | - |'
    ]


def test_a_variant_has_a_line():
    assert lines_of(ENTRIES, "| `acme` |")[1:] == [
        "| `acme` | [`a`](configs/acme/a.py) | 224 x 192 | 12,345 | 2.00 | 80.1 % top-1 | paper |",
        "| `acme` | `b` | - | 7 | - | - | - |",
        "| `acme` | [`c`](configs/acme/c.py) | - | cannot be built | - | - | - |",
        "| `acme` | [`d`](configs/acme/d.py) | - | - | - | - | - |",
    ]


def test_a_mixer_has_a_line_of_what_it_promises():
    mixers = [
        MixerEntry("Cheap", "acme", MixerTraits("N", causal="option", streaming=True)),
        MixerEntry("Dear", "core", MixerTraits("N^2", masked=False)), MixerEntry("Silent", "bare", None),
    ]
    lines = [line for line in zoo_tables([], mixers).splitlines() if line.startswith("| `")]
    assert lines == [
        "| `Cheap` | acme | N | by an option | yes | yes |", "| `Dear` | core | N^2 |  |  |  |",
        "| `Silent` | bare | - | - | - | - |",
    ]


def test_mixers_are_listed_with_their_plugin():
    load_plugins(["poolformer"])
    found = {entry.name: entry for entry in registered_mixers()}
    assert found["AttentionMixer"].plugin == "core"
    assert (found["PoolingMixer"].plugin, found["PoolingMixer"].traits.cost) == ("poolformer", "N")
    assert next(iter(found.values())).plugin == "core"


@pytest.mark.parametrize(("flops", "text"), [
    (0, "0.00"), (9_994_000_000, "9.99"), (25_300_000_000, "25.3"), (2_616_400_000_000, "2,616"),
])
def test_operations_have_about_three_digits(flops, text):
    entry = Entry("acme", "acme", INFO, "", (Variant("a.py", VariantInfo(), ModelSize(1, flops)),))
    assert lines_of([entry], "| `acme` | [`a`]") == [f"| `acme` | [`a`](a.py) | - | 1 | {text} | - | - |"]


def test_all_lines_of_a_table_have_as_many_cells():
    widths = {line.replace("\\|", "").count("|") for line in zoo_tables(ENTRIES).splitlines() if line.startswith("|")}
    assert widths == {7, 8}                                # of plugins and mixers, of variants


def test_the_tables_go_between_the_markers_and_again(tmp_path: Path):
    file = tmp_path / "README.md"
    file.write_text(f"# Acme\n{BEGIN}\nold\n{END}\nmore\n", encoding="utf-8")
    for tables in ("| one |", "| two |"):
        assert write_zoo(file, tables) == file
        assert file.read_text(encoding="utf-8") == f"# Acme\n{BEGIN}\n\n{tables}\n\n{END}\nmore\n"


def test_a_new_file_is_made(tmp_path: Path):
    file = write_zoo(tmp_path / "docs/zoo.md", "| one |")
    assert file.read_text(encoding="utf-8") == f"{BEGIN}\n\n| one |\n\n{END}\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_file_without_one_pair_of_markers_is_left_as_it_is(tmp_path: Path, text: str):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(DataError, match="markers: expected the lines <!-- the zoo"):
        write_zoo(file, "| one |")
    assert file.read_text() == text


def test_a_record_tells_the_same_as_the_tables():
    acme, bad, _ = map(as_record, ENTRIES)
    assert (acme["name"], acme["module"], acme["broken"], acme["year"]) == ("acme", "acme_plugins", None, 2024)
    assert acme["variants"]["configs/acme/a.py"] == {
        "score": "80.1 % top-1", "source": "paper", "picture": (224, 192), "parameters": 12_345, "flops": 2 * 10**9
    }
    assert acme["variants"]["configs/acme/c.py"]["broken"] == "cannot be built: it has no model"
    assert bad == {"name": "bad", "module": "bad_plugin", "broken": ENTRIES[1].fault}
