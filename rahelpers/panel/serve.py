"""The panel as a web app: a short copy of notebook 06 under Voila, on 127.0.0.1 only."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import nbformat

from rahelpers.core.config import project_root
from rahelpers.core.kernel import SHOW_SECONDS, this_python_kernel
from rahelpers.core.store import Run, write_atomically

NOTEBOOK = "06_diagnosis_panel.ipynb"


def write_panel_notebook(run: Run) -> Path:
    """A copy of notebook 06 with only the cells that the panel needs (tag `panel`), pointed at this
    run.

    Raises
    ------
    MissingArtefactError
        If the run has no bundle.
    """
    run.file("train", "bundle/bundle.json")
    source = nbformat.read(project_root() / "notebooks" / NOTEBOOK, as_version=4)
    cells = [c for c in source.cells if "panel" in c.metadata.get("tags", [])]
    setup = nbformat.v4.new_code_cell(
        "from pathlib import Path\nfrom rahelpers.core.store import open_run\nfrom rahelpers import"
        f" panel\nrun = open_run(Path({str(run.folder)!r}))"
    )
    book = nbformat.v4.new_notebook(cells=[setup, *cells])
    book.metadata |= {
        "title": "Diagnosis panel",
        "kernelspec": {"name": "rahelpers-run", "display_name": "Python 3"},
    }
    for cell in book.cells:
        cell.outputs, cell.execution_count = [], None
    path = run.folder / "panel" / NOTEBOOK
    write_atomically(path, lambda p: nbformat.write(book, p))
    return path


# Nothing on the page may come from elsewhere or go elsewhere. Widgets are scripts made on the page
# (blob:), JupyterLab's own evaluate text.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob:"
    " data:; worker-src 'self' blob:; frame-ancestors 'self'"
)
IDLE_SECONDS = 600  # after which the kernel of a page that was closed ends


def voila_command(notebook: Path, port: int, theme: str = "dark", base_url: str = "/") -> list[str]:
    """The command that serves a notebook on 127.0.0.1, sources stripped, behind the token in the
    environment variable JUPYTER_TOKEN.

    Parameters
    ----------
    notebook : Path
    port : int
    theme : {'dark', 'light'}
        What is shown first; ?theme=light or ?theme=dark in the address shows the other.
    base_url : str
        Path below which a reverse proxy serves the panel.
    """
    headers = {"Content-Security-Policy": CONTENT_POLICY, "Referrer-Policy": "no-referrer"}
    return [
        sys.executable,
        "-m",
        "voila",
        str(notebook),
        f"--port={port}",
        "--Voila.ip=127.0.0.1",
        f"--theme={theme}",
        f"--base_url={base_url}",
        "--VoilaConfiguration.strip_sources=True",
        "--VoilaConfiguration.allow_theme_override=YES",
        "--VoilaConfiguration.show_tracebacks=False",
        "--Voila.auto_token=True",
        f"--Voila.tornado_settings={{'headers': {headers!r}}}",
        f"--VoilaExecutor.iopub_timeout={SHOW_SECONDS}",
        f"--VoilaKernelManager.cull_idle_timeout={IDLE_SECONDS}",
        "--VoilaKernelManager.cull_interval=60",
        "--no-browser",
    ]


def serve_panel(
    run: Run, port: int, browser: bool, theme: str = "dark", base_url: str = "/"
) -> int:
    """Serve until interrupted; the exit code of Voila.

    The page wants a token, new each time; it stands in the address that is printed, and reaches
    Voila through the environment, where other people on the machine cannot read it as they can a
    command line. Set JUPYTER_TOKEN to choose it.

    Raises
    ------
    ValueError
        If `base_url` is no path between slashes, or the port is taken: Voila would quietly take
        another, and the address told here would be somebody else's page.
    """
    if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)*", base_url):
        raise ValueError(
            f"base_url={base_url!r}: expected a path that begins and ends with a slash, such as"
            " /ra/"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ValueError(
                f"port {port} is taken by another program (another panel?); choose one with --port"
            ) from None
    notebook, token = (
        write_panel_notebook(run),
        os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24),
    )
    address = f"http://127.0.0.1:{port}{base_url}?token={token}"
    print(f"{run.config.title}: diagnosis panel on {address} (Ctrl-C stops it)", flush=True)
    with this_python_kernel(notebook.parent / "kernels"):
        process = subprocess.Popen(
            voila_command(notebook, port, theme, base_url),
            env=os.environ | {"JUPYTER_TOKEN": token},
        )
        try:
            if browser and wait_until_up(f"http://127.0.0.1:{port}{base_url}", 60):
                webbrowser.open(address)
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            process.terminate()
            process.wait(20)


def wait_until_up(address: str, seconds: float) -> bool:
    """True once something answers at an address; False where nothing does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urlopen(address, timeout=5)
            return True
        except HTTPError:
            return True  # it answers: it wants a token
        except OSError:
            time.sleep(0.3)
    return False
