"""TensorFlow without its start-up noise. Every module that needs TensorFlow imports it from here."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
    """File descriptor 2 points at the null device: the C++ lines of the first import obey no environment variable.

    Python errors still surface, because exceptions do not travel through descriptor 2.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _no_native_stderr():
    import keras
    import tensorflow as tf

    tf.zeros(1)  # the first operation prints its own lines

__all__ = ["keras", "tf"]
