"""The command line on tiny notebooks: refusals, failures, reuse, a killed run, damage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from rahelpers import __version__
from rahelpers.cli.main import main

SETUP = (
    "from rahelpers.core.store import Run\nfrom rahelpers.core.config import config_from_notebook\nrun ="
    " Run(config_from_notebook(globals()))"
)


def notebook(*sources: str) -> nbformat.NotebookNode:
    cells = [
        nbformat.v4.new_code_cell(
            'PROFILE = "smoke"\nSOURCE = "phantom"\nSEED = 7\nRUN_DIR = "runs/smoke"',
            metadata={"tags": ["parameters"]},
        )
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(
        metadata=spec, cells=[*cells, *map(nbformat.v4.new_code_cell, (SETUP, *sources))]
    )


STEP = (
    "step = run.step('curate', {'a': 1})\nif not step.is_done():\n    step.write('a.txt', lambda p:"
    " p.write_text('x'))\n    step.finish()"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that looks like a checkout, with two small notebooks."""
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook("print('hello')"), tmp_path / "notebooks" / "00_start_here.ipynb")
    nbformat.write(notebook(STEP), tmp_path / "notebooks" / "01_curate_data.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "rahelpers.course.report.write_report", lambda run: run.folder / "report.html"
    )
    return tmp_path


def call(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "epoch=3"], "did you mean 'epochs'"),
        (["--profile", "quik"], "did you mean 'quick'"),
        (["--source", "fantom"], "did you mean 'phantom'"),
        (["-p", "epochs"], "KEY=VALUE"),
        (["-p", "epochs=-1"], "out of range"),
        (["--name", "../x"], "expected letters"),
        (["--weights", "nowhere.h5"], "no such file"),
        (["--source", "folder", "--images", "x"], "needs table"),
        (["--from", "42"], "no such notebook"),
    ],
)
def test_refused_before_anything_runs(project, arguments, message):
    result = call("run", *arguments)
    assert result.exit_code == 2 and message in result.output
    assert not list(project.glob("runs/*/notebooks/*.ipynb"))


def test_runs_then_reuses_then_mends_damage(project):
    first = call("run", "--profile", "smoke")
    assert first.exit_code == 0 and "Education and research only" in first.output, first.output
    again = call("run", "--profile", "smoke")
    assert again.output.count("reused") == 2
    (project / "runs/smoke-phantom/01_curate/a.txt").write_text("damaged")
    mended = call("run", "--profile", "smoke")
    assert "01_curate/a.txt is damaged" in mended.output and mended.output.count("reused") == 1
    assert (project / "runs/smoke-phantom/01_curate/a.txt").read_text() == "x"
    record = json.loads((project / "runs/smoke-phantom/01_curate/record.json").read_text())
    assert (
        record["made_from"]["versions"]["rahelpers"] == __version__
        and len(record["files"]["a.txt"]) == 64
    )
    forced = call("run", "--profile", "smoke", "--from", "01")
    assert forced.output.count("reused") == 1


def test_a_changed_table_is_not_taken_for_the_old_one(project):
    from PIL import Image

    (project / "films").mkdir()
    for i in range(4):
        Image.new("L", (40, 40), i).save(project / "films" / f"{i}.png")
    table = project / "t.csv"
    arguments = [
        "run",
        "--profile",
        "smoke",
        "--source",
        "folder",
        "--images",
        str(project / "films"),
        "--table",
        str(table),
        "--patient-column",
        "image_id",
        "--label-column",
        "y",
        "--positive",
        "1",
    ]
    table.write_text("image_id,y\n0,0\n1,1\n2,0\n3,1\n")
    assert call(*arguments).exit_code == 0 and call(*arguments).output.count("reused") == 2
    table.write_text("image_id,y\n0,1\n1,0\n2,1\n3,0\n")
    assert "01_curate_data: running" in call(*arguments).output


