"""The benchmark's command line: everything is timed, what is printed is written, nothing is asserted about speed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from perception.engine.benchmark import command_line
from perception.engine.benchmark.evaluations import EVALUATIONS
from perception.engine.benchmark.rows import REQUIRED
from perception.engine.benchmark.segmentation import VARIANTS
from perception.errors import CheckpointError, ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "configs/flatformer/flatformer_tiny.py")
SYNTHETIC = [str(ROOT / f"configs/{name}_synthetic.py") for name in (
    "flatformer/flatformer", "centerpoint_pillar/centerpoint_pillar"
)]
SEGMENTOR = str(ROOT / "configs/p2at/p2at_s_camvid.py")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_tool", ROOT / "tools/benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def measured(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Rows]:
    """Runs a command on one thread and gives the rows it wrote, after a look at what all rows must hold."""

    def run(*words: str) -> Rows:
        file = tmp_path / "rows.json"
        assert tool.main([*words, "--threads", "1", "--device", "cpu", "--json", str(file)]) == 0
        printed, rows = capsys.readouterr().out, json.loads(file.read_text())
        assert printed.splitlines()[-1] == f"wrote {file}"
        assert [row["name"] for row in rows[:2]] == ["peak: copy", "peak: matrix multiply"]
        assert all(set(REQUIRED) <= set(row) and row["ms"] > 0 and row["threads"] >= 1 for row in rows)
        assert all(row["name"] in printed for row in rows[2:])
        return rows[2:]

    return run


def test_ops(measured: Callable[..., Rows]):
    rows = measured("ops", "--only", "window_partition", "rotated_nms", "--sizes", "100", "300", "--repeats", "1")
    assert [(row["name"], row["size"]) for row in rows] == [
        ("window_partition", 100), ("window_partition", 300), ("rotated_nms", 100), ("rotated_nms", 300)
    ]
    assert all({"gbps", "fraction_of_peak", "peak_mib"} <= set(row) for row in rows)


def test_evaluations(measured: Callable[..., Rows]):
    rows = measured("eval", "--samples", "3", "--predictions", "5", "--repeats", "1")
    assert [row["name"].partition("/")[0] for row in rows] == [
        "nuscenes", "argoverse2", "argoverse2", "map_evaluation", "map_evaluation", "waymo_evaluation",
        "waymo_evaluation", "waymo_reading", "waymo_reading",
    ]
    assert all(row["samples"] == 3 for row in rows)
    assert all(row["size"] == 15 for row in rows[:7])
    assert [row["identical"] for row in rows] == [True] * 5 + [None] * 4         # Waymo's tool is not there to compare
    assert all(row["score"] == pytest.approx(row["reference_score"], abs=1e-9) for row in rows[:5])


def test_an_evaluation_by_its_name(measured: Callable[..., Rows]):
    rows = measured("eval", "--only", "vector-map", "--samples", "2", "--predictions", "5", "--repeats", "1")
    assert [(row["name"], row["size"]) for row in rows] == [
        ("map_evaluation/maptr", 10), ("map_evaluation/streammapnet", 10)
    ]


def test_every_evaluation_can_be_asked_for():
    assert tuple(EVALUATIONS) == command_line.EVALUATIONS


def test_segmentation_models_beside_torchvisions(measured: Callable[..., Rows]):
    rows = measured(
        "segmentation", SEGMENTOR, "--torchvision", "lraspp_mobilenet_v3_large", "--size", "64", "96", "--fuse",
        "--variants", "eager", "bfloat16", "--repeats", "1",
    )
    assert [(row["name"], row["variant"], row["stage"]) for row in rows] == [
        (name, variant, stage) for variant in ("eager", "bfloat16")
        for name in ("p2at_s_camvid", "lraspp_mobilenet_v3_large") for stage in ("network", "whole prediction")
    ]
    assert all(row["size"] == 64 * 96 and row["p50_ms"] <= row["p99_ms"] for row in rows)
    assert [row["reference_ms"] for row in rows] == [rows[2]["ms"], rows[3]["ms"]] * 4
    assert rows[0]["gflop"] > 0
    assert rows[0]["parameters"] > 0
    assert rows[1]["peak_mib"] > 0


def test_every_variant_can_be_asked_for():
    assert tuple(VARIANTS) == command_line.VARIANTS


def test_attention_of_clusters(measured: Callable[..., Rows]):
    rows = measured(
        "clusters", "--size", "65", "129", "--strides", "32", "16", "--clusters", "4", "--repeats", "1"
    )
    assert [row["size"] for row in rows] == [15] * 6 + [45] * 6
    assert [row["stage"] for row in rows] == (["forward"] * 3 + ["forward and backward"] * 3) * 2
    assert all(row["ratio"] == 1.0 for row in rows if row["name"].startswith("softmax, two products"))


def test_token_mixers(measured: Callable[..., Rows]):
    rows = measured("mixers", "--sizes", "16", "32", "64", "--channels", "16", "--heads", "2", "--repeats", "1")
    names = ["softmax, fused", "softmax, two products", *command_line.MIXERS]
    assert [(row["name"], row["size"]) for row in rows] == [(name, size) for name in names for size in (16, 32, 64)]
    assert all({"time_exponent", "memory_exponent", "peak_mib"} <= set(row) for row in rows)
    assert all(row["ratio"] == 1.0 for row in rows if row["name"] == "softmax, fused")


def test_the_stages_of_a_segmentor(measured: Callable[..., Rows]):
    rows = measured("model", SEGMENTOR, "--picture", "64", "96", "--repeats", "1")
    assert [row["stage"] for row in rows] == ["backbone", "head", "decode", "whole prediction"]
    assert all(row["size"] == 64 * 96 for row in rows)


def test_the_stages_of_a_model(measured: Callable[..., Rows]):
    rows = measured("model", TINY, "--points", "2000", "--repeats", "2")
    assert [row["stage"] for row in rows] == [
        "voxel encoder", "LiDAR backbone", "BEV backbone and neck", "head", "decode", "whole prediction",
        "training step",
    ]
    assert all(row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in rows)
    assert all(row["peak_mib"] > 0 and row["size"] == 2000 and row["name"] == "flatformer_tiny" for row in rows)
    by_stage = {row["stage"]: row for row in rows}
    whole, parts = by_stage["whole prediction"], rows[:4]
    assert whole["parameters"] == sum(row["parameters"] for row in parts)
    assert whole["gflop"] == pytest.approx(sum(row["gflop"] for row in parts))
    assert by_stage["training step"]["gflop"] > 2 * whole["gflop"]
    assert all(row["fraction_of_peak"] > 0 for row in parts)


def test_the_encoder_against_plain_torch(measured: Callable[..., Rows]):
    rows = measured("encoder", TINY, "--pillars", "300", "--repeats", "2")
    assert rows[0]["name"] == "encoder"
    assert rows[0]["size"] == 300
    assert rows[0]["ratio_q1"] <= rows[0]["ratio"] <= rows[0]["ratio_q3"]
    assert {"gflops", "fraction_of_peak"} <= set(rows[0])


def test_scaling(measured: Callable[..., Rows]):
    rows = measured("scaling", TINY, "--sizes", "900", "300", "600", "--repeats", "1")
    assert [row["size"] for row in rows] == [300, 600, 900]
    assert len({row["r_squared"] for row in rows}) == 1
    assert all(row["ratio"] == 1.0 for row in rows)        # one thread against one


def test_comparison_on_a_seeded_cloud(measured: Callable[..., Rows]):
    rows = measured("compare", TINY, *SYNTHETIC, "--points", "1500", "--repeats", "3")
    assert [row["name"] for row in rows] == [
        "flatformer_tiny", "flatformer_synthetic", "centerpoint_pillar_synthetic",
    ]
    assert [row["reference_ms"] for row in rows] == [rows[0]["ms"]] * 3
    assert rows[0]["ratio"] == 1.0
    assert all(row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"] for row in rows)


def test_comparison_on_a_recorded_frame(measured: Callable[..., Rows], shared_data: Path):
    rows = measured("compare", *SYNTHETIC, "--source", str(shared_data / "nuscenes/devkit_root"), "--repeats", "1")
    assert rows[0]["size"] == rows[1]["size"] > 30_000     # points of the keyframe


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["ops", "--only", "voxelise"], ConfigError, 'no op "voxelise"'),
        (["encoder", SYNTHETIC[1]], ConfigError, "PillarScatter has no encoder of groups to time"),
        (["compare", TINY, TINY, "--checkpoints", "a.pth", "b.pth"], CheckpointError, "a.pth"),
        (["mixers", "--mixers", "Mixer"], ConfigError, 'no token mixer "Mixer"'),
        (["mixers", "--heads", "3", "--sizes", "1", "2", "3"], ConfigError, "must be divisible by heads"),
        (["segmentation", TINY], ConfigError, "expected a Segmentor, got Detector"),
        (["segmentation", SEGMENTOR, "--torchvision", "unet"], ConfigError, 'torchvision has no "unet"'),
        (["model", TINY, "--source", "nowhere"], DataError, "nowhere: path: expected a recording"),
    ],
)
def test_what_cannot_be_timed_is_told(
    tool: ModuleType, words: list[str], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        tool.main([*words, "--device", "cpu"])


@pytest.mark.parametrize(
    "words",
    [
        [], ["speed"], ["ops", "--repeats", "0"], ["ops", "--sizes", "-1"], ["ops", "--dtype", "float16"], ["model"],
        ["model", TINY, "--points", "x"], ["compare", TINY], ["scaling", "--sizes", "100", "100", "200"],
        ["compare", TINY, TINY, "--checkpoints", "one.pth"], ["segmentation", "--size", "64"],
        ["segmentation", "--variants", "int8"], ["segmentation", SEGMENTOR, "--reference", "unet"],
        ["clusters", "--strides", "0"], ["mixers", "--sizes", "256", "512"], ["mixers", "--memory", "0"],
        ["mixers", "--memory", "nan"], ["mixers", "--memory", "much"], ["eval", "--only", "kitti"],
    ],
)
def test_bad_usage_is_refused(tool: ModuleType, words: list[str]):
    with pytest.raises(SystemExit, match="2"):
        tool.main(words)


@pytest.mark.parametrize("words", [[], ["ops"], ["compare"], ["segmentation"], ["mixers"], ["eval"]])
def test_help_is_instant(words: list[str]):
    code = f"import runpy, sys; sys.argv = ['benchmark.py', *{words}, '--help']\n"
    code += "try: runpy.run_path('tools/benchmark.py', run_name='__main__')\n"
    code += "except SystemExit as end: print('status', end.code, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "status 0 False"
    assert "--repeats" in result.stdout or "python tools/benchmark.py ops --threads 1" in result.stdout
