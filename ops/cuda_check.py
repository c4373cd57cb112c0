"""Compile every CUDA kernel for all architectures and print what each takes of the device.

Fails (status 1) on a compiler warning and on a register that spills to memory. No GPU is needed, only nvcc.

Examples:
    python ops/cuda_check.py
    python ops/cuda_check.py --arch 90 --only segment_reduce
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "csrc"
ARCHITECTURES = ("80", "86", "89", "90", "100")            # those that CMakeLists.txt builds
FLAGS = ("-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xcompiler", "-Wall,-Wextra", "-Xptxas", "-v")
INCLUDES = ("", "cuda", "cuda/nvidia")
OURS = "perception::cuda::"


@dataclass(frozen=True)
class Usage:
    """What ptxas says of one kernel on one architecture; sizes in bytes."""

    source: str
    kernel: str
    architecture: str
    registers: int
    shared: int
    spilled: int


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES, help="compute capabilities (%(default)s)")
    parser.add_argument("--only", default="", help="compile only the sources with this in their name")
    parser.add_argument("--nvcc", default=find_nvcc(), help="the compiler (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="sources at a time (%(default)s)")
    return parser.parse_args(argv)


def find_nvcc() -> str | None:
    """$CUDACXX, the one on the path, or the one of a default installation."""
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def compile_source(nvcc: str, source: Path, architectures: Sequence[str]) -> str:
    """What nvcc says while it compiles a source for all architectures.

    Raises:
        RuntimeError: it does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, *FLAGS, *(f"-I{SOURCES / include}" for include in INCLUDES)]
        command += [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in architectures]
        command += ["-c", str(source), "-o", str(Path(folder) / "object.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{source.name} does not compile:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def usages(source: str, output: str) -> Iterator[Usage]:
    """The kernels in ptxas' verbose output on a source, names still mangled."""
    entry = r"Compiling entry function '(?P<kernel>\w+)' for 'sm_(?P<arch>\w+)'"
    for part in re.split(r"(?=ptxas info\s*: Compiling entry function)", output):
        found = re.search(entry, part)
        if not found:
            continue
        spilled = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers, shared = re.search(r"Used (\d+) registers", part), re.search(r"(\d+) bytes smem", part)
        yield Usage(
            source, found["kernel"], found["arch"], int(registers[1]) if registers else 0,
            int(shared[1]) if shared else 0, int(spilled[1]) + int(spilled[2]) if spilled else 0,
        )


def warnings(output: str) -> list[str]:
    """The lines that warn."""
    return [line for line in output.splitlines() if re.search(r"\bwarning\b", line, re.IGNORECASE)]


def demangle(names: Iterable[str]) -> dict[str, str]:
    """Readable names, where binutils or CUDA bring the tool."""
    unique = sorted(set(names))
    tool = shutil.which("c++filt") or shutil.which("cu++filt") or shutil.which("/usr/local/cuda/bin/cu++filt")
    if tool is None or not unique:
        return dict(zip(unique, unique, strict=True))
    done = subprocess.run([tool], input="\n".join(unique), capture_output=True, text=True, check=True)
    return dict(zip(unique, done.stdout.splitlines(), strict=True))


def short(name: str) -> str:
    """A kernel's name and template arguments without namespaces and parameters."""
    name = re.sub(r"\((?:anonymous namespace|int|bool)\)(?:::)?", "", name)
    return name.removeprefix("void ").replace(OURS, "").replace("perception::", "").split("(")[0]


def table(rows: Sequence[Usage], architectures: Sequence[str]) -> str:
    """Registers of each kernel on each architecture, its most shared memory, and all its spills."""
    kernels: dict[str, dict[str, Usage]] = {}
    for row in rows:
        kernels.setdefault(f"{row.source}: {short(row.kernel)}", {})[row.architecture] = row
    width = max(map(len, kernels), default=6)
    columns = [f"{'sm_' + arch:>7}" for arch in architectures]
    lines = ["  ".join([f"{'kernel':{width}}", *columns, f"{'shared':>7}", f"{'spilled':>8}"])]
    for name, on in sorted(kernels.items()):
        registers = [f"{on[arch].registers if arch in on else '-':>7}" for arch in architectures]
        sizes = [f"{max(row.shared for row in on.values()):>7}", f"{sum(row.spilled for row in on.values()):>8}"]
        lines.append("  ".join([f"{name:{width}}", *registers, *sizes]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.nvcc is None:
        print("error: nvcc is not on the path; set CUDACXX", file=sys.stderr)
        return 1
    sources = [path for path in sorted(SOURCES.glob("cuda/**/*.cu")) if args.only in path.name]
    with ThreadPoolExecutor(args.jobs) as pool:
        outputs = list(pool.map(lambda source: compile_source(args.nvcc, source, args.arch), sources))
    found = [u for source, output in zip(sources, outputs, strict=True) for u in usages(source.stem, output)]
    readable = demangle(usage.kernel for usage in found)
    found = [replace(usage, kernel=readable[usage.kernel]) for usage in found]
    ours = [usage for usage in found if OURS in usage.kernel.split("<")[0]]
    print(table(ours, args.arch))
    print(f"{len(sources)} sources, {len(ours)} kernels of ours, {len(found) - len(ours)} of CUB's (not shown)")
    complaints = [line for output in outputs for line in warnings(output)]
    complaints += [f"{short(u.kernel)} spills {u.spilled} bytes on sm_{u.architecture}" for u in ours if u.spilled]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
