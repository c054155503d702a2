"""The panel as a web app: a short copy of notebook 06 under Voila, on 127.0.0.1 only."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import nbformat

from rahelpers.artifacts import Run, write_atomically
from rahelpers.config import project_root
from rahelpers.run import this_python_kernel

NOTEBOOK = "06_diagnosis_panel.ipynb"


def write_panel_notebook(run: Run) -> Path:
    """A copy of notebook 06 with only the cells that the panel needs (tag `panel`), pointed at this run.

    Raises
    ------
    MissingArtefact
        If the run has no bundle.
    """
    run.file("train", "bundle/bundle.json")
    source = nbformat.read(project_root() / "notebooks" / NOTEBOOK, as_version=4)
    cells = [c for c in source.cells if "panel" in c.metadata.get("tags", [])]
    setup = nbformat.v4.new_code_cell(
        f"from pathlib import Path\nfrom rahelpers.artifacts import open_run\nfrom rahelpers import panel\nrun = open_run(Path({str(run.folder)!r}))"
    )
    book = nbformat.v4.new_notebook(cells=[setup, *cells], metadata={"kernelspec": {"name": "rahelpers-run", "display_name": "Python 3"}})
    for cell in book.cells:
        cell.outputs, cell.execution_count = [], None
    path = run.folder / "panel" / NOTEBOOK
    write_atomically(path, lambda p: nbformat.write(book, p))
    return path


def voila_command(notebook: Path, port: int, browser: bool) -> list[str]:
    """The command that serves a notebook on 127.0.0.1, sources stripped."""
    command = [sys.executable, "-m", "voila", str(notebook), f"--port={port}", "--Voila.ip=127.0.0.1", "--theme=dark",
               "--VoilaConfiguration.strip_sources=True", "--ServerApp.websocket_max_message_size=80000000",
               "--Voila.tornado_settings={'websocket_max_message_size': 80000000}"]  # fmt: skip
    return command if browser else [*command, "--no-browser"]


def serve_panel(run: Run, port: int, browser: bool) -> int:
    """Serve until interrupted; the exit code of Voila.

    Raises
    ------
    ValueError
        If the port is taken: Voila would quietly take another, and the address told here would be somebody else's page.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ValueError(f"port {port} is taken by another program (another panel?); choose one with --port") from None
    notebook = write_panel_notebook(run)
    print(f"{run.config.title}: diagnosis panel on http://127.0.0.1:{port} (Ctrl-C stops it)", flush=True)
    with this_python_kernel(notebook.parent / "kernels"):
        try:
            return subprocess.run(voila_command(notebook, port, browser), check=False).returncode
        except KeyboardInterrupt:
            return 0
