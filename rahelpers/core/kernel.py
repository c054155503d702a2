"""A Jupyter kernel that runs in this very interpreter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rahelpers.core.store import write_json

# How long the output of a finished cell may take to arrive. nbclient waits for 4 s; after that,
# papermill fails and Voila shows a blank page. On a small machine where many kernels start at once,
# a kernel that loads TensorFlow takes longer.
SHOW_SECONDS = 300


@contextlib.contextmanager
def this_python_kernel(folder: Path) -> Iterator[str]:
    """A kernel spec that starts this very interpreter, even if its environment is not activated.

    Parameters
    ----------
    folder : Path
        Where the spec is written; must be named `kernels`. This process's kernels find it through
        JUPYTER_PATH.

    Yields
    ------
    str
        The kernel's name.
    """
    name = "rahelpers-run"
    options = ["-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
    spec = {
        "argv": [sys.executable, *options],
        "display_name": "Python 3",
        "language": "python",
    }
    write_json(folder / name / "kernel.json", spec)
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(folder.parent), *filter(None, [before])])
    try:
        yield name
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before
