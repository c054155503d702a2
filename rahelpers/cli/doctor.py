"""`rahelpers doctor`: what is wrong with this machine, and how to fix it."""

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
from tempfile import TemporaryDirectory

import psutil
from filelock import FileLock

from rahelpers.core.config import project_root
from rahelpers.core.store import NO_LOCKS


@dataclass(frozen=True)
class Check:
    """One line: state is ok, warn or FAIL; `fix` is empty where nothing is wrong."""

    state: str
    name: str
    found: str
    fix: str = ""


def run_checks() -> list[Check]:
    """All checks, in the order in which a person would fix what they find."""
    return [
        check_python(),
        check_packages(),
        check_processor(),
        check_gpu(),
        check_disk(),
        check_memory(),
        check_kernel(),
        check_writing(),
        check_keras(),
    ]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Check that this is Python 3.11 to 3.13."""
    found = f"{version[0]}.{version[1]}"
    good = (3, 11) <= version < (3, 14)
    return Check(
        "ok" if good else "FAIL",
        "Python",
        found,
        "" if good else "install Python 3.11, remove .venv, and run make again",
    )


def check_packages(requirements: list[str] | None = None) -> Check:
    """Check that every direct dependency is installed, in a version within its bounds."""
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
    if not wrong:
        return Check("ok", "packages", f"{len(needed)} direct dependencies within their bounds")
    fix = f"{Path(sys.executable).name} -m pip install --require-hashes -r requirements.lock"
    return Check("FAIL", "packages", "; ".join(wrong), fix)


def _installed(name: str) -> str:
    """Version of a package; with a GPU, tensorflow replaces tensorflow-cpu (see the README)."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name == "tensorflow-cpu":
            return metadata.version("tensorflow")
        raise


def check_processor() -> Check:
    """Count the cores, and look for the vector instructions that TensorFlow is built for."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    known = [f for f in ("avx2", "avx512f", "avx512_bf16") if f in flags]
    instructions = ", ".join(known) or "vector instructions unknown"
    found = f"{os.cpu_count()} cores, {platform.machine()}, {instructions}"
    if flags and platform.machine() == "x86_64" and "avx2" not in flags:
        return Check(
            "warn", "processor", found, "TensorFlow is slow without AVX2; use the smoke profile"
        )
    return Check("ok", "processor", found)


def check_gpu() -> Check:
    """Say whether a GPU would be used; none is needed."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return Check("ok", "GPU", "none found; the course is sized for a CPU")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    found = listed.stdout.strip() or "a driver, but no device"
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
    """Check that there is room for a run."""
    free = shutil.disk_usage(folder or project_root()).free / 1e9
    if free >= 3:
        return Check("ok", "disk", f"{free:.0f} GB free")
    return Check(
        "FAIL", "disk", f"{free:.1f} GB free, expected at least 3", "remove old folders under runs/"
    )


def check_memory() -> Check:
    """Check that there is enough memory for the quick profile."""
    free = psutil.virtual_memory().available / 1e9
    if free >= 4:
        return Check("ok", "memory", f"{free:.0f} GB available")
    found = f"{free:.1f} GB available, expected at least 4"
    return Check("warn", "memory", found, "close other programs, or use --profile smoke")


def check_kernel() -> Check:
    """Check that the Jupyter kernel python3 exists and is this interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = f"{sys.executable} -m ipykernel install --sys-prefix --name python3"
    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except (NoSuchKernel, json.JSONDecodeError):
        return Check("FAIL", "Jupyter kernel", "python3 is missing", fix)
    program = shutil.which(argv[0]) or argv[0]
    same = argv[0] == "python" or os.path.realpath(program) == os.path.realpath(sys.executable)
    if same:
        return Check("ok", "Jupyter kernel", "python3 is this environment")
    return Check("warn", "Jupyter kernel", f"python3 is {argv[0]}", fix)


def check_writing(folder: Path | None = None) -> Check:
    """Check that runs can be written, and that their drive knows locks."""
    runs = folder or project_root() / "runs"
    place = next(parent for parent in (runs, *runs.parents) if parent.exists())
    try:
        with TemporaryDirectory(prefix=".doctor-", dir=place) as inside, FileLock(f"{inside}/lock"):
            return Check("ok", "writing", f"{place} can be written")
    except OSError as error:
        if error.errno in NO_LOCKS:
            found = f"{place} can be written, but its drive knows no locks"
            return Check("warn", "writing", found, "never start a run twice at the same time")
        fix = "work in a folder of your own: copy the project, or ask for the right to write"
        return Check("FAIL", "writing", f"{place}: {error.strerror}", fix)


def check_keras() -> Check:
    """Start TensorFlow and Keras in a process of their own, with this person's settings."""
    program = (
        "from rahelpers.network.backend import keras, tf; print(keras.version(), tf.__version__)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        versions = "Keras {}, TensorFlow {}".format(*done.stdout.split()[-2:])
        return Check("ok", "Keras", f"{versions} start")
    said = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
    fix = "do as it says, or set up the environment again"
    return Check("FAIL", "Keras", said[-1].removeprefix("OSError: "), fix)
