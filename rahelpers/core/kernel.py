"""A Jupyter kernel that runs in this very interpreter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rahelpers.core.store import write_json

# How long a cell that has ended may take to show its output. nbclient waits for 4 s; then papermill
# fails, and Voila goes on to a blank page. On a small machine where many kernels start at once, a
# kernel that loads TensorFlow takes longer.
SHOW_SECONDS = 300


@contextlib.contextmanager
def this_python_kernel(folder: Path) -> Iterator[str]:
    """A kernel spec in `folder` that starts this very interpreter, whether or not its environment
    is activated.

    Yields its name. Kernels started meanwhile by this process find it through JUPYTER_PATH;
    `folder` must be named `kernels`.
    """
    name = "rahelpers-run"
    spec = {
        "argv": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=ERROR",
        ],
        "display_name": "Python 3",
        "language": "python",
    }
    write_json(folder / name / "kernel.json", spec)
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        [str(folder.parent), *([before] if before else [])]
    )
    try:
        yield name
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before
