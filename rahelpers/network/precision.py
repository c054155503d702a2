"""Number formats: 16-bit products where this machine has them in hardware, 32-bit numbers where
exactness matters more than speed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rahelpers.network.backend import keras, tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # Linux's names of the instructions that multiply bfloat16


def choose_precision(asked: str) -> str:
    """The format that a training computes in: `asked`, or for 'auto' what is fast here.

    Returns
    -------
    {'float32', 'bfloat16', 'float16'}
        auto: float16 on a GPU, bfloat16 on a CPU with instructions for it, else float32. Weights
        are float32 in all three.
    """
    if asked != "auto":
        return asked
    if tf.config.list_physical_devices("GPU"):
        return "float16"
    cpu = Path("/proc/cpuinfo")
    return (
        "bfloat16"
        if cpu.exists() and any(flag in cpu.read_text() for flag in CPU_FLAGS)
        else "float32"
    )


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers built inside compute in `precision`; those that are told a dtype of their own keep it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
