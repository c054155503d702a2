"""A run belongs to one process at a time; the lock does not outlive a killed one."""

import os
import signal
import subprocess
import sys

import pytest

from rahelpers.course.notebooks import RunBusyError, _lock

HOLD = """
import sys, time
from pathlib import Path
from rahelpers.course.notebooks import _lock
with _lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "mine"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(RunBusyError, match="run 'mine' is being written"), _lock(folder):
            pytest.fail("two processes write into one run")
    finally:
        os.kill(holder.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        holder.wait()
        holder.stdout.close()
    for _ in range(2):
        with _lock(folder):
            assert (folder / ".lock").exists()
