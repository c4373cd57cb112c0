"""What every data set promises, on the small nuScenes root, on Waymo's two formats and on a folder of clouds."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from small_waymo import frame as waymo_frame
from small_waymo import opened, write_v1, write_v2
from torch.utils.data import DataLoader

from perception.datasets.base import FrameDataset, labels_of
from perception.datasets.kitti import KittiDataset
from perception.datasets.loaders import dataset_class, list_datasets
from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.datasets.point_cloud_folder import PointCloudFolder
from perception.errors import ConfigError
from perception.registry import DATASETS
from perception.structures import Frame

AUGMENTATION = [{"type": "AggregateSweeps", "num_sweeps": 2}, {"type": "GlobalRotation"}, {"type": "PointShuffle"}]


@pytest.fixture
def dataset(mini_nuscenes) -> NuScenesDataset:
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    return NuScenesDataset(
        root, version="v1.0-mini", split="mini_train", num_sweeps=2, cameras=("CAM_FRONT",), transforms=AUGMENTATION,
        seed=3,
    )


def first(frames: list[Frame]) -> Frame:
    return frames[0]


def assert_same_frames(ours: Frame, theirs: Frame) -> None:
    assert ours.token == theirs.token
    assert torch.equal(ours.points.data, theirs.points.data)
    assert torch.equal(ours.annotations.boxes.tensor.nan_to_num(9.0), theirs.annotations.boxes.tensor.nan_to_num(9.0))
    assert list(ours.cameras) == list(theirs.cameras)


def test_a_frame_depends_on_seed_epoch_and_index_alone(dataset):
    again = pickle.loads(pickle.dumps(dataset))
    for key in (0, (0, 1), (1, 1)):
        assert_same_frames(dataset[key], again[key])
    assert_same_frames(dataset[1], dataset[0, 1])
    assert not torch.equal(dataset[0, 1].points.data, dataset[1, 1].points.data)
    dataset.seed = 4
    assert not torch.equal(dataset[1].points.data, again[1].points.data)


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_yield_the_frames_of_none(dataset, context, workers):
    keys = [(0, 2), (0, 0), (1, 1), (1, 2)]
    loader = DataLoader(dataset, sampler=keys, collate_fn=first, num_workers=workers, multiprocessing_context=context)
    frames = list(loader)
    for key, frame in zip(keys, frames, strict=True):
        assert_same_frames(frame, dataset[key])


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_frames_out_of_files_of_many_come_out_of_workers_as_of_none(tmp_path: Path, write):
    write(tmp_path, [waymo_frame(step) for step in range(3)])
    dataset = opened(tmp_path, num_sweeps=2, cameras=("FRONT",), transforms=AUGMENTATION, seed=3)
    wanted = [dataset[key] for key in ((1, 2), (0, 0))]                # files are open when workers are forked
    loader = DataLoader(dataset, sampler=[(1, 2), (0, 0)], collate_fn=first, num_workers=2)
    for ours, theirs in zip(loader, wanted, strict=True):
        assert_same_frames(ours, theirs)
    assert_same_frames(pickle.loads(pickle.dumps(dataset))[1, 2], wanted[0])
    assert not torch.equal(dataset[0, 2].points.data, wanted[0].points.data)


def test_frames_with_unread_sweeps_come_out_of_a_worker(dataset):
    plain = NuScenesDataset(dataset.root, version="v1.0-mini", split="mini_train", num_sweeps=2)
    frames = list(DataLoader(plain, collate_fn=first, num_workers=1))
    assert torch.equal(frames[1].sweeps[0].load().data, plain[1].sweeps[0].load().data)


def test_errors_come_out_of_a_worker_as_they_were(dataset):
    (dataset.root / "samples/LIDAR_TOP/0.pcd.bin").unlink()
    with pytest.raises(Exception, match=r"0.pcd.bin: file: expected a readable file, got No such file"):
        list(DataLoader(dataset, collate_fn=first, num_workers=1))


def test_mmengines_runner_builds_a_loader(dataset):
    config = {
        "batch_size": 2, "num_workers": 0, "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            "type": "NuScenesDataset", "_scope_": "perception", "root": str(dataset.root), "version": "v1.0-mini",
            "split": "mini_train", "num_sweeps": 0,
        },
    }
    batches = list(Runner.build_dataloader(config, seed=0))
    assert [[frame.token for frame in batch] for batch in batches] == [["sample0", "sample1"], ["sample2"]]


def test_a_custom_callable_serves_as_transform(dataset):
    def emptied(frame: Frame, rng: np.random.Generator) -> Frame:
        return Frame(token=f"{frame.token}-{rng.integers(10**6)}", timestamp_ns=0)

    plain = NuScenesDataset(dataset.root, version="v1.0-mini", split="mini_train", transforms=[emptied])
    assert plain[0].token.startswith("sample0-")
    assert plain[0].token == plain[0, 0].token != plain[1, 0].token


@pytest.mark.parametrize("index", [-1, 3, (0, 3)])
def test_an_index_out_of_range_is_refused(dataset, index):
    with pytest.raises(IndexError, match="of a data set of 3 frames"):
        dataset[index]


def test_iterating_a_dataset_ends(dataset):
    assert [frame.token for frame in dataset] == ["sample0", "sample1", "sample2"]


def test_frames_and_scenes_are_found_by_name(dataset):
    assert dataset.index_of("sample1") == 1
    with pytest.raises(ConfigError, match=r'no frame "sample9" in .* \(did you mean "sample[012]"\?\)'):
        dataset.index_of("sample9")
    with pytest.raises(ConfigError, match=r'no scene "scene-0062" .*it has scene-0061'):
        dataset.scene_indices("scene-0062")


def test_metainfo_names_what_was_read(dataset):
    assert dataset.metainfo["dataset"] == "NuScenesDataset"
    assert (dataset.metainfo["version"], dataset.metainfo["split"]) == ("v1.0-mini", "mini_train")
    assert dataset.metainfo["classes"] == dataset.classes
    assert len(dataset.classes) == 10


def test_labels_count_from_the_class_list():
    assert labels_of(["b", None, "c", "a"], ("a", "b")).tolist() == [1, -1, -1, 0]
    assert labels_of([], ("a",)).dtype == torch.int64


def test_every_listed_dataset_is_registered_under_its_name():
    names = list_datasets()
    assert set(names) >= {"NuScenesDataset", "Argoverse2Dataset", "KittiDataset", "KittiRawDrive", "PointCloudFolder",
                          "WaymoDataset"}
    for name in names:
        assert dataset_class(name) is DATASETS.get(name)
        assert issubclass(dataset_class(name), FrameDataset)


def test_an_unknown_dataset_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r'unknown data set "KitiDataset" \(did you mean "KittiDataset"\?\)'):
        dataset_class("KitiDataset")


def test_datasets_are_listed_and_one_is_imported_without_the_others_packages():
    code = (
        "import sys; from perception.datasets.loaders import dataset_class, list_datasets; list_datasets();"
        "assert 'torch' not in sys.modules; dataset_class('KittiDataset');"
        "print([name for name in ('nuscenes', 'av2', 'open3d', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [KittiDataset, PointCloudFolder])
def test_a_root_that_is_not_there_is_refused(kind, tmp_path: Path):
    with pytest.raises(Exception, match="folder: expected the root of the data set, got no such folder"):
        kind(tmp_path / "absent")
