"""TensorFlow and Keras as this package needs them. Every module imports them from here.

They start without their messages, and without what a person has set up for other work: another
backend or number format in keras.json, the old Keras 2, limits for debugging.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from rahelpers.core.native_stderr import silence_native_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# set in the environment, so that processes that this one starts have it too
os.environ["KERAS_BACKEND"] = "tensorflow"
for setting in (
    "TF_USE_LEGACY_KERAS",  # Hugging Face advises it; it makes tf.keras, and tf-explain, Keras 2
    "KERAS_NNX_ENABLED",
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
):
    os.environ.pop(setting, None)
# no environment variable turns off what the C++ code prints during the first import
with contextlib.nullcontext() if "tensorflow" in sys.modules else silence_native_stderr():
    try:
        import keras
    except (ValueError, TypeError, AttributeError, AssertionError, OSError) as error:
        # Keras reads this file while it is imported, and nothing turns that off
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        raise OSError(
            f"Keras does not start: {error}. Its settings are in {home / 'keras.json'}: correct"
            " them, or remove the file"
        ) from None
    import tensorflow as tf

    tf.zeros(1)  # the first operation prints lines of its own
if keras.config.backend() != "tensorflow":
    raise OSError(
        f"Keras was started with the backend {keras.config.backend()}: import rahelpers before"
        " keras, or set KERAS_BACKEND=tensorflow"
    )
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
keras.config.set_dtype_policy("float32")
keras.config.set_max_epochs(None)
keras.config.set_max_steps_per_epoch(None)
# TensorFlow suspects a faulty loop where a function is traced often; here, each of many networks is
# traced once
tf.get_logger().addFilter(
    lambda record: "triggered tf.function retracing" not in record.getMessage()
)

__all__ = ["keras", "tf"]
