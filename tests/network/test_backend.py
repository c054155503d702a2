"""Keras and TensorFlow start as the course needs them, whatever was set up for other work."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
from rahelpers.network.backend import keras, tf
import numpy as np
print(keras.config.backend(), keras.config.floatx(), keras.config.image_data_format(),
      keras.config.dtype_policy().name, keras.config.epsilon(), keras.config.max_epochs(),
      keras.config.max_steps_per_epoch(), tf.keras.Model is keras.Model)
"""
NEEDED = "tensorflow float32 channels_last float32 1e-07 None None True"
SETTINGS = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}


def start(program=PROGRAM, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_settings_of_a_person_do_not_count(tmp_path):
    """keras.json of older Keras, Hugging Face's TF_USE_LEGACY_KERAS, another backend, limits."""
    text = json.dumps(SETTINGS | {"backend": "jax", "image_dim_ordering": "th"})
    (tmp_path / "keras.json").write_text(text)
    done = start(
        KERAS_HOME=str(tmp_path),
        KERAS_BACKEND="theano",
        TF_USE_LEGACY_KERAS="1",
        KERAS_MAX_EPOCHS="1",
        KERAS_MAX_STEPS_PER_EPOCH="many",
    )
    assert done.stdout.strip() == NEEDED, done.stderr


@pytest.mark.parametrize("text", ['{"floatx": "bfloat16"}', '{"epsilon": 1}', "[]"])
def test_settings_that_keras_refuses_are_named(tmp_path, text):
    (tmp_path / "keras.json").write_text(text)
    done = start(KERAS_HOME=str(tmp_path))
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("OSError: Keras does not start"), done.stderr
    assert f"{tmp_path / 'keras.json'}: correct them, or remove the file" in last


def test_keras_that_runs_on_another_backend_is_refused():
    program = "import keras; keras.config.backend = lambda: 'jax'\n" + PROGRAM
    done = start(program, KERAS_BACKEND="tensorflow")
    assert "Keras was started with the backend jax: import rahelpers before" in done.stderr
