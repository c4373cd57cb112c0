"""Every kind of recording: what is guessed from its path, what its frames hold, what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recordings import write_nuscenes_scene

from perception.errors import ConfigError, DataError
from perception.replay.history import with_history
from perception.replay.source import FrameSource, known_sources, open_source

LOG = "argoverse2/sensor/val/7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
SAMPLES = {
    "nuscenes/devkit_root:scene-0061": ("nuscenes", 1),
    "nuscenes/devkit_root": ("nuscenes", 1),
    LOG: ("argoverse2", 2),
    "kitti/raw_2011_09_26_sequence": ("kitti_raw", 11),
    "kitti/object_root": ("kitti_object", 1),
    "kitti/raw_2011_09_26_sequence/velodyne_points/data": ("folder", 11),
    "mcap/kitti_3frames.mcap": ("mcap", 3),
}


@pytest.mark.parametrize("path", SAMPLES)
def test_the_kind_is_guessed_from_the_path_and_every_frame_has_points(path: str, shared_data: Path):
    name, frames = SAMPLES[path]
    source = open_source(shared_data / path)
    assert name == source.NAME
    assert len(source) == frames
    entries = list(source.pending())
    assert len(entries) == frames
    frame = entries[-1].load()
    assert frame.timestamp_ns == entries[-1].timestamp_ns
    assert frame.points is not None
    assert len(frame.points) > 10_000
    intensity = frame.points.channel("intensity")
    assert 0.0 <= float(intensity.min()) <= float(intensity.max()) <= 1.0
    times = [entry.timestamp_ns for entry in entries]
    assert times == sorted(times)


def test_the_kind_can_be_said(shared_data: Path):
    assert open_source(f"folder:{shared_data}/kitti/object_root/training/velodyne").NAME == "folder"


def test_every_source_has_a_name_and_a_layout_of_its_own():
    sources = known_sources()
    assert set(sources) == {"nuscenes", "argoverse2", "kitti_raw", "kitti_object", "waymo", "folder", "mcap",
                            "pictures"}
    assert len({cls.LAYOUT for cls in sources.values()}) == len(sources)


@pytest.mark.parametrize("name", sorted(known_sources()))
@pytest.mark.parametrize("path", ["", "nowhere", "nowhere:scene-1", "\0"])
def test_no_source_reads_or_chokes_on_what_is_not_there(name: str, path: str):
    assert not known_sources()[name].can_read(path or "no/such/folder")


def test_cameras_known_without_reading_are_those_of_the_frame(shared_data: Path):
    for path in SAMPLES:
        for entry in open_source(shared_data / path).pending():
            assert entry.cameras == tuple(entry.load().cameras)
            break


# Poses, pictures and annotations.

def test_poses_known_without_reading_are_those_of_the_frame(shared_data: Path):
    for entry in open_source(shared_data / LOG).pending():
        frame = entry.load()
        assert entry.global_from_ego is not None
        assert frame.global_from_ego is not None
        torch.testing.assert_close(entry.global_from_ego.matrix(), frame.global_from_ego.matrix())
        assert frame.annotations is not None
        assert len(frame.annotations) == 81


def test_a_log_without_pictures_or_calibration_plays_without_them(shared_data: Path):
    [frame] = open_source(shared_data / "argoverse2/sensor/val/adcf7d18-0510-35b0-a2fa-b4cea13a6d76")
    assert frame.cameras == {}


def test_a_keyframe_comes_with_its_six_pictures_and_boxes(shared_data: Path):
    [frame] = open_source(shared_data / "nuscenes/devkit_root", keyframes=True)
    assert len(frame.cameras) == 6
    assert frame.annotations is not None
    assert len(frame.annotations) == 69


@pytest.mark.parametrize(("path", "options"), [
    (LOG, {}), ("nuscenes/devkit_root", {}), ("nuscenes/devkit_root", {"keyframes": True}),
])
def test_frames_carry_the_true_map_of_the_region_asked_for(shared_data: Path, path: str, options: dict[str, bool]):
    for frame in open_source(shared_data / path, map_region=(-30.0, -15.0, 30.0, 15.0), **options):
        assert frame.vector_map is not None
        assert set(frame.vector_map.names()) == {"ped_crossing", "divider", "boundary"}
        assert float(frame.vector_map.lines.vertices.abs().amax()) <= 30.0
    assert all(frame.vector_map is None for frame in open_source(shared_data / path, **options))


def test_labels_of_points_come_with_a_keyframe_that_asks_for_them(shared_data: Path):
    [frame] = open_source(shared_data / "nuscenes/devkit_root", keyframes=True, labels=True)
    assert frame.points is not None
    assert frame.point_labels is not None
    assert len(frame.point_labels) == len(frame.points)
    assert frame.point_labels.instances is not None        # panoptic goes before lidarseg
    assert {camera.labels for camera in frame.cameras.values()} == {None}
    [bare] = open_source(shared_data / "nuscenes/devkit_root", keyframes=True)
    assert bare.point_labels is None


def test_labels_of_pixels_come_where_a_picture_has_some(shared_data: Path, tmp_path: Path):
    root = shutil.copytree(shared_data / "nuscenes/devkit_root", tmp_path / "root", copy_function=os.symlink)
    [picture] = (root / "samples/CAM_FRONT").iterdir()
    codes = root / f"image_panoptic/CAM_FRONT/{picture.stem}.png"
    codes.parent.mkdir(parents=True)
    Image.fromarray(np.full((900, 1600), 17_003, np.uint16)).save(codes)
    [frame] = open_source(root, keyframes=True, labels=True)
    labels = frame.cameras["CAM_FRONT"].labels
    assert labels is not None
    assert labels.instances is not None
    assert [labels.names[label] for label in labels.classes.unique()] == ["car"]
    assert labels.instances.unique().tolist() == [17_003]
    assert frame.cameras["CAM_BACK"].labels is None


def test_labels_that_a_recording_does_not_have_are_refused(shared_data: Path, tmp_path: Path):
    root = write_nuscenes_scene(tmp_path)
    with pytest.raises(DataError, match="labels: expected lidarseg, panoptic or image_panoptic, got none of them"):
        open_source(root, labels=True)
    with pytest.raises(ConfigError, match='a KITTI raw drive with velodyne_points/data has no option "labels"'):
        open_source(shared_data / "kitti/raw_2011_09_26_sequence", labels=True)


def test_a_camera_whose_pictures_are_missing_is_left_out_with_a_warning(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = shutil.copytree(shared_data / "nuscenes/devkit_root", tmp_path / "root", copy_function=os.symlink)
    for path in (root / "samples/CAM_FRONT").iterdir():
        path.unlink()
    [frame] = open_source(root, keyframes=True)
    assert len(frame.cameras) == 5
    assert "the pictures of CAM_FRONT have no file and are left out" in caplog.text


def test_a_raw_drive_without_calibration_plays_without_pictures(shared_data: Path, tmp_path: Path):
    sweeps = shared_data / "kitti/raw_2011_09_26_sequence/velodyne_points/data"
    (tmp_path / "velodyne_points/data").mkdir(parents=True)
    for path in sorted(sweeps.glob("*.bin"))[:2]:
        shutil.copy(path, tmp_path / "velodyne_points/data")
    frames = list(open_source(tmp_path))
    assert [frame.cameras for frame in frames] == [{}, {}]
    assert frames[1].global_from_ego is None
    assert frames[1].timestamp_ns - frames[0].timestamp_ns == 100_000_000


# nuScenes: sweeps between keyframes.

def test_all_sweeps_of_a_scene_are_played_in_order(tmp_path: Path):
    source = open_source(f"{write_nuscenes_scene(tmp_path / 'root')}:scene-0061")
    frames = list(source)
    assert len(source) == len(frames) == 7
    assert np.diff([frame.timestamp_ns for frame in frames]).tolist() == [50_000_000] * 6
    assert [frame.token for frame in frames] == ["s0", "1", "2", "s3", "4", "5", "s6"]
    for position, frame in enumerate(frames):
        assert frame.global_from_ego is not None
        assert frame.global_from_ego.translation[0] == position
        torch.testing.assert_close(frame.points.xyz, torch.tensor([[10.0, 0.0, 1.8]]))       # ahead, in the ego frame


def test_keyframes_bring_the_sweeps_between_them(tmp_path: Path):
    source = open_source(write_nuscenes_scene(tmp_path / "root"), keyframes=True)
    assert source.brings_sweeps
    frames = list(source)
    assert [frame.token for frame in frames] == ["s0", "s3", "s6"]
    assert [len(frame.sweeps) for frame in frames] == [0, 3, 6]


def test_a_streamed_keyframe_gets_the_same_sweeps_as_one_from_the_tables(tmp_path: Path):
    root = write_nuscenes_scene(tmp_path / "root")
    *_, streamed = (entry.load() for entry in with_history(open_source(root).pending(), length=10))
    *_, keyframe = open_source(root, keyframes=True)
    assert streamed.token == keyframe.token
    assert [sweep.timestamp_ns for sweep in streamed.sweeps] == [sweep.timestamp_ns for sweep in keyframe.sweeps]
    for ours, theirs in zip(streamed.sweeps, keyframe.sweeps, strict=True):
        torch.testing.assert_close(ours.ego_from_sweep.matrix(), theirs.ego_from_sweep.matrix())
        torch.testing.assert_close(ours.load().data, theirs.load().data)


def test_sweeps_whose_files_were_not_downloaded_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = write_nuscenes_scene(tmp_path / "root")
    for number in (1, 2, 4):
        (root / f"sweeps/{number}.pcd.bin").unlink()
    assert [frame.token for frame in open_source(root)] == ["s0", "s3", "5", "s6"]
    assert "scene-0061: 3 sweeps between keyframes have no file and are left out" in caplog.text


# Refusals.

@pytest.mark.parametrize(
    ("make", "match"),
    [
        (None, r"here: path: expected a recording \(.*an MCAP file.*\), got no such file or folder"),
        ("folder", r"here: layout: expected a recording .*, got a folder with nothing in it"),
        ("text", r"here: file: expected a recording .*, got another file \(no suffix\)"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, make: str | None, match: str):
    path = tmp_path / "here"
    if make == "folder":
        path.mkdir()
    elif make == "text":
        path.write_text("hello")
    with pytest.raises(DataError, match=match):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "folder", "match"),
    [
        ("argoverse2", "sensors/lidar", "sweeps: expected files TIMESTAMP_NS.feather, got none"),
        ("kitti_raw", "velodyne_points/data", "sweeps: expected files such as 0000000000.bin, got none"),
        ("kitti_object", "training/velodyne", "lists: expected files such as val.txt, got none"),
    ],
)
def test_an_empty_recording_is_refused(tmp_path: Path, name: str, folder: str, match: str):
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=match):
        open_source(tmp_path)


def test_a_missing_folder_said_to_be_a_kind_is_refused(tmp_path: Path):
    for name in ("nuscenes", "argoverse2", "kitti_raw", "kitti_object", "folder", "mcap"):
        with pytest.raises(DataError, match="nowhere"):
            open_source(f"{name}:{tmp_path}/nowhere")


@pytest.mark.parametrize(
    ("scene", "match"),
    [("scene-0062", r'no scene "scene-0062" \(did you mean "scene-0061"\?\)'), ("x", 'no scene "x"; it has scene-')],
)
def test_an_unknown_scene_is_refused(tmp_path: Path, scene: str, match: str):
    with pytest.raises(ConfigError, match=match):
        open_source(write_nuscenes_scene(tmp_path / "root"), scene=scene)


def test_an_option_of_another_kind_is_refused(shared_data: Path):
    with pytest.raises(ConfigError, match=r'an MCAP file with .* has no option "scene"; it has base_frame'):
        open_source(shared_data / "mcap/kitti_3frames.mcap", scene="one")


def test_a_path_that_two_kinds_claim_must_be_told_apart(tmp_path: Path):
    (tmp_path / "velodyne_points/data").mkdir(parents=True)
    (tmp_path / "sensors/lidar").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"could be read as .* or as .*; say argoverse2:.* or kitti_raw:"):
        open_source(tmp_path)


def test_a_truncated_sweep_is_told_when_its_frame_is_read(shared_data: Path, tmp_path: Path):
    sweep = next((shared_data / "kitti/object_root/training/velodyne").glob("*.bin"))
    (tmp_path / "000001.bin").write_bytes(sweep.read_bytes()[:-3])
    source: FrameSource = open_source(tmp_path)
    with pytest.raises(DataError, match=r"000001.bin: points: expected a multiple of 16 bytes"):
        next(iter(source))
