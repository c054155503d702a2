"""The networks: VGG16, VGG19, and vgg_small, which is sized for a laptop CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.network.backend import keras, tf
from rahelpers.network.precision import choose_precision, computing_in

# Mean blue, green and red of ImageNet, which the original VGG subtracts (Simonyan & Zisserman 2015,
# arXiv 1409.1556, sec. 2.1).
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
SMALL_BLOCKS = ((16, 1), (32, 1), (64, 2), (128, 2), (128, 2))  # channels, convolutions
APPLICATIONS = {"vgg16": keras.applications.VGG16, "vgg19": keras.applications.VGG19}
BATCH_NORM_MOMENTUM = 0.9  # Keras's 0.99 needs hundreds of steps; a small cohort gives tens


def build_network(
    architecture: str,
    image_size: int,
    weights: str = "none",
    train_from: str = "block5",
    seed: int = 0,
    one_pass: bool = False,
) -> keras.Model:
    """Build a flat functional network that ends in one logit.

    Parameters
    ----------
    architecture : {'vgg_small', 'vgg16', 'vgg19'}
    image_size : int
        Side S of the square input, pixels.
    weights : str
        For vgg16 and vgg19: 'imagenet' (downloaded by Keras), 'none', or the path of a weights file
        without the top layers.
    train_from : str
        First block that learns if the network starts from pretrained weights: 'block1' to 'block5',
        or 'head'.
    seed : int
        Of the initial weights and of dropout. Python's global generator is not used: other threads
        of a server draw from it too.
    one_pass : bool
        Use `OnePassNormalization` for batch norm. It has the same weights and is faster, but such a
        network is not to be saved: loading the file would need this package.

    Returns
    -------
    keras.Model
        Input float32 (n, S, S, 1) in [0, 1], bone bright; output float32 (n, 1), the logit of the
        positive class.

    Raises
    ------
    ValueError
        If the weights cannot be loaded or do not fit, or the architecture takes none.

    Examples
    --------
    >>> from rahelpers.network import build_network
    >>> model = build_network("vgg_small", image_size=64)
    >>> model.input_shape, model.output_shape
    ((None, 64, 64, 1), (None, 1))
    """
    inputs = keras.Input((image_size, image_size, 1), name="film")
    if architecture == "vgg_small":
        if weights != "none":
            raise ValueError(
                f"weights={weights}: vgg_small has no pretrained weights; use weights=none, or"
                " architecture=vgg16 or vgg19"
            )
        maps = _small_base(inputs, one_pass)
        pooled = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(maps)
    elif architecture in APPLICATIONS:
        pooled = _pool_imagenet_base(_imagenet_base(inputs, architecture))
    else:
        raise ValueError(f"architecture={architecture!r}: expected vgg_small, vgg16 or vgg19")
    pooled = keras.layers.Dropout(0.3, seed=seed, name="dropout", dtype="float32")(pooled)
    logit = keras.layers.Dense(1, name="logit", dtype="float32")(pooled)
    model = keras.Model(inputs, logit, name=architecture)

    # each layer draws from a seed of its own, so that a weight depends on `seed` and nothing else
    with_kernels = (layer for layer in model.layers if hasattr(layer, "kernel"))
    for number, layer in enumerate(with_kernels):
        draw = keras.initializers.GlorotUniform(seed=(1000 * seed + number) % 2**31)
        layer.kernel.assign(draw(layer.kernel.shape))
    if weights != "none":
        _load_base_weights(model, weights)
        _freeze_below(model, train_from)
    return model


def _pool_imagenet_base(base: keras.Model) -> keras.KerasTensor:
    """Average and maximum of the last maps of blocks 4 and 5, all on one scale.

    An erosion or a growth plate is small: its maximum survives, but an average over the hand drowns
    it, and block 4 has a finer resolution than block 5. On 900 real films, with frozen blocks at
    320 px, cross-validated: AUC 0.949 and 0.831 (bone age, sex), against 0.939 and 0.770 for the
    average of block 5. The maps have different scales, and a head learns slowly from raw ones:
    hence the batch norm.
    """
    fine, coarse = base.get_layer("block4_pool").input, base.get_layer("block5_pool").input
    average, maximum = keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D
    pools = [
        average(name="fine_pool", dtype="float32")(fine),
        maximum(name="fine_maximum", dtype="float32")(fine),
        average(name="pool", dtype="float32")(coarse),
        maximum(name="maximum", dtype="float32")(coarse),
    ]
    together = keras.layers.Concatenate(name="pools", dtype="float32")(pools)
    return keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, name="pool_bn", dtype="float32"
    )(together)


class OnePassNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm, computed in one pass of oneDNN over the maps.

    Keras 3.15 needs three passes to normalise, and a dozen while it learns (mean and variance,
    forward and backward): at 128 px and in bfloat16 that is 40 % of a training step of vgg_small.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalise maps, (n, h, w, c)."""
        learning = bool(training and self.trainable)
        # while learning, the operation finds mean and variance itself
        mean, variance = ([], []) if learning else (self.moving_mean, self.moving_variance)
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            # the operation gives the unbiased variance of the sample, Keras keeps the biased one
            cells = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
            biased = found.batch_variance * (cells - 1) / cells
            for moving, new in (
                (self.moving_mean, found.batch_mean),
                (self.moving_variance, biased),
            ):
                moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return found.y


