"""The panel as a web app: a short copy of notebook 06 under Voilà, on 127.0.0.1 only."""

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
# what the cells with the tag `panel` need
SETUP = """\
from pathlib import Path
from rahelpers import open_run, panel
run = open_run(Path({folder!r}))"""
# The page may fetch nothing from elsewhere and send nothing elsewhere. Widgets are scripts made on
# the page (blob:), and JupyterLab's own scripts evaluate text.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " connect-src 'self' blob: data:; worker-src 'self' blob:; frame-ancestors 'self'"
)
IDLE_SECONDS = 600  # then the kernel of a closed page ends
START_SECONDS = 60  # to wait for the server before the browser opens


def write_panel_notebook(run: Run) -> Path:
    """Copy the cells of notebook 06 that the panel needs (tag `panel`), pointed at this run.

    Returns
    -------
    Path
        Of the copy, in the run's folder.

    Raises
    ------
    MissingArtefactError
        If the run has no bundle.
    """
    run.file("train", "bundle/bundle.json")
    source = nbformat.read(project_root() / "notebooks" / NOTEBOOK, as_version=4)
    cells = [c for c in source.cells if "panel" in c.metadata.get("tags", [])]
    setup = nbformat.v4.new_code_cell(SETUP.format(folder=str(run.folder)))
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


def voila_command(notebook: Path, port: int, theme: str = "dark", base_url: str = "/") -> list[str]:
    """The command that serves a notebook on 127.0.0.1 without its source code.

    Voilà asks for the token that is in the environment variable JUPYTER_TOKEN.

    Parameters
    ----------
    notebook : Path
    port : int
    theme : {'dark', 'light'}
        Shown first; ?theme=light or ?theme=dark in the address shows the other.
    base_url : str
        Path under which a reverse proxy serves the panel.
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
    """Serve until interrupted, and return Voilà's exit code.

    The page asks for a token, new at each start; it is part of the address that is printed. Voilà
    gets it through the environment, where other people on the machine cannot read it as they can
    read a command line. Set JUPYTER_TOKEN to choose it.

    Raises
    ------
    ValueError
        If `base_url` is not a path between slashes, or if the port is taken: Voilà would silently
        take another port, and the address printed here would be somebody else's page.
    """
    if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)*", base_url):
        raise ValueError(
            f"base_url={base_url!r}: expected a path that begins and ends with a slash, such as"
            " /ra/"
        )
    _require_free(port)
    notebook = write_panel_notebook(run)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)
    page = f"http://127.0.0.1:{port}{base_url}"
    address = f"{page}?token={token}"
    print(f"{run.config.title}: diagnosis panel on {address} (Ctrl-C stops it)", flush=True)
    with this_python_kernel(notebook.parent / "kernels"):
        command = voila_command(notebook, port, theme, base_url)
        process = subprocess.Popen(command, env=os.environ | {"JUPYTER_TOKEN": token})
        try:
            if browser and wait_until_up(page, START_SECONDS):
                webbrowser.open(address)
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            process.terminate()
            process.wait(20)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ValueError(
                f"port {port} is taken by another program (another panel?); choose one with --port"
            ) from None


def wait_until_up(address: str, seconds: float) -> bool:
    """True once something answers at an address; False if nothing does in time."""
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
