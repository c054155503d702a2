"""Explanations of the logit that need no layer: integrated gradients, SmoothGrad and occlusion.

Also the baselines that they must beat: pictures that know no network (`draw_*`).
"""

from __future__ import annotations

import warnings
import zlib
from functools import lru_cache

import cv2
import numpy as np

from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch, predict_logits
from rahelpers.network.graph import flatten_network, require_one_logit

FEWEST_STEPS, MOST_STEPS = 16, 512  # of integrated gradients, where completeness decides
COMPLETE = 0.02  # what may be missing of the rise of the logit, or in logits where that is more
BLOCKS = 8  # squares of random heat along each side


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
    """Compute the gradient of the logit with respect to each pixel.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    films : float32 array (n, S, S, 1)
    batch_size : int

    Returns
    -------
    float32 array (n, S, S)
        In logits per unit of grey.
    """
    gradient = _traced_gradient(model)
    batches = (films[i : i + batch_size] for i in range(0, len(films), batch_size))
    return np.concatenate([gradient(tf.constant(batch)).numpy() for batch in batches])[..., 0]


def compute_integrated_gradients(
    model: keras.Model, images: np.ndarray, steps: int | None = None, baseline: float = 0.0
) -> np.ndarray:
    """Compute integrated gradients, along the straight path from a uniform grey to the film.

    Each pixel gets the mean gradient along the path times the change of its grey. The sum over a
    film is its logit minus the logit of the baseline (completeness), up to the error of a finite
    number of steps.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    steps : int, optional
        Points along the path, at the midpoints of equal intervals. By default as many as it takes:
        from 16, doubled until the sum is within 2 % of the rise of the logit, or within 0.02
        logits. A film that misses that with 512 steps causes a warning with the error.
    baseline : float in [0, 1]
        The grey at which the path starts; 0 is air.

    Returns
    -------
    float32 array (n, S, S)
        In logits; below 0 is evidence against the positive class.

    References
    ----------
    Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017 (arXiv 1703.01365), Eq.
    1 and 3.

    Examples
    --------
    A network whose logit is the mean of the film: each pixel gets its own share.

    >>> from rahelpers.explanation import compute_integrated_gradients
    >>> from rahelpers.network.backend import keras
    >>> film = keras.Input((4, 4, 1))
    >>> model = keras.Sequential([film, keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.layers[-1].set_weights([np.full((16, 1), 1 / 16), np.zeros(1)])
    >>> image = np.zeros((1, 4, 4), np.float32)
    >>> image[0, 0, :2] = 0.5
    >>> compute_integrated_gradients(model, image)[0, 0].tolist()
    [0.03125, 0.03125, 0.0, 0.0]
    """
    films = as_batch(images, model)
    if steps is not None:
        return np.stack([_integrate(model, film, steps, baseline) for film in films])

    rises = predict_logits(model, films[..., 0]) - predict_logits(
        model, np.full_like(films[:1, ..., 0], baseline)
    )
    maps, missing = [], {}
    for number, (film, rise) in enumerate(zip(films, rises, strict=True)):
        enough, used = COMPLETE * max(1.0, abs(rise)), FEWEST_STEPS
        found = _integrate(model, film, used, baseline)
        while abs(found.sum() - rise) > enough and used < MOST_STEPS:
            used *= 2
            found = _integrate(model, film, used, baseline)
        if (error := abs(found.sum() - rise)) > enough:
            missing[number] = f"film {number} by {error:.2g} of a rise of {rise:+.2g}"
        maps.append(found)
    if missing:
        warnings.warn(
            f"integrated gradients of {len(missing)} of {len(films)} films do not add up after"
            f" {MOST_STEPS} steps: {'; '.join(list(missing.values())[:3])} logits",
            stacklevel=2,
        )
    return np.stack(maps)


def _integrate(model: keras.Model, film: np.ndarray, steps: int, baseline: float) -> np.ndarray:
    """Integrated gradients, float32 (S, S), of one film (S, S, 1)."""
    points = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    change = film - np.float32(baseline)
    path = baseline + points[:, None, None, None] * change
    return change[..., 0] * compute_input_gradient(model, path).mean(axis=0)