def _small_base(x: keras.KerasTensor, one_pass: bool) -> keras.KerasTensor:
    normalisation = OnePassNormalization if one_pass else keras.layers.BatchNormalization
    for b, (channels, n_convolutions) in enumerate(SMALL_BLOCKS, start=1):
        for i in range(1, n_convolutions + 1):
            x = keras.layers.Conv2D(
                channels, 3, padding="same", use_bias=False, name=f"block{b}_conv{i}"
            )(x)
            x = normalisation(momentum=BATCH_NORM_MOMENTUM, name=f"block{b}_bn{i}")(x)
            x = keras.layers.ReLU(name=f"block{b}_relu{i}")(x)
        if b < len(SMALL_BLOCKS):
            x = keras.layers.MaxPooling2D(name=f"block{b}_pool")(x)
    return x


def _imagenet_base(film: keras.KerasTensor, architecture: str) -> keras.Model:
    colour = keras.layers.Concatenate(name="grey_to_bgr")([film, film, film])
    scaled = keras.layers.Rescaling(
        255.0, offset=[-m for m in IMAGENET_MEAN_BGR], name="imagenet_scale"
    )(colour)
    return APPLICATIONS[architecture](include_top=False, weights=None, input_tensor=scaled)


def _load_base_weights(model: keras.Model, weights: str) -> None:
    """Copy pretrained weights into the layers of the same name."""
    for layer in _load_plain_base(APPLICATIONS[model.name], weights).layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def _load_plain_base(application: Callable[..., keras.Model], weights: str) -> keras.Model:
    """The base of a network with its pretrained weights; never with random ones instead."""
    if weights == "imagenet":
        try:
            return application(include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception when a download fails
            raise ValueError(
                f"weights=imagenet: Keras could not download the weights ({error}). Without"
                " internet, fetch the file elsewhere and pass its path: --weights PATH"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            f"weights={weights}: there is no such file; expected imagenet, none, or the path of a"
            " weights file"
        )
    plain = application(include_top=False, weights=None)
    try:
        plain.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds; all mean that it does not fit
        raise ValueError(
            f"weights={weights}: the file does not fit {plain.name} without its top layers"
            f" ({error})"
        ) from error
    if not all(np.isfinite(w).all() for w in plain.get_weights()):
        raise ValueError(f"weights={weights}: the file holds values that are not finite")
    return plain


def _freeze_below(model: keras.Model, train_from: str) -> None:
    """Let only the block `train_from` and later ones learn."""
    first = 6 if train_from == "head" else int(train_from.removeprefix("block"))
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = int(layer.name[5]) >= first


def change_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copy a network into another number format.

    It is faster if the machine has instructions for the format, and a little less precise.

    Parameters
    ----------
    model : keras.Model
        In float32, from `build_network`.
    precision : {'float32', 'bfloat16', 'float16', 'auto'}
        See `rahelpers.network.precision.choose_precision`.

    Returns
    -------
    keras.Model
        `model` itself if the format is float32.
    """
    chosen = choose_precision(precision)
    if chosen == "float32":
        return model
    with computing_in(chosen):
        twin = build_network(model.name, model.input_shape[1], one_pass=True)
    twin.set_weights(model.get_weights())
    return twin


def gradcam_layer(model: keras.Model) -> str:
    """Name the last layer that gives a map: the one that the pooling head reads.

    Examples
    --------
    >>> from rahelpers.network import build_network, gradcam_layer
    >>> gradcam_layer(build_network("vgg_small", image_size=64))
    'block5_relu2'
    """
    return model.get_layer("pool").input._keras_history.operation.name


def describe_network(model: keras.Model) -> pd.DataFrame:
    """List the convolution blocks of a network.

    Returns
    -------
    DataFrame
        One row per block: convolutions, channels, map side, weights.

    Examples
    --------
    >>> from rahelpers.network import build_network, describe_network
    >>> describe_network(build_network("vgg_small", image_size=64))[["channels", "map side"]].T
              block1  block2  block3  block4  block5
    channels      16      32      64     128     128
    map side      64      32      16       8       4
    """
    rows: dict[str, dict[str, int]] = {}
    for layer in model.layers:
        if not layer.name.startswith("block"):
            continue
        empty = {"convolutions": 0, "channels": 0, "map side": 0, "weights": 0}
        row = rows.setdefault(layer.name.split("_")[0], empty)
        row["weights"] += layer.count_params()
        if isinstance(layer, keras.layers.Conv2D):
            row["convolutions"] += 1
            row["channels"], row["map side"] = layer.filters, layer.output.shape[1]
    return pd.DataFrame(rows).T
