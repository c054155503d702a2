"""Fixtures: the real films, and one tiny finished run that several tests read."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if (
    "PYTEST_XDIST_WORKER_COUNT" in os.environ
):  # files tested side by side share the cores out; said before TensorFlow is imported
    threads = str(max(1, os.cpu_count() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))
    os.environ |= dict.fromkeys(
        (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
            "LOKY_MAX_CPU_COUNT",
        ),
        threads,
    )

MOST_SECONDS = 5  # that reading one file may take
PROJECT = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    path = Path(os.environ.get("RAHELPERS_SHARED", PROJECT.parent / "shared")) / "data" / name
    if not path.exists():
        message = f"{name} is not on this machine (a public clone has no shared data)"
        (pytest.fail if os.environ.get("RAHELPERS_REQUIRE_DATA") == "1" else pytest.skip)(message)
    return path


@pytest.fixture
def real_films() -> Path:
    """Folder of the real RSNA hands; the test skips where they are absent, and fails where CI
    demands them.
    """
    return _shared("rsna_hands")


@pytest.fixture
def vgg16_weights() -> Path:
    return _shared("vgg16_notop.weights.h5")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Steps 01 and 02 on 40 phantom patients, one epoch, 48 px: a few seconds."""
    from rahelpers.core.config import make_config
    from rahelpers.core.store import Run
    from rahelpers.curation.step import curate
    from rahelpers.training.step import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = Run(
        make_config(
            n_patients=40,
            image_size=48,
            epochs=1,
            n_bootstrap=50,
            n_explain=4,
            shap_evaluations=512,
            run_dir=str(folder),
        )
    )
    curate(run)
    train(run)
    return run


@pytest.fixture(scope="session")
def spotted_films():
    """Forty noisy films of 32 px, uint8, and their labels; positives have a bright spot."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = rng.integers(0, 90, (40, 32, 32), dtype=np.uint8)
    images[labels == 1, 12:20, 12:20] += 120
    return images, labels


@pytest.fixture
def free_address() -> str:
    """An address at which nobody answers."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


@pytest.fixture
def cluster(tmp_path, free_address):
    """Address of a scheduler, and its two workers' processes."""
    address, port = free_address, free_address.rsplit(":", 1)[1]
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": tmp_path,
        "start_new_session": True,
    }
    dask = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **quiet
        )
    ]
    processes += [
        subprocess.Popen(
            [
                *dask,
                "worker",
                address,
                "--nthreads",
                "1",
                "--no-nanny",
                "--no-dashboard",
                "--host",
                "127.0.0.1",
            ],
            **quiet,
        )
        for _ in range(2)
    ]
    from distributed import Client

    with Client(address, timeout="60s", set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, processes[1:]
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def alarm():
    """Ends a test that would wait for ever, where there are signals to do it."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_):
        raise TimeoutError(f"waited {MOST_SECONDS} s")

    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)
