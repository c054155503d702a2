"""Augmentation: the small differences between two films of the same hand.

It is stateless, so that a resumed training sees the same films.
"""

from __future__ import annotations

import math

from rahelpers.network.backend import keras, tf

ROTATION = math.radians(10)
SHIFT = 0.05  # of the side
SCALE = 0.08
BRIGHTNESS = 0.08
CONTRAST = 0.15


def augment(films: tf.Tensor, seed: tf.Tensor, mirror: bool = False) -> tf.Tensor:
    """Rotate, shift, scale and expose each film a little differently, as a radiographer would.

    At most 10 degrees, 5 % of the side and 8 %. No elastic warps: they would bend joints, and a
    bent joint is a sign of disease.

    Parameters
    ----------
    films : float32 tensor (n, S, S, 1) in [0, 1]
    seed : int tensor (2,)
        The same seed gives the same films.
    mirror : bool
        Also mirror half of them; only if laterality was normalised.

    Returns
    -------
    float32 tensor (n, S, S, 1) in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.network import augment
    >>> films = np.random.default_rng(0).random((3, 32, 32, 1), dtype=np.float32)
    >>> once, again = augment(films, (7, 1)), augment(films, (7, 1))
    >>> once.shape.as_list(), bool(np.all(once == again))
    ([3, 32, 32, 1], True)
    """
    n, side = tf.shape(films)[0], tf.cast(tf.shape(films)[1], tf.float32)
    angle, right, down, scale, brightness, contrast, flip = tf.unstack(
        tf.random.stateless_uniform((n, 7), seed, -1.0, 1.0), axis=1
    )
    zoom = 1 + SCALE * scale
    flipped = tf.where(flip < 0, -1.0, 1.0) if mirror else tf.ones_like(flip)
    cos, sin = tf.cos(ROTATION * angle) / zoom, tf.sin(ROTATION * angle) / zoom

    # One warp for all movements. The matrix says where each pixel of the new film comes from: back
    # by the shift, then rotated, scaled and perhaps mirrored about the centre.
    centre = (side - 1) / 2
    x0, y0 = centre + SHIFT * side * right, centre + SHIFT * side * down
    none = tf.zeros_like(cos)
    matrix = [
        flipped * cos,
        -flipped * sin,
        centre - flipped * (cos * x0 - sin * y0),
        sin,
        cos,
        centre - sin * x0 - cos * y0,
        none,
        none,
    ]
    moved = keras.ops.image.affine_transform(
        films,
        tf.stack(matrix, axis=1),
        fill_mode="constant",
        fill_value=0.0,
        data_format="channels_last",
    )
    # contrast about each film's own mean, then brightness
    mean = tf.reduce_mean(moved, axis=(1, 2, 3), keepdims=True)
    factor, offset = (
        x[:, None, None, None] for x in (1 + CONTRAST * contrast, BRIGHTNESS * brightness)
    )
    return tf.clip_by_value((moved - mean) * factor + mean + offset, 0.0, 1.0)
