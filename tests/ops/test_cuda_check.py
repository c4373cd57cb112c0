"""What the compile check reads from nvcc's output."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "ops" / "cuda_check.py"
NAME = "_ZN10perception4cuda12_GLOBAL__N_110widen_rowsEPKilPl"
OUTPUT = f"""
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{NAME}' for 'sm_80'
ptxas info    : Function properties for {NAME}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
ptxas info    : Compiling entry function '{NAME}' for 'sm_90'
ptxas info    : Function properties for {NAME}
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 2112 bytes smem
kernel.cu(3): warning #177-D: variable "x" was declared but never referenced
"""


@pytest.fixture
def cuda_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cuda_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cuda_check"] = module                     # where dataclasses look up the module of their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_nvcc(tmp_path: Path) -> str:
    """A program that says what nvcc would and compiles nothing."""
    (tmp_path / "output").write_text(OUTPUT)
    program = tmp_path / "nvcc"
    program.write_text(f"#!/bin/sh\ncat {tmp_path / 'output'}\n")
    program.chmod(0o755)
    return str(program)


def test_usages_tell_registers_shared_memory_and_both_kinds_of_spills(cuda_check):
    usage = cuda_check.Usage
    assert list(cuda_check.usages("window_partition", OUTPUT)) == [
        usage("window_partition", NAME, "80", 12, 0, 0), usage("window_partition", NAME, "90", 255, 2112, 16)
    ]


def test_names_lose_namespaces_and_parameters(cuda_check):
    name = "void perception::cuda::(anonymous namespace)::take_won<perception::Bfloat16, (int)4>(float const*, long)"
    assert cuda_check.short(name) == "take_won<Bfloat16, 4>"


def test_a_spill_and_a_warning_fail_the_check(cuda_check, fake_nvcc, capsys):
    assert cuda_check.main(["--nvcc", fake_nvcc, "--only", "window_partition", "--arch", "80", "90"]) == 1
    said = capsys.readouterr()
    assert "widen_rows spills 16 bytes on sm_90" in said.err
    assert "warning #177-D" in said.err
    (row,) = (line for line in said.out.splitlines() if "widen_rows" in line)
    assert row.split()[-4:] == ["12", "255", "2112", "16"]


def test_a_source_that_does_not_compile_is_named(cuda_check):
    with pytest.raises(RuntimeError, match=r"voxelize\.cu does not compile"):
        cuda_check.main(["--nvcc", "false", "--only", "voxelize.cu"])
