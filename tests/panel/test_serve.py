"""The panel as a web app: where it is served from, what it writes, and who may reach it."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from rahelpers.cli.main import main
from rahelpers.core.kernel import SHOW_SECONDS
from rahelpers.core.store import MissingArtefactError, Run
from rahelpers.panel import BANNER, build_panel
from rahelpers.panel.serve import (
    serve_panel,
    voila_command,
    wait_until_up,
    write_panel_notebook,
)

PROJECT = Path(__file__).resolve().parents[2]


def test_the_served_notebook_is_notebook_06_for_one_run(tiny_run, tmp_path):
    """Its cells import all that they use, show the panel, and are those of the course."""
    book = nbformat.read(write_panel_notebook(tiny_run, tmp_path), as_version=4)
    names = {}
    for cell in book.cells:
        exec(cell.source, names)
    assert names["run"].folder == tiny_run.folder
    lesson = nbformat.read(PROJECT / "notebooks" / "06_diagnosis_panel.ipynb", as_version=4)
    shown = [c.source for c in lesson.cells if "panel" in c.metadata.get("tags", [])]
    assert shown == [cell.source for cell in book.cells[1:]] == ["panel.build_panel(run)"]


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_a_shared_run_opens_from_anywhere_and_is_not_written(tiny_run, tmp_path, monkeypatch):
    """The teacher's run, on a drive that the class may only read; or a wheel without notebooks."""
    served = []

    class Server:
        def __init__(self, command, env):
            book = Path(command[3])
            served.append((book.read_text(), list(book.parent.iterdir()), env))

        def wait(self, *_):
            return 0

        def terminate(self):
            """End."""

    before = written(tiny_run.folder)
    elsewhere = tmp_path / "a {folder}: [of] ünsers"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("rahelpers.panel.serve.subprocess.Popen", Server)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["panel", str(tiny_run.folder), "--no-browser", "--port", str(port)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert str(tiny_run.folder) in served[0][0] and len(served[0][1]) == 1
    assert before == {
        p: p.stat().st_mtime_ns for p in (tiny_run.folder, *tiny_run.folder.rglob("*"))
    }
    assert list(elsewhere.iterdir()) == []
    assert not served[0][1][0].exists(), "the notebook is gone with the panel"


def test_a_proxy_does_not_stand_before_this_machine(monkeypatch, free_address):
    """A hospital sets http_proxy and no no_proxy: nobody there knows this machine's 127.0.0.1."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, free_address.replace("tcp", "http"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert wait_until_up(f"http://127.0.0.1:{server.server_port}/", 5)
        server.shutdown()
    assert not wait_until_up(free_address.replace("tcp", "http"), 0.5)


def test_a_run_without_a_bundle_is_named(tmp_path, tiny_run):
    with pytest.raises(MissingArtefactError, match="02_train"):
        build_panel(Run(tiny_run.config.replace(run_dir=str(tmp_path / "none"))))


def test_command_stays_on_this_machine_and_shows_no_token():
    command = " ".join(voila_command(Path("panel.ipynb"), 18000))
    for part in ("--Voila.ip=127.0.0.1", "strip_sources=True", "default-src 'self'"):
        assert part in command
    assert "token=" not in command.replace("auto_token=", "")


def test_voila_waits_for_what_a_slow_kernel_shows():
    """After its own 4 s it would continue without the panel: a blank page."""
    from traitlets.config.loader import KeyValueConfigLoader
    from voila.execute import VoilaExecutor

    command = voila_command(Path("panel.ipynb"), 18000)
    arguments = [part for part in command if part.startswith("--VoilaExecutor")]
    config = KeyValueConfigLoader(arguments, classes=[VoilaExecutor]).load_config()
    executor = VoilaExecutor(nbformat.v4.new_notebook(), config=config)
    assert executor.iopub_timeout == SHOW_SECONDS >= 60


def test_a_taken_port_is_named(tiny_run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="taken"):
            serve_panel(tiny_run, other.getsockname()[1], False)


def test_banner_says_what_it_is_for():
    assert "Education and research only" in BANNER
