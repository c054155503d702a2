"""What native libraries print past Python's warnings, kept from stderr."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """File descriptor 2 points at the null device. Python's errors still surface: exceptions do not
    travel through it.
    """
    with _LOCK:  # of two threads at once, the second would restore what the first had silenced
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr to keep quiet
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)
