"""Grad-CAM as in the paper, HiResCAM and Grad-CAM++: from the logit, at any layer, for many films
in one call.
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
# a peak below this share of the terms that were added up is float32's rounding, not heat
NOISE = 1e-6


@dataclass(frozen=True)
class GradCam:
    """Heat maps of some films.

    Attributes
    ----------
    maps : float32 array (n, S, S)
        In [0, 1], at the film's size; each film's peak is 1 before it is enlarged. All zero where
        flat.
    flat : bool array (n,)
        True where no place speaks for the class: there is nothing to show.
    raw : float32 array (n, h, w)
        At the layer's size, before ReLU and scaling: below 0 a place speaks against the class.
    """

    maps: np.ndarray
    flat: np.ndarray
    raw: np.ndarray


@lru_cache(maxsize=24)
def _traced(
    model: keras.Model, layer_name: str, method: str
) -> tf.types.experimental.ConcreteFunction:
    """One traced call per network, layer and method: a second film does not trace again."""
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
            tape.watch(
                films
                # so that what lies behind is recorded; a layer whose map is not the only way to the
                # logit is explained too
            )
            activation, logit = both(films, training=False)
            evidence = sign * tf.cast(logit, tf.float32)
        gradient = tf.cast(tape.gradient(evidence, activation), tf.float32)
        activation = tf.cast(activation, tf.float32)
        terms = _weigh(method, gradient, activation) * activation
        return tf.reduce_sum(terms, axis=-1), tf.reduce_max(
            tf.reduce_sum(tf.abs(terms), axis=-1), axis=(1, 2)
        )

    return (
        raw_maps.get_concrete_function()
    )  # one call, one graph: nothing that could trace again, or warn of it


def _weigh(method: str, gradient: tf.Tensor, activation: tf.Tensor) -> tf.Tensor:
    """Weight of each map, or of each of its cells; both arguments (n, h, w, channels)."""
    if method == "gradcam":
        return tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)  # Eq. 1
    if method == "hirescam":
        return gradient
    # Grad-CAM++, Eq. 19. With Y = exp(S), the derivatives of Y are exp(S) times powers of S's;
    # exp(S) scales the whole map, and is left out
    squared, cubed = gradient**2, gradient**3
    alpha = tf.math.divide_no_nan(
        squared, 2 * squared + tf.reduce_sum(activation, axis=(1, 2), keepdims=True) * cubed
    )
    return tf.reduce_sum(
        alpha * tf.nn.relu(gradient), axis=(1, 2), keepdims=True
    )  # their ReLU: only what raises the logit


def compute_gradcam(
    model: keras.Model,
    images: np.ndarray,
    layer_name: str,
    positive: bool = True,
    method: str = "gradcam",
    batch_size: int = 16,
) -> GradCam:
    """Class activation maps of the logit.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, its base nested or not; ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
        A layer with a stack of maps; one inside a nested base is named as there. Where several
        layers feed the head, the map shows what goes through this one alone.
    positive : bool
        True: evidence for the positive class. False: for the negative one, whose logit is minus the
        positive one's.
    method : {'gradcam', 'hirescam', 'gradcam++'}
        How the maps are weighed: by their mean gradient; cell by cell by the gradient there
        (faithful: behind mean pooling and one dense unit the raw map adds up to the logit without
        its bias); by a mean over the cells that raise the logit.
    batch_size : int

    Returns
    -------
    GradCam

    Raises
    ------
    ValueError
        If the layer or method does not exist, the network does not end in one logit, the films are
        not what it reads (`as_batch`), or a map holds values that are not finite.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2 (arXiv 1610.02391). Draelos & Carin,
    HiResCAM, 2020 (arXiv 2011.08891). Chattopadhyay et al., Grad-CAM++, WACV 2018, Eq. 19 (arXiv
    1710.11063).
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
            f"layer {layer_name} gives a map that is not finite: the network's weights or"
            " activations are damaged"
        )
    flat = ~(raw.max(axis=(1, 2)) > NOISE * size_of_terms)
    maps = scale_maps(raw, films.shape[1])
    maps[flat] = 0
    return GradCam(maps, flat, raw)


def scale_maps(raw: np.ndarray, side: int) -> np.ndarray:
    """Raw maps as they are shown: what is negative is cut (Eq. 2), the peak becomes 1, and the map
    gets the film's size.

    Parameters
    ----------
    raw : float array (n, h, w)
    side : int
        S, pixels.

    Returns
    -------
    float32 array (n, S, S) in [0, 1]
    """
    heat = np.maximum(raw, 0).astype(np.float32)
    peak = heat.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)
    return np.stack(
        [
            (
                m
                if m.shape == (side, side)
                else cv2.resize(m, (side, side), interpolation=cv2.INTER_LINEAR)
            )
            for m in scaled
        ]
    )
