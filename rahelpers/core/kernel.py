"""A Jupyter kernel that runs in this very interpreter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from rahelpers.core.store import write_json

# How long the output of a finished cell may take to arrive. nbclient waits for 4 s; after that,
# papermill fails and Voila shows a blank page. On a small machine where many kernels start at once,
# a kernel that loads TensorFlow takes longer.
SHOW_SECONDS = 300


@contextlib.contextmanager
def this_python_kernel() -> Iterator[str]:
    """A kernel spec that starts this very interpreter, even if its environment is not activated.

    Its kernels do not read what a person set up for other work: IPython's profile and the filter of
    Python's warnings are new ones. All files are in a temporary folder, so neither the run's folder
    nor the home has to be one where this person may write.

    Yields
    ------
    str
        The kernel's name. This process and its children find it through JUPYTER_PATH.
    """
    name = "rahelpers-run"
    # CRITICAL: a kernel that Ctrl-C ends in the middle of a cell logs tracebacks on the terminal
    options = ["-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
    with TemporaryDirectory(prefix="rahelpers-", ignore_cleanup_errors=True) as folder:
        spec = {
            "argv": [sys.executable, *options],
            "display_name": "Python 3",
            "language": "python",
            "env": {"IPYTHONDIR": str(Path(folder) / "ipython"), "PYTHONWARNINGS": ""},
        }
        write_json(Path(folder) / "kernels" / name / "kernel.json", spec)
        before = dict(os.environ)
        os.environ["JUPYTER_PATH"] = os.pathsep.join(
            [folder, *filter(None, [before.get("JUPYTER_PATH")])]
        )
        os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(folder) / "runtime")
        try:
            yield name
        finally:
            _end_kernels(folder)
            for key in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR"):
                if key in before:
                    os.environ[key] = before[key]
                else:
                    del os.environ[key]


def _end_kernels(folder: str) -> None:
    """End the kernels whose connection file is in a folder: Ctrl-C may leave one at work."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(part.startswith(folder) for part in process.cmdline()):
                family = [*process.children(recursive=True), process]
                for member in family:
                    member.kill()
                psutil.wait_procs(family, timeout=5)
        except psutil.NoSuchProcess:
            continue  # it has ended by itself
