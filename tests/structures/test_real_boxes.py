"""Boxes of real recordings contain as many real points as their annotations say."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from perception.structures import SE3, Argoverse2Rows, Boxes3D, KittiRows, NuScenesRows, wrap_angle

F64 = torch.float64


def counts_inside(boxes: Boxes3D, points: np.ndarray) -> list[int]:
    return boxes.contains(torch.from_numpy(np.array(points, dtype=np.float64))).sum(dim=1).tolist()


def test_kitti_boxes_equal_the_golden_ones(golden: Callable[[str], Path], shared_data: Path):
    truth = json.loads((golden("data_formats") / "kitti_000008_boxes.json").read_text())
    training = shared_data / "kitti" / "object_root" / "training"
    lines = (training / "calib" / "000008.txt").read_text().splitlines()
    calib = {line.partition(":")[0]: np.fromstring(line.partition(":")[2], sep=" ") for line in lines if ":" in line}
    rectified_from_camera, camera_from_lidar = np.eye(4), np.eye(4)
    rectified_from_camera[:3, :3] = calib["R0_rect"].reshape(3, 3)
    camera_from_lidar[:3] = calib["Tr_velo_to_cam"].reshape(3, 4)
    camera = np.array([entry["camera_box"] for entry in truth])            # x y z, l h w, rotation_y
    rows = KittiRows(camera[:, :3], camera[:, [4, 5, 3]], camera[:, 6])
    lidar_from_camera = SE3.from_matrix(rectified_from_camera @ camera_from_lidar).inverse()

    boxes = Boxes3D.from_kitti(rows, lidar_from_camera, dtype=F64)

    np.testing.assert_allclose(boxes.centers, [entry["lidar_center"] for entry in truth], atol=1e-6)
    np.testing.assert_allclose(boxes.sizes, [entry["lwh"] for entry in truth], atol=1e-6)
    turn = wrap_angle(boxes.yaws - torch.tensor([entry["lidar_yaw"] for entry in truth], dtype=F64))
    np.testing.assert_allclose(turn, 0, atol=1e-6)
    points = np.fromfile(training / "velodyne" / "000008.bin", dtype=np.float32).reshape(-1, 4)[:, :3]
    assert counts_inside(boxes, points) == [entry["points_inside"] for entry in truth]


def test_argoverse_boxes_contain_the_annotated_number_of_points(golden: Callable[[str], Path], shared_data: Path):
    truth = json.loads((golden("data_formats") / "av2_points_in_boxes.json").read_text())
    for name, entry in truth.items():
        log, _, timestamp = name.partition("/")
        (sweep,) = (shared_data / "argoverse2").rglob(f"{log}/sensors/lidar/{timestamp}.feather")
        points = pd.read_feather(sweep)[["x", "y", "z"]].to_numpy(np.float64)
        table = pd.read_feather(sweep.parents[2] / "annotations.feather").query(f"timestamp_ns == {timestamp}")
        table = table.set_index("track_uuid").loc[[box["track_uuid"] for box in entry["boxes"]]]
        rows = Argoverse2Rows(
            table[["tx_m", "ty_m", "tz_m"]].to_numpy(),
            table[["length_m", "width_m", "height_m"]].to_numpy(),
            table[["qw", "qx", "qy", "qz"]].to_numpy(),
        )
        expected = [box["num_interior_pts"] for box in entry["boxes"]]
        assert counts_inside(Boxes3D.from_argoverse2(rows, dtype=F64), points) == expected, name


def nuscenes_keyframe(root: Path) -> tuple[NuScenesRows, list[int], torch.Tensor, dict]:
    """Boxes (K) and points (N, 3) in the global frame, num_lidar_pts, and what the devkit answered by token."""
    tables = {path.stem: json.loads(path.read_text()) for path in (root / "v1.0-mini").glob("*.json")}
    (sweep,) = [row for row in tables["sample_data"] if row["filename"].endswith(".pcd.bin")]
    (pose,) = [row for row in tables["ego_pose"] if row["token"] == sweep["ego_pose_token"]]
    (mount,) = [row for row in tables["calibrated_sensor"] if row["token"] == sweep["calibrated_sensor_token"]]
    global_from_lidar = SE3.from_quaternion(pose["rotation"], pose["translation"]) @ SE3.from_quaternion(
        mount["rotation"], mount["translation"]
    )
    points = np.fromfile(root / sweep["filename"], dtype=np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
    answers = json.loads((root / "expected_queries.json").read_text())["boxes"]["points_inside"]
    found = {row["token"]: row for row in tables["sample_annotation"]}
    annotations = [found[token] for token in answers]
    columns = [[row[name] for row in annotations] for name in ("translation", "size", "rotation")]
    rows = NuScenesRows(*columns, np.full((len(annotations), 2), np.nan))
    counts = [row["num_lidar_pts"] for row in annotations]
    return rows, counts, global_from_lidar.apply(torch.from_numpy(points)), answers


def test_upright_nuscenes_boxes_contain_the_annotated_number_of_points(shared_data: Path):
    rows, num_lidar_pts, points, _ = nuscenes_keyframe(shared_data / "nuscenes" / "devkit_root")
    boxes = Boxes3D.from_nuscenes(rows, SE3.identity(), dtype=F64)
    assert boxes.contains(points).sum(dim=1).tolist() == num_lidar_pts


def test_nuscenes_boxes_with_their_tilt_contain_as_many_points_as_the_devkit_counts(shared_data: Path):
    rows, _, points, answers = nuscenes_keyframe(shared_data / "nuscenes" / "devkit_root")
    counts = []
    for translation, wlh, rotation in zip(rows.translation, rows.size_wlh, rows.rotation, strict=True):
        upright = Boxes3D(torch.cat([torch.zeros(3, dtype=F64), wlh[[1, 0, 2]], torch.zeros(1, dtype=F64)])[None])
        local = SE3.from_quaternion(rotation, translation).inverse().apply(points)
        counts.append(int(upright.contains(local).sum()))
    assert counts == [inside for inside, _ in answers.values()]
