"""The machine's matrix products, and the networks beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from rahelpers.bench import Sizes, as_row, as_table, time_in_turn
from rahelpers.tensorflow_quiet import keras, tf
from rahelpers.vgg import build_network, change_precision

FORMATS = {"fp32": "float32", "bf16": "bfloat16"}
FORWARD_TARGETS = {"fp32": 0.95, "bf16": 1.6}  # of the fp32 matrix-product peak


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of one film's way forward: two for each multiplication and addition of convolutions and dense layers, nothing else.

    Parameters
    ----------
    model : keras.Model
        Flat and functional.
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def count_training_flops(model: keras.Model) -> int:
    """The same of one film's training step: forward, the gradient of the weights, and the gradient of the input where something before it learns."""
    total, learns = 0, False
    for layer in model.layers:
        flops = _layer_flops(layer)
        total += flops * (1 + bool(layer.trainable_weights) + learns)
        learns |= bool(layer.trainable_weights)
    return total


def _layer_flops(layer: keras.Layer) -> int:
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    places = int(np.prod(layer.output.shape[1:-1]))
    return 2 * places * int(np.prod(layer.kernel.shape))


def matmul_work(side: int, dtype: str) -> Callable[[], object]:
    """A product of two square matrices, and its operations: 2 side³."""
    rng = tf.random.Generator.from_seed(0)
    a, b = (tf.cast(rng.normal((side, side)), dtype) for _ in range(2))
    return lambda: tf.linalg.matmul(a, b)


@cache
def find_best_side(sides: tuple[int, ...], dtype: str, rounds: int) -> tuple[int, float]:
    """The side at which this machine multiplies fastest, and its FLOP/s."""
    seconds = time_in_turn({str(side): matmul_work(side, dtype) for side in sides}, rounds)
    return max(((side, 2 * side**3 / seconds[str(side)]) for side in sides), key=lambda found: found[1])


def measure_peak(sizes: Sizes) -> pd.DataFrame:
    """Matrix products in fp32 and bf16."""
    rows = []
    for name, dtype in FORMATS.items():
        side, speed = find_best_side(sizes.matmul_sides, dtype, sizes.rounds)
        rows.append(as_row(f"matrix product {name}, side {side}, the best of {', '.join(map(str, sizes.matmul_sides))}", speed / 1e9, "GFLOP/s"))
    return as_table(rows)


def forward_work(model: keras.Model, films: int, seed: int = 0) -> Callable[[], object]:
    """One traced call of the network on random films."""
    x = tf.random.stateless_uniform((films, *model.input_shape[1:]), [seed, 0])
    traced = tf.function(lambda films: model(films, training=False)).get_concrete_function(x)
    return lambda: traced(x).numpy()


def measure_forward(sizes: Sizes) -> pd.DataFrame:
    """Each network forward, in turn with the fp32 matrix product."""
    rows = []
    side, _ = find_best_side(sizes.matmul_sides, "float32", sizes.rounds)
    for architecture, pixels, films in (
        ("vgg_small", sizes.small_pixels, 2 * sizes.batch),
        ("vgg16", sizes.pixels, sizes.batch),
        ("vgg19", sizes.pixels, sizes.batch),
    ):
        exact = build_network(architecture, pixels)
        works = {name: forward_work(change_precision(exact, dtype), films) for name, dtype in FORMATS.items()}
        seconds = time_in_turn({"peak": matmul_work(side, "float32"), **works}, sizes.rounds)
        peak, flops = 2 * side**3 / seconds["peak"], count_flops(exact)
        for name in FORMATS:
            speed = films / seconds[name]
            what = f"{architecture} forward {name}, {pixels} px, batches of {films}"
            rows.append(as_row(what, speed, "images/s"))
            rows.append(as_row(f"{what}, {flops / 1e9:.2f} GFLOP a film", speed * flops / 1e9, "GFLOP/s"))
            target = FORWARD_TARGETS[name] if architecture == "vgg16" else None
            rows.append(as_row(f"{what}, of the fp32 peak measured in turn", speed * flops / peak, "times", target))
    return as_table(rows)