def test_failing_notebook_says_notebook_cell_and_error(project):
    nbformat.write(
        notebook("1 + 1", "raise KeyError('no such joint')"),
        project / "notebooks" / "01_curate_data.ipynb",
    )
    result = call("run", "--profile", "smoke")
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()[-3:]
    assert (
        "01_curate_data.ipynb" in lines[0]
        and "raise KeyError" in lines[1]
        and "no such joint" in lines[2]
    )


LATE = """import threading
session = get_ipython().kernel.session
send = session.send

def send_late(stream, message, *more, **kwargs):
    if message == "status" and "idle" in str([*more, kwargs]):
        threading.Timer(5, send, (stream, message, *more), kwargs).start()
    else:
        send(stream, message, *more, **kwargs)

session.send = send_late"""


@pytest.mark.slow
def test_a_kernel_that_shows_late_is_waited_for(project):
    """nbclient gives up after 4 s, which a small machine that starts many kernels needs to load
    TensorFlow.
    """
    nbformat.write(notebook(LATE), project / "notebooks" / "00_start_here.ipynb")
    result = call("run", "--name", "late")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_killed_run_goes_on(project):
    nbformat.write(
        notebook(
            "import time",
            "marker = run.folder / 'marker'\nif not marker.exists():\n    marker.write_text('1')\n "
            "   time.sleep(60)",
            STEP,
        ),
        project / "notebooks" / "01_curate_data.ipynb",
    )
    command = [
        sys.executable,
        "-c",
        (
            "import rahelpers.course.report as r; r.write_report = lambda run: 'report'; from"
            " rahelpers.cli.main import main; main()"
        ),
        "run",
        "--profile",
        "smoke",
    ]
    process = subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    marker = project / "runs/smoke-phantom/marker"
    for _ in range(3000):  # a busy machine takes a minute
        if marker.exists():
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    second = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert second.returncode == 0 and "00_start_here: reused" in second.stdout, (
        second.stdout + second.stderr
    )


def test_help_is_quick_and_version_is_told():
    code = (
        "import sys; from rahelpers.cli.main import main; main(['--help'], standalone_mode=False);"
        " assert 'tensorflow' not in sys.modules"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )
    told = subprocess.run(
        [sys.executable, "-m", "rahelpers", "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in told.stdout


def test_unknown_run_is_refused_with_the_near_match(project):
    (project / "runs" / "mine").mkdir(parents=True)
    (project / "runs" / "mine" / "config.json").write_text("{}")
    assert "did you mean 'mine'" in call("report", "mime").output
    assert call("panel", "mime", "--no-browser").exit_code == 1


def test_doctor_names_what_is_wrong():
    from rahelpers.cli.doctor import check_disk, check_packages, check_python

    assert check_python((3, 9)).state == "FAIL" and check_python((3, 12)).state == "ok"
    assert (
        "click" in check_packages(["click<1"]).found
        and "missing" in check_packages(["no-such-package-here>=1"]).found
    )
    assert check_disk(Path("/")).name == "disk"
    result = call("doctor")
    assert all(
        word in result.output
        for word in ("Python", "packages", "processor", "GPU", "disk", "memory", "Jupyter kernel")
    )


def test_progress_reaches_the_terminal_and_nothing_else(project):
    """Keras's epochs and bars pass; a lesson's own prints, quiz answers and shown errors stay in
    the notebook.
    """
    lines = (
        "print('Epoch 1/2')\nprint('3/3 - 1s - loss: 0.5')\nprint('explaining films:  50%|#####    "
        " | 1/2', end='\\r')\nprint('\\nValueError: a lesson')"
    )
    nbformat.write(notebook(lines), project / "notebooks" / "00_start_here.ipynb")
    result = call("run", "--profile", "smoke", "--name", "x")
    assert result.exit_code == 0, result.output
    for shown in ("Epoch 1/2", "3/3 - 1s - loss: 0.5", "50%|#####"):
        assert shown in result.output
    assert "a lesson" not in result.output
