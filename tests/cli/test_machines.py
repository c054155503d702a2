"""Commands end in words on drives, terminals and settings that are not those of a developer."""

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rahelpers.cli.common import say_refusal
from rahelpers.cli.doctor import check_keras, check_writing
from tests.cli.test_main import call, project  # noqa: F401 (a fixture)

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24
CAP_DAC_READ_SEARCH = 2


def as_ordinary_user() -> None:
    """Root writes everywhere; without these capabilities, it is a user like any other."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def rahelpers(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "rahelpers", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        preexec_fn=as_ordinary_user,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )


@pytest.fixture
def shared(tmp_path):
    """A folder that may be read and not written."""
    folder = tmp_path / "shared"
    (folder / "runs" / "theirs").mkdir(parents=True)
    (folder / "runs" / "theirs" / "config.json").write_text("{}")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "00_start_here.ipynb").write_text("{}")
    places = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
    for place in places:
        place.chmod(0o555)
    yield folder
    for place in places:
        place.chmod(0o755)


def test_a_run_in_a_folder_that_cannot_be_written_ends_in_one_line(shared):
    done = rahelpers("run", "--profile", "smoke", cwd=shared)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "smoke-phantom" in done.stderr and "Permission denied" in done.stderr
    assert "choose a place" in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_the_system_refuses_names_the_place_and_what_to_do():
    full = OSError(errno.ENOSPC, "No space left on device", "results.csv")
    assert say_refusal(full) == (
        "results.csv: No space left on device; make room on the disk, or choose another one"
    )
    assert say_refusal(OSError("in words")) == "in words"
    assert say_refusal(OSError(errno.EIO, "Input/output error")) == "Input/output error"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("command", [("run",), ("report", "x"), ("panel", "x"), ("evaluate", "x")])
def test_every_command_ends_in_one_line(project, monkeypatch, number, command):  # noqa: F811
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "/some/place")

    for place in ("find_run", "find_folder", "make_config"):
        monkeypatch.setattr(f"rahelpers.cli.main.{place}", refuse)
    result = call(*command)
    assert result.exit_code == 1 and result.exception.__class__ is SystemExit
    assert "/some/place: " in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("run",), ("report", "x"), ("panel", "x"), ("evaluate", "x")])
def test_ctrl_c_is_one_friendly_line(project, monkeypatch, command):  # noqa: F811
    def stop(*_, **__):
        raise KeyboardInterrupt

    for place in ("find_run", "find_folder", "make_config"):
        monkeypatch.setattr(f"rahelpers.cli.main.{place}", stop)
    result = call(*command)
    assert result.exit_code == 130 and "stopped" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_ctrl_c_while_python_loads_the_command_is_no_traceback(tmp_path):
    program = """
import builtins, sys
load = builtins.__import__
def interrupted(name, *more):
    if name.startswith("click"):
        raise KeyboardInterrupt
    return load(name, *more)
builtins.__import__ = interrupted
from rahelpers.__main__ import start
start()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 130 and done.stderr == "\nstopped\n"


SLEEPY = """import time, pathlib
pathlib.Path(r"{marker}").write_text("1")
time.sleep(60)"""


@pytest.mark.slow
def test_ctrl_c_stops_a_run_and_its_kernel(project):  # noqa: F811
    import nbformat
    import psutil

    from tests.cli.test_main import notebook

    marker = project / "marker"
    book = notebook(SLEEPY.format(marker=marker))
    nbformat.write(book, project / "notebooks" / "00_start_here.ipynb")
    running = subprocess.Popen(
        [sys.executable, "-m", "rahelpers", "run", "--profile", "smoke"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 300
    while not marker.exists() and time.monotonic() < until:
        time.sleep(0.1)
    kernels = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert said == "\nstopped; run the same command again to resume\n"
    assert running.returncode in (130, -signal.SIGINT) and kernels
    assert not psutil.wait_procs(kernels, timeout=20)[1], "the kernel works on, unseen"


def test_a_drive_without_locks_is_written_and_says_so(project, monkeypatch):  # noqa: F811
    """NFS without its lock daemon (ENOLCK), and chmod on CIFS or NTFS (EPERM)."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def no_chmod(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, no_chmod)
    result = call("run", "--profile", "smoke")
    assert result.exit_code == 0, result.output
    assert "knows no locks" in result.output and result.output.count("knows no locks") == 1
    assert check_writing(project).state == "warn"


def test_a_checkout_in_a_folder_with_braces_runs(project, monkeypatch):  # noqa: F811
    """papermill fills in what stands between braces in a path."""
    moved = project / "course {2026} {} 100%"
    moved.mkdir()
    (project / "notebooks").rename(moved / "notebooks")
    monkeypatch.chdir(moved)
    result = call("run", "--profile", "smoke")
    assert result.exit_code == 0, result.output
    assert (moved / "runs/smoke-phantom/notebooks/01_curate_data.ipynb").exists()


@pytest.mark.slow
def test_settings_for_other_work_do_not_stop_a_run(project, tmp_path):  # noqa: F811
    """All at once, a start-up file of IPython that fails and a closed home among them."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import os; os._exit(3)")
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    settings = {
        **{"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        **{"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONWARNINGS": "error"},
        **{"IPYTHONDIR": str(tmp_path / "ipython"), "HOME": str(home)},
    }
    done = rahelpers("run", "--profile", "smoke", cwd=project, **settings)
    home.chmod(0o755)
    assert "01_curate_data: done" in done.stdout, done.stdout + done.stderr
    assert "UnicodeEncodeError" not in done.stderr and "Warning" not in done.stderr
    told = rahelpers("run", "--help", cwd=project, **settings)
    assert told.returncode == 0 and "--laterality-column" in told.stdout, told.stderr


def test_doctor_sees_what_a_run_cannot_set(shared, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text('{"floatx": "bfloat16"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    found = check_keras()
    assert found.state == "FAIL" and str(tmp_path / "keras.json") in found.found
    assert "Traceback" not in found.found
    assert check_writing(tmp_path).state == "ok"
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert check_writing(file).state == "FAIL"


def test_a_damaged_config_is_named(project):  # noqa: F811
    for text in ("", "{", "[]", "null"):
        folder = Path(project) / "runs" / "cut"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(text)
        result = call("report", "cut")
        assert result.exit_code == 1, text
        assert (
            "config.json is damaged" in result.stderr
            or "holds no" in result.stderr
            or ("missing" in result.stderr)
        )
