from __future__ import annotations

import pytest
import torch

from perception.errors import CheckpointError
from perception.models.key_map import rename_keys, rename_part

ONE, TWO = torch.ones(1), torch.full((1,), 2.0)
RENAMES = (
    (r"stem\.0\.(\w+)", r"stem.conv.\1"),
    (r"layers\.(\d+)\.w", lambda match: f"blocks.{int(match[1]) // 2}.w" if int(match[1]) % 2 == 0 else None),
)


def test_keys_are_renamed_by_the_first_pattern_that_matches_in_full():
    renamed = rename_keys({"stem.0.weight": ONE, "layers.4.w": TWO}, RENAMES)
    assert renamed == {"stem.conv.weight": ONE, "blocks.2.w": TWO}


def test_dropped_keys_vanish():
    renamed = rename_keys({"stem.0.weight": ONE, "anchors": TWO}, RENAMES, dropped=(r"anchors",))
    assert renamed == {"stem.conv.weight": ONE}


@pytest.mark.parametrize("key", ["stem.0.weight.more", "prefix.stem.0.weight", "layers.3.w", "other"])
def test_a_key_without_a_rule_is_listed(key):
    with pytest.raises(CheckpointError, match=f"1 of 2 keys belong to another architecture: {key}"):
        rename_keys({"stem.0.weight": ONE, key: TWO}, RENAMES)


def test_many_unknown_keys_are_listed_up_to_twenty():
    with pytest.raises(CheckpointError, match="k19 and 5 more"):
        rename_keys({f"k{i}": ONE for i in range(25)}, RENAMES)


def test_two_keys_that_become_one_are_refused():
    renames = ((r"[ab]", "c"),)
    with pytest.raises(CheckpointError, match="two keys of the checkpoint become c; the second is b"):
        rename_keys({"a": ONE, "b": TWO}, renames)


def test_a_part_is_mapped_without_its_prefixes():
    renames = ((r"neck\.0\.(\w+)", r"joiner.first.\1"),)
    mapped = rename_part({"0.weight": ONE}, lambda state: rename_keys(state, renames), "neck.", "joiner.")
    assert mapped == {"first.weight": ONE}
