"""The panel as a web app: the panel's cell of notebook 06 under Voilà, on 127.0.0.1 only."""

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
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import nbformat

from rahelpers.core.kernel import SHOW_SECONDS, this_python_kernel
from rahelpers.core.store import Run, write_text

# What notebook 06 does, for one run, in a notebook of its own: the package may be installed without
# notebooks beside it.
CELLS = (
    """\
from pathlib import Path
from rahelpers import open_run, panel
run = open_run(Path({folder!r}))""",
    "panel.build_panel(run)",
)
# The page may fetch nothing from elsewhere and send nothing elsewhere. Widgets are scripts made on
# the page (blob:), and JupyterLab's own scripts evaluate text.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " connect-src 'self' blob: data:; worker-src 'self' blob:; frame-ancestors 'self'"
)
IDLE_SECONDS = 600  # then the kernel of a closed page ends
START_SECONDS = 60  # to wait for the server before the browser opens


def write_panel_notebook(run: Run, folder: Path) -> Path:
    """Write the notebook that shows the panel of a run.

    Parameters
    ----------
    run : Run
    folder : Path
        Where it is written. Not the run's own folder: a class may share a run that only its teacher
        may write.

    Returns
    -------
    Path

    Raises
    ------
    MissingArtefactError
        If the run has no bundle.
    """
    run.file("train", "bundle/bundle.json")
    cells = [nbformat.v4.new_code_cell(cell.format(folder=str(run.folder))) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata |= {
        "title": "Diagnosis panel",
        "kernelspec": {"name": "rahelpers-run", "display_name": "Python 3"},
    }
    path = folder / "diagnosis_panel.ipynb"
    write_text(path, nbformat.writes(book))
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
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)
    page = f"http://127.0.0.1:{port}{base_url}"
    address = f"{page}?token={token}"
    with this_python_kernel(), TemporaryDirectory(prefix="rahelpers-panel-") as folder:
        command = voila_command(write_panel_notebook(run, Path(folder)), port, theme, base_url)
        print(f"{run.config.title}: diagnosis panel on {address} (Ctrl-C stops it)", flush=True)
        process = subprocess.Popen(command, env=os.environ | {"JUPYTER_TOKEN": token})
        try:
            if browser and wait_until_up(page, START_SECONDS):
                webbrowser.open(address)
            elif browser:
                print(f"nothing answers yet after {START_SECONDS} s: open the address above later")
            return process.wait()
        except KeyboardInterrupt:
            print("\nthe panel has stopped", flush=True)
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
    """True once something answers at an address of this machine; False if nothing does in time."""
    direct = build_opener(ProxyHandler({}))  # a hospital's proxy knows nothing of this machine
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            direct.open(address, timeout=5)
            return True
        except HTTPError:
            return True  # it answers: it wants a token
        except OSError:
            time.sleep(0.3)
    return False
