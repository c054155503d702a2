"""Grad-CAM as in the paper, from the logit; and tf-explain's, for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from rahelpers.artifacts import Run
from rahelpers.inference import as_batch
from rahelpers.tensorflow_quiet import keras, tf


@dataclass(frozen=True)
class GradCam:
    """Heat maps of some films.

    Attributes
    ----------
    maps : float32 array (n, S, S)
        In [0, 1]; the largest value of a film is 1. All zero where flat.
    flat : bool array (n,)
        True where no place speaks for the class: there is nothing to show.
    """

    maps: np.ndarray
    flat: np.ndarray


@lru_cache(maxsize=8)
def _traced(model: keras.Model, layer_name: str) -> tf.types.experimental.PolymorphicFunction:
    """One traced call per network and layer: a second film does not trace again."""
    layer = model.get_layer(layer_name)
    body, head = keras.Model(model.input, layer.output), keras.Model(layer.output, model.output)

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32), tf.TensorSpec((), tf.float32)])
    def raw_maps(films: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        activation = body(films, training=False)
        with tf.GradientTape() as tape:
            tape.watch(activation)
            evidence = sign * head(activation, training=False)
        gradient = tape.gradient(evidence, activation)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)  # Eq. 1
        return tf.nn.relu(tf.reduce_sum(weights * activation, axis=-1))  # Eq. 2

    return raw_maps


def compute_gradcam(model: keras.Model, images: np.ndarray, layer_name: str, positive: bool = True, batch_size: int = 16) -> GradCam:
    """Grad-CAM of the logit.

    Parameters
    ----------
    model : keras.Model
        Flat functional network that ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
        A layer with a spatial map.
    positive : bool
        True: evidence for the positive class. False: for the negative one.
    batch_size : int

    Returns
    -------
    GradCam

    Raises
    ------
    ValueError
        If the layer does not exist or has no spatial map.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2 (arXiv 1610.02391).
    """
    names = [layer.name for layer in model.layers if len(getattr(layer.output, "shape", ())) == 4]
    if layer_name not in names:
        raise ValueError(f"layer_name={layer_name!r} has no spatial map in this network; expected one of {', '.join(names)}")
    function, sign = _traced(model, layer_name), tf.constant(1.0 if positive else -1.0)
    films = as_batch(images)
    raw = np.concatenate([function(tf.constant(films[i : i + batch_size]), sign).numpy() for i in range(0, len(films), batch_size)])
    peak = raw.max(axis=(1, 2))
    flat = ~(peak > 0)
    scaled = np.where(flat[:, None, None], 0.0, raw / np.where(flat, 1.0, peak)[:, None, None])
    side = images.shape[1]
    maps = np.stack([cv2.resize(m.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) for m in scaled])
    return GradCam(maps, flat)


class _TwoClassView:
    """What tf-explain asks of a model: two class scores, `inputs` as one tensor, and layers by name."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        logit = model.output
        two = keras.layers.Concatenate(name="two_logits")([-logit / 2, logit / 2])
        self.inputs, self.output = model.inputs[0], two

    def get_layer(self, name: str) -> keras.layers.Layer:
        return self._model.get_layer(name)


def tf_explain_gradcam(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    """The raw class activation maps that tf-explain 0.3.1 computes for the positive class.

    Guided gradients, its default, are off: they are not Grad-CAM. It leaves out the final ReLU.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str

    Returns
    -------
    float32 array (n, h, w)
        At the size of the layer's map; may be negative.
    """
    from tf_explain.core.grad_cam import GradCAM

    view = _TwoClassView(model)
    activation, gradient = GradCAM.get_gradients_and_filters(view, tf.constant(as_batch(images)), layer_name, 1, False)
    return np.stack([np.asarray(m) for m in GradCAM.generate_ponderated_output(activation, gradient)])


def explain_gradcam(run: Run) -> dict:
    """Step 04: heat maps of some test films, scored against the lesions where the source knows them. Returns `scores.json`."""
    import json

    from rahelpers.curation import load_cohort
    from rahelpers.inference import load_bundle
    from rahelpers.scoreboard import choose_films, explain_each, score_maps

    config = run.config
    step = run.step("gradcam", config.subset("seed", "n_explain", "n_bootstrap"))
    if not step.is_done():
        cohort, bundle = load_cohort(run), load_bundle(run.file("train", "bundle/bundle.json").parent)
        rows = choose_films(cohort.manifest, config.n_explain, config.seed)

        def one(row: int) -> dict[str, np.ndarray]:
            cam = compute_gradcam(bundle.model, cohort.images[row : row + 1], bundle.info["gradcam_layer"])
            return {"map": cam.maps[0], "flat": cam.flat[0]}

        results = explain_each(rows, step.partial(), one)
        maps, flat = np.stack([r["map"] for r in results]), np.array([bool(r["flat"]) for r in results])
        table, scores = score_maps(cohort, rows, maps, flat, config.n_bootstrap, config.seed)
        step.write("maps.npy", lambda p: np.save(p, maps))
        step.write("films.csv", lambda p: table.to_csv(p, index=False))
        step.write_json("scores.json", scores | {"title": config.title, "layer": bundle.info["gradcam_layer"]})
        step.finish()
    return json.loads(run.file("gradcam", "scores.json").read_text())
