"""TensorFlow without its messages at start-up. Every module that needs it imports it from here."""

from __future__ import annotations

import contextlib
import os
import sys

from rahelpers.core.native_stderr import silence_native_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# no environment variable turns off what the C++ code prints during the first import
with contextlib.nullcontext() if "tensorflow" in sys.modules else silence_native_stderr():
    import keras
    import tensorflow as tf

    tf.zeros(1)  # the first operation prints lines of its own
# TensorFlow suspects a faulty loop where a function is traced often; here, each of many networks is
# traced once
tf.get_logger().addFilter(
    lambda record: "triggered tf.function retracing" not in record.getMessage()
)

__all__ = ["keras", "tf"]
