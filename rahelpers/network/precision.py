"""Number formats: 16-bit products if the hardware has them, 32-bit numbers where precision matters
more than speed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rahelpers.network.backend import keras, tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # Linux's names of instructions that multiply bfloat16


def choose_precision(asked: str) -> str:
    """Choose the number format of a training: the one asked for, or with 'auto' the fastest.

    Returns
    -------
    {'float32', 'bfloat16', 'float16'}
        With 'auto', float16 on a GPU, bfloat16 on a CPU with instructions for it, and float32
        otherwise. Weights are float32 in all three.
    """
    if asked != "auto":
        return asked
    if tf.config.list_physical_devices("GPU"):
        return "float16"
    cpu = Path("/proc/cpuinfo")
    has_products = cpu.exists() and any(flag in cpu.read_text() for flag in CPU_FLAGS)
    return "bfloat16" if has_products else "float32"


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let layers that are built inside compute in `precision`, unless they have their own dtype."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