def compute_smoothgrad(
    model: keras.Model, images: np.ndarray, samples: int = 16, noise: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Compute SmoothGrad, the mean gradient over noisy copies of the film.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    samples : int
        Noisy copies of each film.
    noise : float
        Standard deviation, in units of grey.
    seed : int
        A film gets the same noise whichever films it is passed with.

    Returns
    -------
    float32 array (n, S, S)
        In logits per unit of grey. The sign says whether a brighter or a darker pixel would raise
        the logit; the size says how much the pixel matters.

    References
    ----------
    Smilkov et al., SmoothGrad, 2017 (arXiv 1706.03825), sec. 3.

    Examples
    --------
    >>> from rahelpers import load_bundle, load_cohort
    >>> from rahelpers.explanation import compute_smoothgrad
    >>> bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    >>> compute_smoothgrad(bundle.model, load_cohort(run).images[:2], samples=4).shape
    (2, 48, 48)
    """
    noisy = add_noise(as_batch(images, model), samples, noise, seed)
    return np.stack([compute_input_gradient(model, copies).mean(axis=0) for copies in noisy])


def add_noise(films: np.ndarray, samples: int, noise: float, seed: int) -> np.ndarray:
    """Make noisy copies of each film, with the same noise for every film.

    Parameters
    ----------
    films : float32 array (n, S, S, 1)
    samples : int
        Copies of each film.
    noise : float
        Standard deviation, in units of grey.
    seed : int

    Returns
    -------
    float32 array (n, samples, S, S, 1)
    """
    rng = np.random.default_rng(seed)
    added = rng.normal(0, noise, (samples, *films.shape[1:])).astype(np.float32)
    return films[:, None] + added


def compute_occlusion(
    model: keras.Model, images: np.ndarray, patches: int = 12, fill: float = 0.5
) -> np.ndarray:
    """Compute occlusion maps: how far the logit falls when a square of the film is covered.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    patches : int
        Squares along each side.
    fill : float in [0, 1]
        The grey of the cover.

    Returns
    -------
    float32 array (n, S, S)
        In logits; above 0 where the square held evidence for the positive class.

    References
    ----------
    Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014 (arXiv
    1311.2901), sec. 2.1 and 4.2.

    Examples
    --------
    A network whose logit is the mean of the film: only the bright square loses anything.

    >>> from rahelpers.explanation import compute_occlusion
    >>> from rahelpers.network.backend import keras
    >>> film = keras.Input((4, 4, 1))
    >>> model = keras.Sequential([film, keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.layers[-1].set_weights([np.full((16, 1), 1 / 16), np.zeros(1)])
    >>> image = np.zeros((1, 4, 4), np.float32)
    >>> image[0, :2, :2] = 1
    >>> compute_occlusion(model, image, patches=2, fill=0.0)[0].round(2)
    array([[0.25, 0.25, 0.  , 0.  ],
           [0.25, 0.25, 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ]], dtype=float32)
    """
    films = as_batch(images, model)[..., 0]
    side = films.shape[1]
    edges = np.linspace(0, side, patches + 1).round().astype(int)
    maps = np.zeros_like(films)
    for film, fall_map in zip(films, maps, strict=True):
        covered = np.repeat(film[None], patches**2, axis=0)
        for k, copy in enumerate(covered):
            copy[_square(edges, k)] = fill
        falls = predict_logits(model, film[None]) - predict_logits(model, covered)
        for k, fall in enumerate(falls):
            fall_map[_square(edges, k)] = fall
    return maps


def _square(edges: np.ndarray, k: int) -> tuple[slice, slice]:
    row, column = divmod(k, len(edges) - 1)
    return slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1])


def draw_edges(images: np.ndarray) -> np.ndarray:
    """Draw the edges of each film, a baseline that is not an explanation.

    Returns the size of the Sobel gradient, float32 (n, S, S).
    """
    films = as_batch(images)[..., 0]
    return np.stack(
        [np.hypot(cv2.Sobel(f, cv2.CV_32F, 1, 0), cv2.Sobel(f, cv2.CV_32F, 0, 1)) for f in films]
    )


def draw_centre(images: np.ndarray) -> np.ndarray:
    """Draw a bright centre on each film, a baseline that is not an explanation.

    Returns a Gaussian, float32 (n, S, S) in [0, 1]; its standard deviation is a quarter of the
    side.
    """
    n, side = len(images), images.shape[1]
    across = np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / 0.25) ** 2)
    return np.repeat(np.outer(across, across)[None].astype(np.float32), n, axis=0)


def draw_random(images: np.ndarray) -> np.ndarray:
    """Draw random blocks for each film, a baseline that is not an explanation.

    Blocks, not single pixels: a few pixels of everything show a network the whole film, so noise
    would do far too well at insertion, and no real map is so fine.

    Returns float32 (n, S, S) in [0, 1). The seed comes from the film's own bytes: the same film
    gets the same blocks again.
    """
    films = np.asarray(images)
    place = np.arange(films.shape[1]) * BLOCKS // films.shape[1]
    generators = [np.random.default_rng(zlib.crc32(film.tobytes())) for film in films]
    blocks = [rng.random((BLOCKS, BLOCKS), dtype=np.float32) for rng in generators]
    return np.stack([heat[np.ix_(place, place)] for heat in blocks])
