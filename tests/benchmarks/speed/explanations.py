"""Grad-CAM in forward passes, and compared with the packages that people use for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
FASTER = {1: 5.0, BATCH: 3.0}  # films -> factor to be faster than other packages
MOST_PASSES = 1.15
MOST_SECONDS = 0.1


def measure_gradcam(sizes: Sizes) -> pd.DataFrame:
    """Measure maps in fp32 of VGG16 and vgg_small, from films in memory to maps of their size."""
    rows, networks = [], {"vgg16": sizes.training_pixels, "vgg_small": sizes.small_pixels}
    for architecture, pixels in networks.items():
        model = build_network(architecture, pixels)
        layer = gradcam_layer(model)
        for n, faster in FASTER.items():
            films = np.random.default_rng(0).integers(0, 256, (n, pixels, pixels), dtype=np.uint8)
            works: dict[str, Callable[[], object]] = {
                "forward": forward_work(model, n),
                "ours": partial(compute_gradcam, model, films, layer),
                "tf-explain": partial(tf_explain_gradcam, model, films, layer),
            }
            if find_spec("tf_keras_vis"):
                works["tf-keras-vis"] = _keras_vis_work(model, films, layer)
            seconds = time_in_turn(works, 2 * sizes.rounds)

            ours, size = seconds["ours"], "one film" if n == 1 else f"batches of {n}"
            what = f"Grad-CAM of {architecture}, {pixels} px, {size}"
            most_seconds = MOST_SECONDS if (architecture, n) == ("vgg_small", 1) else None
            passes, most_passes = ours / seconds["forward"], MOST_PASSES if n == 1 else None
            rows += [
                as_row(f"{what}: seconds per film", ours / n, "s", most_seconds, True),
                as_row(f"{what}: in forward passes", passes, "passes", most_passes, True),
            ]
            rows += [
                as_row(f"{what}: faster than {other}", seconds[other] / ours, "times", faster)
                for other in works
                if other.startswith("tf-")
            ]
    if not find_spec("tf_keras_vis"):
        rows.append(as_note("Grad-CAM of tf-keras-vis", "not installed"))
    return as_table(rows)


def _keras_vis_work(model: keras.Model, films: np.ndarray, layer: str) -> Callable[[], object]:
    from tf_keras_vis.gradcam import Gradcam

    explainer, films = Gradcam(model, clone=False), films.astype(np.float32)[..., None] / 255.0
    return lambda: explainer(lambda logit: logit[:, 0], films, penultimate_layer=layer)
