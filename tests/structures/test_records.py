"""Point clouds, annotations and predictions: columns by name, rows by mask, and what they refuse."""

import pytest
import torch

from perception.structures import Annotations, Boxes3D, PointCloud, Predictions

CHANNELS = ("x", "y", "z", "intensity")


def cloud(rows: int = 3) -> PointCloud:
    return PointCloud(torch.arange(4.0 * rows).view(rows, 4), CHANNELS)


def annotations() -> Annotations:
    return Annotations(
        Boxes3D(torch.arange(21.0).view(3, 7)),
        torch.tensor([0, -1, 1]),
        ("car", "bus"),
        num_lidar_pts=torch.tensor([5, -1, 0]),
        instance_ids=("a", "b", "c"),
        visibility=torch.tensor([0.5, 1.0, torch.nan]),
    )


def test_channels_are_found_by_name():
    assert cloud().channel("intensity").tolist() == [3.0, 7.0, 11.0]
    assert cloud().select(("intensity", "x")).tolist() == [[3.0, 0.0], [7.0, 4.0], [11.0, 8.0]]


def test_a_channel_is_added_or_replaced_in_a_copy():
    given = cloud()
    assert given.with_channel("time", 0.5).channels == (*CHANNELS, "time")
    assert given.with_channel("intensity", torch.zeros(3)).channel("intensity").tolist() == [0.0] * 3
    assert given.channel("intensity").tolist() == [3.0, 7.0, 11.0]


def test_joined_clouds_have_the_channels_of_the_first():
    joined = PointCloud.cat([PointCloud(torch.zeros(2, 3)), cloud()])
    assert joined.channels == ("x", "y", "z")
    assert len(joined) == 5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: PointCloud(torch.zeros(2, 4)), r"float32 \(N, 3\)"),
        (lambda: PointCloud(torch.zeros(2, 3, dtype=torch.float64)), "got torch.float64"),
        (lambda: PointCloud(torch.zeros(2, 3), ("x", "z", "y")), "must begin with x, y, z"),
        (lambda: PointCloud(torch.zeros(2, 5), ("x", "y", "z", "time", "time")), "distinct"),
        (lambda: cloud().channel("ring"), "no channel 'ring'; it has x, y, z, intensity"),
        (lambda: cloud().with_channel("time", torch.zeros(4)), r"a constant or \(3,\) values, got \(4,\)"),
        (lambda: PointCloud.cat([cloud(), PointCloud(torch.zeros(1, 3))]), "no channel 'intensity'"),
        (lambda: PointCloud.cat([]), "at least one cloud"),
    ],
)
def test_point_clouds_that_do_not_fit_are_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([False, True, True]), torch.tensor([1, 2])])
def test_some_annotations_keep_all_their_columns(index):
    some = annotations()[index]
    assert some.names() == ["ignore", "bus"]
    assert some.instance_ids == ("b", "c")
    assert some.num_lidar_pts.tolist() == [-1, 0]
    assert some.attributes == ()
    assert some.boxes.tensor[:, 0].tolist() == [7.0, 14.0]


def test_no_annotations_are_an_ordinary_value():
    none = annotations()[:0]
    assert len(none) == 0
    assert none.names() == []
    assert len(none.to("cpu")) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([0])}, "labels has 1 rows for 3 boxes"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, "labels must be int64, got torch.float32"),
        ({"labels": torch.tensor([0, 1, 2])}, r"labels must lie in \[-1, 2\), got 0 to 2"),
        ({"labels": torch.tensor([0, 1, -2])}, "got -2 to 1"),
        ({"num_lidar_pts": torch.tensor([1, 2])}, "num_lidar_pts has 2 rows"),
        ({"instance_ids": ("a",)}, "instance_ids has 1 rows"),
        ({"visibility": torch.zeros(4)}, "visibility has 4 rows"),
    ],
)
def test_columns_of_another_length_or_type_are_refused(change, message):
    labels = torch.zeros(3, dtype=torch.int64)
    values = {"boxes": Boxes3D(torch.zeros(3, 7)), "labels": labels, "classes": ("car", "bus")}
    with pytest.raises(ValueError, match=message):
        Annotations(**{**values, **change})


def test_some_predictions_keep_their_rows_together():
    scores, labels = torch.tensor([0.9, 0.2]), torch.tensor([1, 0])
    found = Predictions("a", 0, Boxes3D(torch.zeros(2, 7)), scores, labels, ("car", "bus"))
    assert found.names() == ["bus", "car"]
    assert found[found.scores > 0.5].names() == ["bus"]
    assert len(found.to("cpu")) == 2


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(2, dtype=torch.int64), r"must be \(2,\) for 2 boxes, got \(3,\) and \(2,\)"),
        (torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), r"got \(2, 1\)"),
        (torch.zeros(2), torch.zeros(2), "labels must be int64"),
    ],
)
def test_predictions_of_another_shape_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        Predictions("a", 0, Boxes3D(torch.zeros(2, 7)), scores, labels, ("car",))
