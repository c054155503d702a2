"""Augmentation: the small differences between two films of one hand. Stateless, so that a resumed
training sees the same films.
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
    """Each film turned up to 10 degrees, shifted 5 %, scaled 8 % and exposed a little differently,
    as a radiographer would.

    No elastic warps: they would bend joints, and a bent joint is disease. One warp does all three
    movements.

    Parameters
    ----------
    films : float32 tensor (n, S, S, 1) in [0, 1]
    seed : int tensor (2,)
        The same seed gives the same films.
    mirror : bool
        Mirror half of them too; only where laterality was normalised.

    Returns
    -------
    float32 tensor (n, S, S, 1) in [0, 1]
    """
    n, side = tf.shape(films)[0], tf.cast(tf.shape(films)[1], tf.float32)
    angle, right, down, scale, brightness, contrast, flip = tf.unstack(
        tf.random.stateless_uniform((n, 7), seed, -1.0, 1.0), axis=1
    )
    zoom = 1 + SCALE * scale
    flipped = tf.where(flip < 0, -1.0, 1.0) if mirror else tf.ones_like(flip)
    cos, sin, centre = (
        tf.cos(ROTATION * angle) / zoom,
        tf.sin(ROTATION * angle) / zoom,
        (side - 1) / 2,
    )
    # where each pixel of the new film comes from: about the centre, back by the shift, turned,
    # scaled, perhaps mirrored
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
    mean = tf.reduce_mean(moved, axis=(1, 2, 3), keepdims=True)
    exposed = (
        (moved - mean) * (1 + CONTRAST * contrast)[:, None, None, None]
        + mean
        + (BRIGHTNESS * brightness)[:, None, None, None]
    )
    return tf.clip_by_value(exposed, 0.0, 1.0)
