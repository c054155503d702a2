"""Grad-CAM as in the paper, HiResCAM and Grad-CAM++.

All are taken from the logit, at any layer, for many films in one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch
from rahelpers.network.graph import find_output, flatten_network, list_map_layers, require_one_logit

METHODS = ("gradcam", "hirescam", "gradcam++")
# a peak below this share of the terms that were summed is float32 rounding, not heat
NOISE = 1e-6


@dataclass(frozen=True)
class GradCam:
    """Heat maps of some films, as `compute_gradcam` returns them.

    Attributes
    ----------
    maps : float32 array (n, S, S)
        In [0, 1], at the film's size; the peak of each film is 1 before enlarging. All zero where
        flat.
    flat : bool array (n,)
        True where no place holds evidence for the class: there is nothing to show.
    raw : float32 array (n, h, w)
        At the layer's size, before ReLU and scaling; below 0 is evidence against the class.
    """

    maps: np.ndarray
    flat: np.ndarray
    raw: np.ndarray


@lru_cache(maxsize=24)
def _traced(
    model: keras.Model, layer_name: str, method: str
) -> tf.types.experimental.ConcreteFunction:
    """Trace one graph per network, layer and method: a second film does not trace again."""
    flat = flatten_network(model)
    both = keras.Model(flat.input, [find_output(flat, layer_name), flat.output])

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *flat.input_shape[1:]), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]
    )
    def raw_maps(films: tf.Tensor, sign: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            # Watching the films records everything behind them, so that a layer is explained even
            # where its maps are not the only path to the logit.
            tape.watch(films)
            activation, logit = both(films, training=False)
            evidence = sign * tf.cast(logit, tf.float32)
        gradient = tf.cast(tape.gradient(evidence, activation), tf.float32)
        activation = tf.cast(activation, tf.float32)
        terms = _weigh(method, gradient, activation) * activation
        size_of_terms = tf.reduce_max(tf.reduce_sum(tf.abs(terms), axis=-1), axis=(1, 2))
        return tf.reduce_sum(terms, axis=-1), size_of_terms

    # a concrete function is a single graph: it can neither retrace nor warn about retracing
    return raw_maps.get_concrete_function()


def _weigh(method: str, gradient: tf.Tensor, activation: tf.Tensor) -> tf.Tensor:
    """Weight each map, or each of its cells; both arguments are (n, h, w, channels)."""
    if method == "gradcam":
        return tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)  # Eq. 1
    if method == "hirescam":
        return gradient
    # Grad-CAM++, Eq. 19. With Y = exp(S), the derivatives of Y are exp(S) times powers of those of
    # S; exp(S) scales the whole map and is left out. Their ReLU keeps only what raises the logit.
    squared, cubed = gradient**2, gradient**3
    total = tf.reduce_sum(activation, axis=(1, 2), keepdims=True)
    alpha = tf.math.divide_no_nan(squared, 2 * squared + total * cubed)
    return tf.reduce_sum(alpha * tf.nn.relu(gradient), axis=(1, 2), keepdims=True)


def compute_gradcam(
    model: keras.Model,
    images: np.ndarray,
    layer_name: str,
    positive: bool = True,
    method: str = "gradcam",
    batch_size: int = 16,
) -> GradCam:
    """Compute class activation maps of the logit.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with or without a nested base; ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
        A layer with a stack of maps; a layer inside a nested base keeps its own name. Where several
        layers feed the head, the map shows only what passes through this one.
    positive : bool
        True: evidence for the positive class. False: evidence for the negative class, whose logit
        is the same with the sign changed.
    method : {'gradcam', 'hirescam', 'gradcam++'}
        How the maps are weighted: by their mean gradient; cell by cell by the gradient there
        (faithful: before mean pooling and one dense unit, the raw map sums to the logit without its
        bias); by a weighted mean over the cells that raise the logit.
    batch_size : int

    Returns
    -------
    GradCam

    Raises
    ------
    ValueError
        If the layer or method does not exist, the network does not end in one logit, the films do
        not fit the network (`as_batch`), or a map holds values that are not finite.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2 (arXiv 1610.02391). Draelos & Carin,
    HiResCAM, 2020 (arXiv 2011.08891). Chattopadhyay et al., Grad-CAM++, WACV 2018, Eq. 19 (arXiv
    1710.11063).

    Examples
    --------
    >>> from rahelpers import compute_gradcam, load_bundle, load_cohort
    >>> bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    >>> films = load_cohort(run).images[:3]
    >>> cam = compute_gradcam(bundle.model, films, bundle.info["gradcam_layer"])
    >>> cam.maps.shape, cam.raw.shape, cam.flat.shape
    ((3, 48, 48), (3, 3, 3), (3,))
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    require_one_logit(model)
    names = list_map_layers(model)
    if layer_name not in names:
        raise ValueError(
            f"layer_name={layer_name!r} has no spatial map in this network; expected one of"
            f" {', '.join(names)}"
        )
    films = as_batch(images, model)
    function, sign = _traced(model, layer_name, method), tf.constant(1.0 if positive else -1.0)
    found = [
        function(tf.constant(films[i : i + batch_size]), sign)
        for i in range(0, len(films), batch_size)
    ]
    raw, size_of_terms = (np.concatenate([f[k].numpy() for f in found]) for k in (0, 1))
    if not np.isfinite(raw).all():
        raise ValueError(
            f"layer {layer_name} gives a map that is not finite: expected finite numbers; the"
            " weights of the network are damaged, train it again"
        )
    flat = ~(raw.max(axis=(1, 2)) > NOISE * size_of_terms)
    maps = scale_maps(raw, films.shape[1])
    maps[flat] = 0
    return GradCam(maps, flat, raw)


def scale_maps(raw: np.ndarray, side: int) -> np.ndarray:
    """Scale raw maps for display: cut below 0 (Eq. 2), scale the peak to 1, enlarge to the film.

    Parameters
    ----------
    raw : float array (n, h, w)
    side : int
        Side of the film, S, in pixels.

    Returns
    -------
    float32 array (n, S, S) in [0, 1]
    """
    heat = np.maximum(raw, 0).astype(np.float32)
    peak = heat.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)
    if raw.shape[1:] == (side, side):
        return scaled
    return np.stack([cv2.resize(m, (side, side), interpolation=cv2.INTER_LINEAR) for m in scaled])
