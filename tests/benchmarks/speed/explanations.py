"""Grad-CAM in forward passes, and beside the packages that people use for it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pandas as pd

from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.second_opinion import tf_explain_gradcam
from rahelpers.network.backend import keras
from rahelpers.network.vgg import build_network, gradcam_layer
from tests.benchmarks.speed.networks import forward_work
from tests.benchmarks.speed.suite import Sizes, as_note, as_row, as_table, time_in_turn

BATCH = 16
FASTER = {1: 5.0, BATCH: 3.0}  # films -> how many times faster than other packages
MOST_PASSES = 1.15
MOST_SECONDS = 0.1


def measure_gradcam(sizes: Sizes) -> pd.DataFrame:
    """Maps in fp32, from films in memory to maps at the films' size, for VGG16 and vgg_small."""
    rows = []
    for architecture, pixels in (
        ("vgg16", sizes.training_pixels),
        ("vgg_small", sizes.small_pixels),
    ):
        model = build_network(architecture, pixels)
        layer = gradcam_layer(model)
        for n, faster in FASTER.items():
            films = np.random.default_rng(0).integers(0, 256, (n, pixels, pixels), dtype=np.uint8)
            works = {
                "forward": forward_work(model, n),
                "ours": lambda films=films, model=model, layer=layer: compute_gradcam(
                    model, films, layer
                ),
                "tf-explain": lambda films=films, model=model, layer=layer: tf_explain_gradcam(
                    model, films, layer
                ),
            }
            if find_spec("tf_keras_vis"):
                works["tf-keras-vis"] = _keras_vis_work(model, films, layer)
            seconds = time_in_turn(works, 2 * sizes.rounds)
            what = (
                f"Grad-CAM of {architecture}, {pixels} px,"
                f" {'one film' if n == 1 else f'batches of {n}'}"
            )
            rows.append(
                as_row(
                    f"{what}: seconds a film",
                    seconds["ours"] / n,
                    "s",
                    MOST_SECONDS if (architecture, n) == ("vgg_small", 1) else None,
                    True,
                )
            )
            rows.append(
                as_row(
                    f"{what}: in forward passes",
                    seconds["ours"] / seconds["forward"],
                    "passes",
                    MOST_PASSES if n == 1 else None,
                    True,
                )
            )
            rows += [
                as_row(
                    f"{what}: faster than {other}",
                    seconds[other] / seconds["ours"],
                    "times",
                    faster,
                )
                for other in works
                if "tf-" in other
            ]
    if not find_spec("tf_keras_vis"):
        rows.append(as_note("Grad-CAM of tf-keras-vis", "not installed"))
    return as_table(rows)


def _keras_vis_work(model: keras.Model, films: np.ndarray, layer: str) -> Callable[[], object]:
    from tf_keras_vis.gradcam import Gradcam

    explainer, films = Gradcam(model, clone=False), films.astype(np.float32)[..., None] / 255.0
    return lambda: explainer(lambda logit: logit[:, 0], films, penultimate_layer=layer)
