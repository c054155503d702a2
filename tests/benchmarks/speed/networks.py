"""The machine's matrix products, and the networks beside them and beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np
import pandas as pd

from rahelpers.network.backend import keras, tf
from rahelpers.network.precision import computing_in
from rahelpers.network.vgg import build_network
from rahelpers.training.fitting import OnePassAdam
from tests.benchmarks.speed.suite import Sizes, as_note, as_row, as_table, time_in_turn

FORMATS = {"fp32": "float32", "bf16": "bfloat16"}
FORWARD_TARGETS = {"fp32": 0.95, "bf16": 1.6}  # VGG16, of the fp32 matrix-product peak
TRAINING_TARGET = 1.0  # VGG16, of PyTorch's speed


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of one film's way forward: two for each multiplication and addition
    of convolutions and dense layers, nothing else.

    Parameters
    ----------
    model : keras.Model
        Flat and functional.
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def count_training_flops(model: keras.Model) -> int:
    """The same of one film's training step: forward, the gradient of the weights, and the gradient
    of the input where something before it learns.
    """
    total, learns = 0, False
    for layer in model.layers:
        flops = _layer_flops(layer)
        total += flops * (1 + bool(layer.trainable_weights) + learns)
        learns |= bool(layer.trainable_weights)
    return total


def _layer_flops(layer: keras.Layer) -> int:
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    return 2 * int(np.prod(layer.output.shape[1:-1])) * int(np.prod(layer.kernel.shape))


def matmul_work(side: int, dtype: str) -> Callable[[], object]:
    """A product of two square matrices: 2 side³ operations."""
    rng = tf.random.Generator.from_seed(0)
    a, b = (tf.cast(rng.normal((side, side)), dtype) for _ in range(2))
    return lambda: tf.linalg.matmul(a, b)


@cache
def find_best_side(sides: tuple[int, ...], dtype: str, rounds: int) -> tuple[int, float]:
    """The side at which this machine multiplies fastest, and its FLOP/s."""
    seconds = time_in_turn({str(side): matmul_work(side, dtype) for side in sides}, rounds)
    return max(
        ((side, 2 * side**3 / seconds[str(side)]) for side in sides), key=lambda found: found[1]
    )


def measure_peak(sizes: Sizes) -> pd.DataFrame:
    """Matrix products in fp32 and bf16."""
    rows = []
    for name, dtype in FORMATS.items():
        side, speed = find_best_side(sizes.matmul_sides, dtype, sizes.rounds)
        rows.append(
            as_row(
                f"matrix product {name}, side {side}, the best of"
                f" {', '.join(map(str, sizes.matmul_sides))}",
                speed / 1e9,
                "GFLOP/s",
            )
        )
    return as_table(rows)


def draw_batch(pixels: int, films: int) -> tuple[np.ndarray, np.ndarray]:
    """Random films, float32 (n, S, S, 1) in [0, 1], and labels, float32 (n, 1)."""
    return (
        np.random.default_rng(0).random((films, pixels, pixels, 1), dtype=np.float32),
        (np.arange(films) % 2).astype(np.float32)[:, None],
    )


def forward_work(model: keras.Model, films: int) -> Callable[[], object]:
    """One traced call of the network on random films."""
    x = tf.constant(draw_batch(model.input_shape[1], films)[0])
    traced = tf.function(lambda films: model(films, training=False)).get_concrete_function(x)
    return lambda: traced(x).numpy()


def training_work(model: keras.Model, films: int) -> Callable[[], object]:
    """One step of Adam on random films."""
    model.compile(OnePassAdam(1e-5), keras.losses.BinaryCrossentropy(from_logits=True))
    x, y = map(tf.constant, draw_batch(model.input_shape[1], films))
    return lambda: model.train_on_batch(x, y)


def measure_forward(sizes: Sizes) -> pd.DataFrame:
    """Each network forward, in turn with the fp32 matrix product and with PyTorch."""
    rows = []
    for architecture, pixels, films in (
        ("vgg_small", sizes.small_pixels, 2 * sizes.batch),
        *((name, sizes.pixels, sizes.batch) for name in sizes.large),
    ):
        rows += _measure(f"{architecture} forward", architecture, pixels, films, sizes, False)
    return as_table(rows + _torch_note())


def measure_training(sizes: Sizes) -> pd.DataFrame:
    """A step of each whole network, in turn with the fp32 matrix product and with PyTorch."""
    rows = []
    for architecture, pixels in (
        ("vgg_small", sizes.small_pixels),
        *((name, sizes.training_pixels) for name in sizes.large),
    ):
        rows += _measure(
            f"{architecture} training", architecture, pixels, sizes.training_batch, sizes, True
        )
    return as_table(rows + _torch_note())


def _torch_note() -> list[dict[str, object]]:
    return (
        []
        if find_spec("torch")
        else [as_note("the same in native PyTorch", "torch is not installed")]
    )


def _measure(
    name: str, architecture: str, pixels: int, films: int, sizes: Sizes, learns: bool
) -> list[dict[str, object]]:
    side, _ = find_best_side(sizes.matmul_sides, "float32", sizes.rounds)
    works = {"peak": matmul_work(side, "float32")}
    for number, dtype in FORMATS.items():
        with computing_in(
            dtype
            # one pass as in `fit_network` and `change_precision`; what scores in fp32 is the saved
            # network
        ):
            model = build_network(architecture, pixels, one_pass=learns or number == "bf16")
        works[number] = (training_work if learns else forward_work)(model, films)
        if find_spec("torch"):
            from tests.benchmarks.speed import torch_peer

            works[f"{number} torch"] = (
                torch_peer.training_work if learns else torch_peer.forward_work
            )(model, *draw_batch(pixels, films), number)
    flops = (count_training_flops if learns else count_flops)(model)
    seconds = time_in_turn(works, sizes.rounds)
    rows = []
    for number in FORMATS:
        speed, what = films / seconds[number], f"{name} {number}, {pixels} px, batches of {films}"
        rows.append(as_row(what, speed, "images/s"))
        rows.append(
            as_row(f"{what}, {flops / 1e9:.2f} GFLOP a film", speed * flops / 1e9, "GFLOP/s")
        )
        target = FORWARD_TARGETS[number] if (architecture, learns) == ("vgg16", False) else None
        rows.append(
            as_row(
                f"{what}, of the fp32 matrix product in turn",
                speed * flops / (2 * side**3 / seconds["peak"]),
                "times",
                target,
            )
        )
        if f"{number} torch" in seconds:
            target = TRAINING_TARGET if (architecture, learns) == ("vgg16", True) else None
            rows.append(as_row(f"{what}, PyTorch", films / seconds[f"{number} torch"], "images/s"))
            rows.append(
                as_row(
                    f"{what}, of PyTorch's speed",
                    seconds[f"{number} torch"] / seconds[number],
                    "times",
                    target,
                )
            )
    return rows
