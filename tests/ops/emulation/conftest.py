"""The emulated kernels, built on first use."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
from build_emulated import UnavailableError, build, load

GIVEN = os.environ.get("PERCEPTION_EMULATED")              # the sanitized run brings its own, and takes its time


def folder() -> Path:
    try:
        return Path(GIVEN) if GIVEN else build() / "plain"
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def emulated() -> ModuleType:
    return load("_emulated", folder())


@pytest.fixture(scope="session")
def probes() -> ModuleType:
    return load("_probes", folder())


@pytest.fixture(params=[7] if GIVEN else [0, 1, 7])
def shuffled(request: pytest.FixtureRequest, emulated: ModuleType) -> ModuleType:
    """The kernels in one of three orders of blocks and threads; the first is that of their indices."""
    emulated.set_order_seed(request.param)
    return emulated
