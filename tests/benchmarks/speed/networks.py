"""Matrix products of this machine, and the networks compared with them and with PyTorch."""

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
FORWARD_TARGETS = {"fp32": 0.95, "bf16": 1.6}  # VGG16, of the best fp32 matrix product
TRAINING_TARGET = 1.0  # VGG16, of PyTorch's speed


def count_flops(model: keras.Model) -> int:
    """Count the floating-point operations of one film's forward pass.

    Two for each multiplication and addition of convolutions and dense layers, nothing else.

    Parameters
    ----------
    model : keras.Model
        Flat and functional.
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def count_training_flops(model: keras.Model) -> int:
    """Count the floating-point operations of one film's training step.

    Forward, the gradient of the weights, and the gradient of the input if something before it
    learns.
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
    """Multiply two square matrices: 2 side³ operations."""
    rng = tf.random.Generator.from_seed(0)
    a, b = (tf.cast(rng.normal((side, side)), dtype) for _ in range(2))
    return lambda: tf.linalg.matmul(a, b)


@cache
def find_best_side(sides: tuple[int, ...], dtype: str, rounds: int) -> tuple[int, float]:
    """Find the side at which this machine multiplies fastest, and its FLOP/s."""
    seconds = time_in_turn({str(side): matmul_work(side, dtype) for side in sides}, rounds)
    return max(
        ((side, 2 * side**3 / seconds[str(side)]) for side in sides), key=lambda found: found[1]
    )


def measure_peak(sizes: Sizes) -> pd.DataFrame:
    """Measure matrix products in fp32 and bf16."""
    rows, sides = [], ", ".join(map(str, sizes.matmul_sides))
    for name, dtype in FORMATS.items():
        side, speed = find_best_side(sizes.matmul_sides, dtype, sizes.rounds)
        what = f"matrix product {name}, side {side}, the best of {sides}"
        rows.append(as_row(what, speed / 1e9, "GFLOP/s"))
    return as_table(rows)


def draw_batch(pixels: int, films: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw random films, float32 (n, S, S, 1) in [0, 1], and labels, float32 (n, 1)."""
    x = np.random.default_rng(0).random((films, pixels, pixels, 1), dtype=np.float32)
    return x, (np.arange(films) % 2).astype(np.float32)[:, None]


def forward_work(model: keras.Model, films: int) -> Callable[[], object]:
    """Call the traced network on random films."""
    x = tf.constant(draw_batch(model.input_shape[1], films)[0])
    traced = tf.function(lambda films: model(films, training=False)).get_concrete_function(x)
    return lambda: traced(x).numpy()


def training_work(model: keras.Model, films: int) -> Callable[[], object]:
    """Take one step of Adam on random films."""
    model.compile(OnePassAdam(1e-5), keras.losses.BinaryCrossentropy(from_logits=True))
    x, y = map(tf.constant, draw_batch(model.input_shape[1], films))
    return lambda: model.train_on_batch(x, y)


def measure_forward(sizes: Sizes) -> pd.DataFrame:
    """Measure each network forward, in turn with the fp32 matrix product and with PyTorch."""
    rows = []
    for architecture, pixels, films in (
        ("vgg_small", sizes.small_pixels, 2 * sizes.batch),
        *((name, sizes.pixels, sizes.batch) for name in sizes.large),
    ):
        rows += _measure(f"{architecture} forward", architecture, pixels, films, sizes, False)
    return as_table(rows + _torch_note())


def measure_training(sizes: Sizes) -> pd.DataFrame:
    """Measure a training step of each network, in turn with the fp32 matrix product and PyTorch."""
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
    if find_spec("torch"):
        return []
    return [as_note("the same in native PyTorch", "torch is not installed")]


def _measure(
    name: str, architecture: str, pixels: int, films: int, sizes: Sizes, learns: bool
) -> list[dict[str, object]]:
    # the matrix product, and the network in both formats, with and without PyTorch
    side, _ = find_best_side(sizes.matmul_sides, "float32", sizes.rounds)
    works = {"peak": matmul_work(side, "float32")}
    for number, dtype in FORMATS.items():
        # Batch norm in one pass, as in `fit_network` and `change_precision`. In fp32, the saved
        # network scores films, without it.
        with computing_in(dtype):
            model = build_network(architecture, pixels, one_pass=learns or number == "bf16")
        works[number] = (training_work if learns else forward_work)(model, films)
        if find_spec("torch"):
            from tests.benchmarks.speed import torch_peer

            work = torch_peer.training_work if learns else torch_peer.forward_work
            works[f"{number} torch"] = work(model, *draw_batch(pixels, films), number)
    seconds = time_in_turn(works, sizes.rounds)

    # speeds, absolute and compared
    flops = (count_training_flops if learns else count_flops)(model)
    forward_target = FORWARD_TARGETS if (architecture, learns) == ("vgg16", False) else {}
    training_target = TRAINING_TARGET if (architecture, learns) == ("vgg16", True) else None
    peak, rows = 2 * side**3 / seconds["peak"], []
    for number in FORMATS:
        what = f"{name} {number}, {pixels} px, batches of {films}"
        speed = films / seconds[number]
        work, share = f"{what}, {flops / 1e9:.2f} GFLOP per film", speed * flops / peak
        rows += [
            as_row(what, speed, "images/s"),
            as_row(work, speed * flops / 1e9, "GFLOP/s"),
            as_row(
                f"{what}, of the fp32 matrix product in turn",
                share,
                "times",
                forward_target.get(number),
            ),
        ]
        if torch := seconds.get(f"{number} torch"):
            ratio = torch / seconds[number]
            rows += [
                as_row(f"{what}, PyTorch", films / torch, "images/s"),
                as_row(f"{what}, of PyTorch's speed", ratio, "times", training_target),
            ]
    return rows
