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
from rahelpers.cli.common import find_folder, find_run
from rahelpers.cli.main import main
from rahelpers.core.store import MissingArtefactError

SETUP = """from rahelpers import Run, config_from_notebook
run = Run(config_from_notebook(globals()))"""


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


STEP = """step = run.step('curate', {'a': 1})
if not step.is_done():
    step.write('a.txt', lambda p: p.write_text('x'))
    step.finish()"""


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
        (["-p", "folds=100"], "folds=100: the rarer class has"),
        (["-p", "learning_curve=0.01", "-p", "n_patients=40"], "leaves no patient"),
        (["-p", "n_patients=12", "-p", "test_fraction=0.05"], "expected at least 20 of each"),
        (["-p", "weights=imagenet", "-p", "architecture=vgg_small"], "no pretrained weights"),
        (["--weights", __file__ + ".h5"], "no such file"),
    ],
)
def test_refused_before_anything_runs(project, arguments, message):
    result = call("run", *arguments)
    assert result.exit_code == 2 and message in result.output
    assert not list(project.glob("runs/*/notebooks/*.ipynb"))


def test_runs_then_reuses_then_repairs_damage(project):
    first = call("run", "--profile", "smoke")
    assert first.exit_code == 0 and "Education and research only" in first.output, first.output
    again = call("run", "--profile", "smoke")
    assert again.output.count("reused") == 2
    (project / "runs/smoke-phantom/01_curate/a.txt").write_text("damaged")
    repaired = call("run", "--profile", "smoke")
    assert "01_curate/a.txt is damaged" in repaired.output and repaired.output.count("reused") == 1
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
    for i in range(12):
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
    table.write_text("image_id,y\n" + "".join(f"{i},{i % 2}\n" for i in range(12)))
    assert call(*arguments).exit_code == 0 and call(*arguments).output.count("reused") == 2
    table.write_text("image_id,y\n" + "".join(f"{i},{1 - i % 2}\n" for i in range(12)))
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
    """nbclient gives up after 4 s; on a small machine, loading TensorFlow takes longer."""
    nbformat.write(notebook(LATE), project / "notebooks" / "00_start_here.ipynb")
    result = call("run", "--name", "late")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_killed_run_resumes(project):
    hang_once = """import time
marker = run.folder / 'marker'
if not marker.exists():
    marker.write_text('1')
    time.sleep(60)"""
    nbformat.write(notebook(hang_once, STEP), project / "notebooks" / "01_curate_data.ipynb")
    program = """import rahelpers.course.report as report
report.write_report = lambda run: 'report'
from rahelpers.cli.main import main
main()"""
    command = [sys.executable, "-c", program, "run", "--profile", "smoke"]
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


def test_help_starts_no_tensorflow_and_version_is_told():
    code = """
import sys
from click.testing import CliRunner
from rahelpers.cli.main import main
for command in ([], *([name] for name in main.commands)):
    told = CliRunner().invoke(main, [*command, "--help"])
    assert told.exit_code == 0 and "Usage: " in told.output, told.output
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [sys.executable, "-m", "rahelpers", "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in told.stdout


def test_unknown_run_is_refused_with_the_near_match(project):
    assert "no run 'mime'; make one with: rahelpers run" in call("report", "mime").output
    (project / "runs" / "mine").mkdir(parents=True)
    (project / "runs" / "mine" / "config.json").write_text("{}")
    assert "did you mean 'mine'" in call("report", "mime").output
    assert call("panel", "mime", "--no-browser").exit_code == 1


def test_a_run_is_found_by_name_by_folder_or_as_the_newest_one(project):
    folders = [project / "runs" / "old", project / "runs" / "new", project / "elsewhere"]
    for when, folder in enumerate(folders, start=1):
        (folder / "02_train").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        os.utime(folder, (when, when))
    with pytest.raises(MissingArtefactError, match="holds no finished run; make one"):
        find_run("")
    for folder in folders:
        (folder / "02_train" / "record.json").write_text("{}")
    assert find_run("").folder == folders[1], "only those under runs/ count as the newest"
    assert find_run("old").folder == find_run(str(folders[0])).folder == folders[0]
    assert find_run("elsewhere").folder == find_folder("elsewhere") == folders[2]
    assert find_folder("nowhere") == project / "nowhere"


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
    """Epochs of Keras and bars are passed on; prints and shown errors of a lesson are not."""
    lines = r"""print('Epoch 1/2')
print('3/3 - 1s - loss: 0.5')
print('explaining films:  50%|#####     | 1/2', end='\r')
print('\nValueError: a lesson')"""
    nbformat.write(notebook(lines), project / "notebooks" / "00_start_here.ipynb")
    result = call("run", "--profile", "smoke", "--name", "x")
    assert result.exit_code == 0, result.output
    for shown in ("Epoch 1/2", "3/3 - 1s - loss: 0.5", "50%|#####"):
        assert shown in result.output
    assert "a lesson" not in result.output
