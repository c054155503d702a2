"""Keep from stderr what native libraries print there past Python's warnings."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Point file descriptor 2 at the null device for a while.

    Python's errors still surface, because exceptions do not pass through it.
    """
    with _LOCK:  # of two threads at once, the second would restore what the first had silenced
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr to silence
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
