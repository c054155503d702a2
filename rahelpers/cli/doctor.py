"""`rahelpers doctor`: what is wrong with this machine, and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from rahelpers.core.config import project_root


@dataclass(frozen=True)
class Check:
    """One line: state is ok, warn or FAIL; `mend` is empty where nothing is wrong."""

    state: str
    name: str
    found: str
    mend: str = ""


def run_checks() -> list[Check]:
    """All checks, in the order in which a person would mend them."""
    return [
        check_python(),
        check_packages(),
        check_processor(),
        check_gpu(),
        check_disk(),
        check_memory(),
        check_kernel(),
    ]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Python 3.11 to 3.13."""
    found = f"{version[0]}.{version[1]}"
    good = (3, 11) <= version < (3, 14)
    return Check(
        "ok" if good else "FAIL",
        "Python",
        found,
        "" if good else "install Python 3.11, remove .venv, and run make again",
    )


def check_packages(requirements: list[str] | None = None) -> Check:
    """Every direct dependency is installed within its bounds."""
    from packaging.requirements import Requirement

    wrong = []
    needed = [
        Requirement(r)
        for r in (metadata.requires("rahelpers") if requirements is None else requirements) or []
    ]
    needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    for requirement in needed:
        try:
            installed = _installed(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    mend = f"{Path(sys.executable).name} -m pip install --require-hashes -r requirements.lock"
    return (
        Check("FAIL", "packages", "; ".join(wrong), mend)
        if wrong
        else Check("ok", "packages", f"{len(needed)} direct dependencies in bounds")
    )


def _installed(name: str) -> str:
    """Version of a package; with a GPU, tensorflow stands in for tensorflow-cpu (README, "With a
    GPU").
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name == "tensorflow-cpu":
            return metadata.version("tensorflow")
        raise


def check_processor() -> Check:
    """Cores, and the vector instructions that TensorFlow is built for."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    known = [f for f in ("avx2", "avx512f", "avx512_bf16") if f in flags]
    found = (
        f"{os.cpu_count()} cores, {platform.machine()},"
        f" {', '.join(known) or 'vector instructions not known'}"
    )
    if flags and platform.machine() == "x86_64" and "avx2" not in flags:
        return Check(
            "warn", "processor", found, "TensorFlow is slow without AVX2; use the smoke profile"
        )
    return Check("ok", "processor", found)


def check_gpu() -> Check:
    """A GPU is not needed; it is said whether one would be used."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return Check("ok", "GPU", "none found; the course is sized for the CPU")
    listed = subprocess.run(
        [tool, "-L"], capture_output=True, text=True, timeout=20, check=False
    ).stdout.strip()
    found = listed or "driver found, no device"
    try:
        metadata.version("tensorflow-cpu")
    except metadata.PackageNotFoundError:
        return Check("ok", "GPU", found)
    return Check(
        "warn",
        "GPU",
        f"{found}; the locked tensorflow-cpu does not use it",
        "see 'With a GPU' in README.md",
    )


def check_disk(folder: Path | None = None) -> Check:
    """Room for a run."""
    free = shutil.disk_usage(folder or project_root()).free / 1e9
    if free >= 3:
        return Check("ok", "disk", f"{free:.0f} GB free")
    return Check(
        "FAIL", "disk", f"{free:.1f} GB free, expected 3", "remove old folders under runs/"
    )


def check_memory() -> Check:
    """Memory for the quick profile."""
    free = psutil.virtual_memory().available / 1e9
    return (
        Check("ok", "memory", f"{free:.0f} GB available")
        if free >= 4
        else Check(
            "warn",
            "memory",
            f"{free:.1f} GB available, expected 4",
            "close other programs, or use --profile smoke",
        )
    )


def check_kernel() -> Check:
    """The Jupyter kernel python3 exists and is this interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = f"{sys.executable} -m ipykernel install --sys-prefix --name python3"
    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except (NoSuchKernel, json.JSONDecodeError):
        return Check("FAIL", "Jupyter kernel", "python3 is missing", mend)
    program = shutil.which(argv[0]) or argv[0]
    same = argv[0] == "python" or os.path.realpath(program) == os.path.realpath(sys.executable)
    return (
        Check("ok", "Jupyter kernel", "python3 is this environment")
        if same
        else Check("warn", "Jupyter kernel", f"python3 is {argv[0]}", mend)
    )
