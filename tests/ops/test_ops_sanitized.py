"""The fuzz test again, on kernels built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OPS = Path(__file__).resolve().parents[2] / "ops"
FUZZ = Path(__file__).with_name("test_ops_fuzz.py")
# The package takes the kernels that are loaded already, wherever it is installed.
TAKE_KERNELS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("perception_ops._native", sys.argv[1])
kernels = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernels)
import perception_ops.dispatch
assert perception_ops.dispatch.NATIVE is kernels
"""


def runtime(name: str) -> str:
    """Path of a sanitizer's runtime library, as the compiler knows it; a bare name if it has none."""
    compiler = shutil.which("g++") or pytest.skip("no g++ on this machine")
    return subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()


@pytest.fixture(scope="module")
def sanitized_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library ``_native``, built with both sanitizers."""
    cmake = shutil.which("cmake") or pytest.skip("no cmake on this machine")
    if importlib.util.find_spec("nanobind") is None:
        pytest.skip("no nanobind in this environment")
    if not Path(runtime("libasan.so")).is_absolute():
        pytest.skip("the compiler comes without libasan")
    build = tmp_path_factory.mktemp("sanitized")
    subprocess.run(
        [cmake, "-S", OPS, "-B", build, "-DPERCEPTION_SANITIZE=ON", f"-DPython_EXECUTABLE={sys.executable}"],
        check=True, stdout=subprocess.DEVNULL,
    )
    subprocess.run([cmake, "--build", build, "--target", "_native"], check=True, stdout=subprocess.DEVNULL)
    (library,) = build.glob("_native*.so")
    return library


def run_python(kernels: Path, code: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",                                  # Python keeps memory until the end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
        "PERCEPTION_OPS": "auto",
    }
    command = [sys.executable, "-c", TAKE_KERNELS + code, str(kernels)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_odd_calls_touch_no_memory_but_their_own(sanitized_kernels):
    fuzz = ["-x", "-s", str(FUZZ), "--rootdir", str(FUZZ.parents[2])]
    fuzzed = run_python(sanitized_kernels, f"import pytest; sys.exit(pytest.main({fuzz}))")
    assert fuzzed.returncode == 0, fuzzed.stdout[-4000:] + fuzzed.stderr[-4000:]
    assert " passed" in fuzzed.stdout


@pytest.mark.slow
def test_the_sanitizer_is_awake(sanitized_kernels):
    code = """
import torch
too_short = torch.empty(1, dtype=torch.int64)
kernels.circle_nms(torch.eye(2) * 10, torch.zeros(2), 1.0, too_short, 1)
"""
    failed = run_python(sanitized_kernels, code)
    assert failed.returncode != 0
    assert "AddressSanitizer" in failed.stderr
