"""Builds the emulated kernels and the probes beside them; later runs compile what has changed."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


class UnavailableError(Exception):
    """Why the emulated kernels cannot be built here."""


@cache
def build() -> Path:
    """The folder with the modules ``_emulated`` and ``_probes`` in ``plain`` and, where there is AddressSanitizer, in
    ``sanitized``.

    Raises:
        UnavailableError: a tool is missing.
    """
    cmake = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if cmake is None or shutil.which(compiler()) is None:
        raise UnavailableError(f"the emulated kernels need cmake and {compiler()}")
    if importlib.util.find_spec("nanobind") is None:
        raise UnavailableError("the emulated kernels need nanobind")
    folder = ROOT / "build" / "emulation"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:                              # tests may run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build_in(folder, cmake)
    return folder


def _build_in(folder: Path, cmake: str) -> None:
    _run(
        cmake, "-S", str(ROOT / "ops"), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}",
        "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-DPERCEPTION_EMULATION=ON",
        f"-DPERCEPTION_SANITIZE={'ON' if sanitizer_libraries() else 'OFF'}",
        f"-DPERCEPTION_PROBES={Path(__file__).parent / 'probes.cpp'}",
    )
    _run(cmake, "--build", str(folder), "--parallel", str(os.cpu_count() or 1))


def load(name: str, folder: Path) -> ModuleType:
    """Import a built module by its file."""
    path = next(folder.glob(f"{name}.*.so"))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sanitizer_libraries() -> str:
    """What a program that is not built for AddressSanitizer must load first, or nothing where it is not installed."""
    paths = []
    for name in ("libasan.so", "libstdc++.so.6"):          # the first looks for the second's exceptions when it starts
        found = subprocess.run([compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=False)
        paths.append(Path(found.stdout.strip()))
    return " ".join(map(str, paths)) if all(path.is_absolute() and path.exists() for path in paths) else ""


def run_sanitized(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this Python under AddressSanitizer, with the sanitized modules on its path."""
    if not sanitizer_libraries():
        raise UnavailableError(f"{compiler()} has no libasan")
    folder = build() / "sanitized"
    env = os.environ | {
        "LD_PRELOAD": sanitizer_libraries(), "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0", "PYTHONMALLOC": "malloc",
        "PERCEPTION_EMULATED": str(folder), "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], env=env | variables, capture_output=True, text=True, check=False, cwd=ROOT
    )


def compiler() -> str:
    """The C++ compiler that CMake takes."""
    return os.environ.get("CXX", "c++")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
