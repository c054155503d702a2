"""TensorFlow without its start-up noise. Every module that needs TensorFlow imports it from here."""

from __future__ import annotations

import contextlib
import os
import sys

from rahelpers.core.native_stderr import silence_native_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# the C++ lines of the first import obey no environment variable
with contextlib.nullcontext() if "tensorflow" in sys.modules else silence_native_stderr():
    import keras
    import tensorflow as tf

    tf.zeros(1)  # the first operation prints its own lines
# each network is traced once; a run with many networks is no mistake of a loop, which this advice
# takes it for
tf.get_logger().addFilter(
    lambda record: "triggered tf.function retracing" not in record.getMessage()
)

__all__ = ["keras", "tf"]
