"""Explanations that need no layer: integrated gradients, SmoothGrad and occlusion, all of the
logit.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import cv2
import numpy as np

from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch, predict_logits
from rahelpers.network.graph import flatten_network, require_one_logit


@lru_cache(maxsize=8)
def _traced_gradient(model: keras.Model) -> tf.types.experimental.ConcreteFunction:
    require_one_logit(model)
    flat = flatten_network(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *flat.input_shape[1:]), tf.float32)])
    def gradient(films: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(films)
            logit = flat(films, training=False)
        return tape.gradient(logit, films)

    return gradient.get_concrete_function()


def compute_input_gradient(
    model: keras.Model, films: np.ndarray, batch_size: int = 32
) -> np.ndarray:
    """How the logit moves with each pixel: float32 (n, S, S) in logits per unit of grey, of films
    float32 (n, S, S, 1).
    """
    gradient = _traced_gradient(model)
    return np.concatenate(
        [
            gradient(tf.constant(films[i : i + batch_size])).numpy()
            for i in range(0, len(films), batch_size)
        ]
    )[..., 0]


def compute_integrated_gradients(
    model: keras.Model, images: np.ndarray, steps: int = 16, baseline: float = 0.0
) -> np.ndarray:
    """Integrated gradients: the gradient's mean on the way from an even grey to the film, times how
    far each pixel went.

    The sum over a film is its logit minus the logit of the baseline, but for the error of `steps`.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    steps : int
        Places on the way, in the middle of equal parts.
    baseline : float in [0, 1]
        The grey that the way starts from; 0 is air.

    Returns
    -------
    float32 array (n, S, S)
        In logits; below 0 speaks against the positive class.

    References
    ----------
    Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017 (arXiv 1703.01365), Eq.
    1 and 3.
    """
    places = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    found = []
    for film in as_batch(images, model):
        way = baseline + places[:, None, None, None] * (film - np.float32(baseline))
        found.append(
            (film[..., 0] - np.float32(baseline)) * compute_input_gradient(model, way).mean(axis=0)
        )
    return np.stack(found)


def compute_smoothgrad(
    model: keras.Model, images: np.ndarray, samples: int = 16, noise: float = 0.1, seed: int = 0
) -> np.ndarray:
    """SmoothGrad: the gradient's mean over noisy copies of the film.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    samples : int
    noise : float
        Standard deviation, in units of grey.
    seed : int
        The same noise for every film, whatever stands beside it.

    Returns
    -------
    float32 array (n, S, S)
        In logits per unit of grey. The sign says whether brighter or darker would raise the logit;
        how much a place matters is the size.

    References
    ----------
    Smilkov et al., SmoothGrad, 2017 (arXiv 1706.03825), sec. 3.
    """
    return np.stack(
        [
            compute_input_gradient(model, copies).mean(axis=0)
            for copies in add_noise(as_batch(images, model), samples, noise, seed)
        ]
    )


def add_noise(films: np.ndarray, samples: int, noise: float, seed: int) -> np.ndarray:
    """Noisy copies of each film: float32 (n, samples, S, S, 1) of float32 (n, S, S, 1); the same
    noise for every film.
    """
    added = (
        np.random.default_rng(seed).normal(0, noise, (samples, *films.shape[1:])).astype(np.float32)
    )
    return films[:, None] + added


def compute_occlusion(
    model: keras.Model, images: np.ndarray, patches: int = 12, fill: float = 0.5
) -> np.ndarray:
    """Occlusion: how far the logit falls when a square of the film is covered.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    patches : int
        Squares along each side.
    fill : float in [0, 1]
        The grey that covers.

    Returns
    -------
    float32 array (n, S, S)
        In logits; above 0 the square spoke for the positive class.

    References
    ----------
    Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014 (arXiv
    1311.2901), sec. 2.1 and 4.2.
    """
    films = as_batch(images, model)[..., 0]
    side = films.shape[1]
    edges = np.linspace(0, side, patches + 1).round().astype(int)
    maps = np.zeros_like(films)
    for film, fallen in zip(films, maps, strict=True):
        covered = np.repeat(film[None], patches**2, axis=0)
        for k, copy in enumerate(covered):
            copy[_square(edges, k)] = fill
        falls = predict_logits(model, film[None]) - predict_logits(model, covered)
        for k, fall in enumerate(falls):
            fallen[_square(edges, k)] = fall
    return maps


def _square(edges: np.ndarray, k: int) -> tuple[slice, slice]:
    row, column = divmod(k, len(edges) - 1)
    return slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1])


def draw_edges(images: np.ndarray) -> np.ndarray:
    """Not an explanation: the edges of the film (size of Sobel's gradient), float32 (n, S, S). A
    baseline that knows no network.
    """
    films = as_batch(images)[..., 0]
    return np.stack(
        [np.hypot(cv2.Sobel(f, cv2.CV_32F, 1, 0), cv2.Sobel(f, cv2.CV_32F, 0, 1)) for f in films]
    )


def draw_centre(images: np.ndarray) -> np.ndarray:
    """Not an explanation: a bright middle of the film, float32 (n, S, S) in [0, 1]; Gaussian, with
    a quarter of the side as its width.
    """
    n, side = len(images), images.shape[1]
    across = np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / 0.25) ** 2)
    return np.repeat(np.outer(across, across)[None].astype(np.float32), n, axis=0)


def draw_random(images: np.ndarray) -> np.ndarray:
    """Not an explanation: noise, float32 (n, S, S) in [0, 1); drawn from the film's own bytes: the
    same film gets the same noise again.
    """
    return np.stack(
        [
            np.random.default_rng(zlib.crc32(film.tobytes())).random(film.shape, dtype=np.float32)
            for film in np.asarray(images)
        ]
    )
