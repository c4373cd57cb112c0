"""The adaptive partition against its definition, its labels, its file, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.errors import DataError
from perception.geo import NO_CELL, CellList, GeoPartition, adaptive_partition
from perception.geo.partition_file import load_partition, save_partition
from perception.geo.s2_cells import id_ranges, leaf_ids, levels_of, parent_ids, tokens_of

MUNICH = (48.137, 11.575)


def clustered(count: int, seed: int = 0, towns: int = 7) -> np.ndarray:
    """Places about a few towns all over the Earth, most of them within kilometres, some far off."""
    rng = np.random.default_rng(seed)
    centers = np.stack([rng.uniform(-60, 60, towns), rng.uniform(-170, 170, towns)], axis=1)
    spread = 10.0 ** rng.uniform(-4, 0.8, (count, 1))
    return centers[rng.integers(towns, size=count)] + spread * rng.uniform(-1, 1, (count, 2))


def partition_by_definition(
    latlng: np.ndarray, tau_max: int, tau_min: int, level_min: int, level_max: int
) -> dict[int, list[int]]:
    """Rows of the places in each kept cell, by its id: buckets are split one by one."""
    leaves = leaf_ids(latlng)
    todo = [(level_min, np.arange(len(latlng)))]
    kept = {}
    while todo:
        level, rows = todo.pop()
        ids = parent_ids(leaves[rows], level)
        for cell in np.unique(ids):
            members = rows[ids == cell]
            if len(members) > tau_max and level < level_max:
                todo.append((level + 1, members))
            elif len(members) > tau_min:
                kept[int(cell)] = members.tolist()
    return kept


@pytest.mark.parametrize(
    ("tau_max", "tau_min", "levels"),
    [((40, 15, 6), 2, (2, 30)), ((100,), 0, (1, 30)), ((30, 10), 9, (3, 12)), ((5, 2), 1, (2, 6)), ((3,), 2, (5, 5))],
)
def test_cells_counts_means_and_labels_are_those_of_the_definition(tau_max, tau_min, levels):
    latlng = clustered(600)
    partition = adaptive_partition(latlng, tau_max, tau_min=tau_min, level_min=levels[0], level_max=levels[1])
    labels = partition.labels_of(latlng)
    assert len(partition) == len(tau_max)
    for number, (most, cells) in enumerate(zip(tau_max, partition.hierarchies, strict=True)):
        expected = partition_by_definition(latlng, most, tau_min, *levels)
        assert cells.ids.tolist() == sorted(expected)
        true = np.full(len(latlng), NO_CELL)
        for label, cell in enumerate(sorted(expected)):
            true[expected[cell]] = label
            assert cells.counts[label] == len(expected[cell])
            np.testing.assert_allclose(cells.latlng[label], latlng[expected[cell]].mean(axis=0), rtol=0, atol=1e-9)
        np.testing.assert_array_equal(labels[:, number], true)
        np.testing.assert_array_equal(cells.labels_of(latlng), true)


@given(
    seed=st.integers(0, 10**6), count=st.integers(30, 300), tau_min=st.integers(0, 1),
    tau_max=st.lists(st.integers(4, 60), min_size=1, max_size=4, unique=True),
)
def test_hierarchies_nest_and_no_cell_is_too_full_or_too_empty(seed, count, tau_min, tau_max):
    latlng = clustered(count, seed, towns=2)
    tau_max = sorted(tau_max, reverse=True)
    partition = adaptive_partition(latlng, tau_max, tau_min=tau_min)
    for most, cells in zip(tau_max, partition.hierarchies, strict=True):
        assert ((cells.counts > tau_min) & (cells.counts <= most)).all()
    for parents, (coarse, fine) in zip(partition.parents, pairwise(partition.hierarchies), strict=True):
        low, high = id_ranges(coarse.ids[parents])
        inner_low, inner_high = id_ranges(fine.ids)
        assert ((low <= inner_low) & (inner_high <= high)).all()


def test_a_cell_with_exactly_tau_min_places_is_dropped_and_one_with_tau_max_is_whole():
    two, three = np.repeat([MUNICH], 2, axis=0), np.repeat([(-33.9, 151.2)], 3, axis=0)
    (cells,) = adaptive_partition(np.concatenate([two, three]), [3], tau_min=2).hierarchies
    assert cells.counts.tolist() == [3]
    assert cells.levels.tolist() == [2]


def test_places_that_cannot_be_told_apart_are_cut_to_the_last_level():
    (cells,) = adaptive_partition(np.repeat([MUNICH], 9, axis=0), [3], tau_min=0).hierarchies
    assert cells.levels.tolist() == [30]
    assert cells.counts.tolist() == [9]


def test_a_chain_of_classes_leads_from_the_coarse_to_the_fine_cell():
    latlng = clustered(400)
    partition = adaptive_partition(latlng, (60, 20, 5), tau_min=1)
    labels = partition.labels_of(latlng)
    for row in labels[(labels >= 0).all(axis=1)][:50]:
        assert partition.chain_of(int(row[-1])) == tuple(row.tolist())


def test_cells_without_a_member_are_named():
    latlng = clustered(400)
    partition = adaptive_partition(latlng, (60, 5), tau_min=1)
    partition.check_members(latlng)
    label = partition.labels_of(latlng)[:, 1] == 3
    told = f"1 of .* cells of hierarchy 1 hold none of the training set, such as {partition.hierarchies[1].tokens[3]}"
    with pytest.raises(ValueError, match=told):
        partition.check_members(latlng[~label], "the training set")


def test_too_few_places_are_told():
    with pytest.raises(ValueError, match=r"no cell has more than tau_min = 50 of the 50 places with tau_max = 100"):
        adaptive_partition(np.repeat([MUNICH], 50, axis=0), [100])
    with pytest.raises(ValueError, match="of the 0 places"):
        adaptive_partition(np.empty((0, 2)), [100])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tau_max": []}, "tau_max must be one or more strictly descending numbers"),
        ({"tau_max": [5, 5]}, r"strictly descending numbers, got \(5, 5\)"),
        ({"tau_max": [5, 9]}, r"strictly descending numbers, got \(5, 9\)"),
        ({"tau_max": [9, 5], "tau_min": 5}, r"tau_min must lie in \[0, 5\), below all of tau_max, got 5"),
        ({"tau_max": [9], "tau_min": -1}, "tau_min must lie"),
        ({"tau_max": [9], "tau_min": 0, "level_min": 0}, "level_min and level_max must satisfy 1 <="),
        ({"tau_max": [9], "tau_min": 0, "level_min": 9, "level_max": 8}, "got 9 and 8"),
        ({"tau_max": [9], "tau_min": 0, "level_max": 31}, "<= 30, got 2 and 31"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        adaptive_partition(np.zeros((100, 2)), **options)


def test_swapped_coordinates_are_refused():
    with pytest.raises(ValueError, match="seem to be swapped"):
        adaptive_partition(np.repeat([(151.2, -33.9)], 60, axis=0), [100])


def cells_of(places: list[tuple[float, float]], level: int, **changes: np.ndarray) -> CellList:
    ids = np.unique(parent_ids(leaf_ids(np.array(places, np.float64)), level))
    parts = {"ids": ids, "counts": np.ones(len(ids), np.int64), "latlng": np.zeros((len(ids), 2)), **changes}
    return CellList(**parts)


TWO = [(0.0, 10.0), (48.0, 11.0)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counts": np.array([1, 0])}, "every cell must have a member, got 1 of 2 without, such as "),
        ({"counts": np.array([1])}, "must have a row for each of 2 cells"),
        ({"latlng": np.full((2, 2), np.nan)}, "row 0: expected a latitude"),
        ({"ids": np.array([2, 3], np.uint64)}, "ids must be of S2 cells, got 2 in row 0"),
        ({"ids": np.array([], np.uint64)}, "with C >= 1"),
        ({"ids": np.array([1, 3], np.int64)}, "uint64 with C >= 1, got .* int64"),
    ],
)
def test_a_list_that_is_none_of_cells_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        cells_of(TWO, 6, **changes)


def test_overlapping_or_unordered_cells_are_refused():
    ids = cells_of(TWO, 6).ids
    with pytest.raises(ValueError, match="ids must ascend and cells must not overlap"):
        cells_of(TWO, 6, ids=ids[::-1].copy())
    pair = np.sort(np.concatenate([ids[:1], parent_ids(ids[:1], 4)]))
    with pytest.raises(ValueError, match=r"must not overlap, got .* before "):
        cells_of(TWO, 6, ids=pair)


def test_hierarchies_of_different_places_are_refused():
    coarse, fine = cells_of([(0.0, 10.0)], 3), cells_of(TWO, 6)
    with pytest.raises(ValueError, match=r"1 cells of hierarchy 1 lie in no cell of hierarchy 0, such as [0-9a-f]+: "):
        GeoPartition((coarse, fine))
    with pytest.raises(ValueError, match="hierarchies must be at least one list"):
        GeoPartition(())


def test_a_partition_comes_back_from_its_file(tmp_path: Path):
    partition = adaptive_partition(clustered(500), (60, 20, 5), tau_min=1)
    back = load_partition(save_partition(partition, tmp_path / "towns/partition.parquet"))
    assert back.num_classes == partition.num_classes
    for ours, theirs in zip(partition.hierarchies, back.hierarchies, strict=True):
        for name in ("ids", "counts", "latlng"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def changed(path: Path, **columns: pa.Array) -> Path:
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    pq.write_table(table, path)
    return path


def test_a_malformed_file_is_told_with_its_field(tmp_path: Path):
    partition = adaptive_partition(clustered(500), (60, 5), tau_min=1)
    path = save_partition(partition, tmp_path / "p.parquet")
    rows = sum(partition.num_classes)
    with pytest.raises(DataError, match=r"p.parquet: hierarchy 0: expected cells .* every cell must have a member"):
        load_partition(changed(path, members=pa.array(np.zeros(rows, np.int64))))
    path = save_partition(partition, path)
    with pytest.raises(DataError, match=r"p.parquet: columns: expected a number in every place, got nulls"):
        load_partition(changed(path, latitude=pa.array([None] * rows, pa.float64())))
    pq.write_table(pa.table({"cell": [1]}), path)
    with pytest.raises(DataError, match=r"p.parquet: schema version: expected 1, got none"):
        load_partition(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"p.parquet: partition: expected a Parquet file"):
        load_partition(path)
    with pytest.raises(DataError, match=r"gone.parquet: partition: expected a Parquet file of save_partition"):
        load_partition(tmp_path / "gone.parquet")


def test_ids_are_in_unsigned_order_on_both_halves_of_the_number_line():
    latlng = np.repeat([(0.0, 0.0), (0.0, -90.0), (-90.0, 0.0)], 5, axis=0)       # faces 0, 4 and 5
    (cells,) = adaptive_partition(latlng, [9], tau_min=2).hierarchies
    assert (np.diff(cells.ids.astype(object)) > 0).all()
    assert [token[0] for token in tokens_of(cells.ids)] == ["1", "9", "b"]
    assert levels_of(cells.ids).tolist() == [2, 2, 2]
