"""Where the real samples and the golden files lie, and the skips when they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("perception", deadline=None)     # a busy machine is no failure
settings.load_profile("perception")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def data_root() -> Path:
    """Folder of the real samples: $PERCEPTION_DATA, else shared/data beside the repository."""
    return Path(os.environ.get("PERCEPTION_DATA", SHARED / "data"))


def golden_root() -> Path:
    """Folder of the golden files: $PERCEPTION_GOLDEN, else shared/golden beside the repository."""
    return Path(os.environ.get("PERCEPTION_GOLDEN", SHARED / "golden"))


@pytest.fixture(autouse=True)
def exact_small_numbers() -> Iterator[None]:
    """A training run flushes denormal numbers in its process; the next test gets them back."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def towns_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic towns, each with one drive of a second to train on and another held out, and indexes of both."""
    from perception.datasets.nuscenes_index import build_nuscenes_index
    from perception.synthetic.generate import generate_city

    root = tmp_path_factory.mktemp("towns") / "root"
    generate_city(
        root, 2, 2, duration_s=1.0, density=0.1, columns=36, towns=2, channels=("CAM_FRONT",), picture_scale=0.5,
        workers=1,
    )
    for split in ("train", "val"):
        build_nuscenes_index(root, "v1.0-trainval", split)
    return root


@pytest.fixture
def shared_data() -> Path:
    if not data_root().is_dir():
        pytest.skip(f"no real samples at {data_root()}; set PERCEPTION_DATA")
    return data_root()


@pytest.fixture
def golden() -> Callable[[str], Path]:
    def folder(name: str) -> Path:
        if not (golden_root() / name).is_dir():
            pytest.skip(f"no golden files at {golden_root() / name}; set PERCEPTION_GOLDEN")
        return golden_root() / name

    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``@pytest.mark.golden_files("flatformer")`` runs a test once for every golden file of that folder."""
    marker = metafunc.definition.get_closest_marker("golden_files")
    if marker is None:
        return
    folder = golden_root() / marker.args[0]
    files = sorted(folder.glob(marker.kwargs.get("pattern", "*.safetensors"))) if folder.is_dir() else []
    skipped = pytest.param(None, marks=pytest.mark.skip(reason=f"no golden files at {folder}; set PERCEPTION_GOLDEN"))
    metafunc.parametrize("golden_file", files or [skipped], ids=[path.stem for path in files] or ["absent"])
