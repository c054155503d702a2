"""The networks: VGG16 and VGG19 bases, and vgg_small, sized for a laptop CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.network.backend import keras, tf
from rahelpers.network.precision import choose_precision, computing_in

# Mean of ImageNet's blue, green and red, subtracted by the original VGG (Simonyan & Zisserman 2015,
# arXiv 1409.1556, sec. 2.1).
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
SMALL_BLOCKS = ((16, 1), (32, 1), (64, 2), (128, 2), (128, 2))  # channels, convolutions
APPLICATIONS = {"vgg16": keras.applications.VGG16, "vgg19": keras.applications.VGG19}
BATCH_NORM_MOMENTUM = 0.9  # Keras's 0.99 needs hundreds of steps; a small cohort has tens


def build_network(
    architecture: str,
    image_size: int,
    weights: str = "none",
    train_from: str = "block5",
    seed: int = 0,
    one_pass: bool = False,
) -> keras.Model:
    """A flat functional network that ends in one logit.

    Parameters
    ----------
    architecture : {'vgg_small', 'vgg16', 'vgg19'}
    image_size : int
        Side S of the square input, pixels.
    weights : str
        For vgg16 and vgg19: 'imagenet' (Keras's download), 'none', or the path of a weights file
        without top.
    train_from : str
        First block that learns when the start is not 'none': 'block1' to 'block5', or 'head'.
    seed : int
        Of the weights that are drawn, and of dropout. Python's global generator plays no part:
        other threads of a server draw from it too.
    one_pass : bool
        Batch norm by `OnePassNormalization`: faster, with the same weights, and not to be saved: a
        file of it would need this package to be loaded.

    Returns
    -------
    keras.Model
        Input float32 (n, S, S, 1) in [0, 1], bone bright; output float32 (n, 1), the logit of the
        positive class.

    Raises
    ------
    ValueError
        If the weights cannot be had, do not fit, or the architecture takes none.
    """
    inputs = keras.Input((image_size, image_size, 1), name="film")
    if architecture == "vgg_small":
        if weights != "none":
            raise ValueError(
                f"weights={weights}: vgg_small has no pretrained weights; use weights=none, or"
                " architecture=vgg16 or vgg19"
            )
        pooled = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(
            _small_base(inputs, one_pass)
        )
    elif architecture in APPLICATIONS:
        pooled = _pool_imagenet_base(_imagenet_base(inputs, architecture))
    else:
        raise ValueError(f"architecture={architecture!r}: expected vgg_small, vgg16 or vgg19")
    pooled = keras.layers.Dropout(0.3, seed=seed, name="dropout", dtype="float32")(pooled)
    model = keras.Model(
        inputs, keras.layers.Dense(1, name="logit", dtype="float32")(pooled), name=architecture
    )
    for number, layer in enumerate(layer for layer in model.layers if hasattr(layer, "kernel")):
        layer.kernel.assign(
            keras.initializers.GlorotUniform(seed=(1000 * seed + number) % 2**31)(
                layer.kernel.shape
            )
        )
    if weights != "none":
        _take_weights(model, weights)
        _freeze_below(model, train_from)
    return model


def _pool_imagenet_base(base: keras.Model) -> keras.KerasTensor:
    """Average and maximum of the last maps of blocks 4 and 5, each before its pooling, on one
    scale.

    An erosion or a growth plate is small: its maximum survives where an average over the hand
    drowns it, and block 4 sees finer than block 5. On 900 real films, frozen at 320 px and
    cross-validated: AUC 0.949 and 0.831 (bone age, sex) against 0.939 and 0.770 for the average of
    block 5. The maps have no common scale, and a head on raw ones learns slowly: hence the batch
    norm.
    """
    fine, coarse = base.get_layer("block4_pool").input, base.get_layer("block5_pool").input
    pools = [
        pooling(name=name, dtype="float32")(maps)
        for maps, names in ((fine, ("fine_pool", "fine_maximum")), (coarse, ("pool", "maximum")))
        for name, pooling in zip(
            names,
            (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D),
            strict=True,
        )
    ]
    together = keras.layers.Concatenate(name="pools", dtype="float32")(pools)
    return keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, name="pool_bn", dtype="float32"
    )(together)


class OnePassNormalization(keras.layers.BatchNormalization):
    """Keras's layer, in one pass of oneDNN over the maps.

    Keras 3.15 normalises in three passes, and in a dozen while it learns (mean and variance, there
    and back): at 128 px and in bfloat16 that is 40 % of vgg_small's training step.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalised maps, (n, h, w, c)."""
        learning = bool(training and self.trainable)
        known = (
            {"mean": [], "variance": []}
            if learning
            else {"mean": self.moving_mean, "variance": self.moving_variance}
        )
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            epsilon=self.epsilon,
            is_training=learning,
            **known,
        )
        if learning:
            cells = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
            spread = (
                found.batch_variance * (cells - 1) / cells
            )  # it gives the sample's unbiased variance, Keras keeps the biased one
            for moving, new in (
                (self.moving_mean, found.batch_mean),
                (self.moving_variance, spread),
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


def _take_weights(model: keras.Model, weights: str) -> None:
    for layer in _load_plain_base(APPLICATIONS[model.name], weights).layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def _load_plain_base(application: object, weights: str) -> keras.Model:
    """The base alone with its weights; there is no fallback to random ones."""
    if weights == "imagenet":
        try:
            return application(include_top=False, weights="imagenet")
        except Exception as error:  # keras raises a bare Exception when a download fails
            raise ValueError(
                f"weights=imagenet: Keras could not download the weights ({error}). With no"
                " internet, fetch the file elsewhere and pass its path: --weights PATH"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            f"weights={weights}: expected imagenet, none, or the path of a weights file; there is"
            " no such file"
        )
    plain = application(include_top=False, weights=None)
    try:
        plain.load_weights(path)
    except Exception as error:
        # keras and h5py raise many kinds; all mean that the file does not fit
        raise ValueError(
            f"weights={weights}: the file does not fit {plain.name} without top ({error})"
        ) from error
    if not all(np.isfinite(w).all() for w in plain.get_weights()):
        raise ValueError(f"weights={weights}: the file holds values that are not finite")
    return plain


def _freeze_below(model: keras.Model, train_from: str) -> None:
    """Only layers of block `train_from` and later learn."""
    first = 6 if train_from == "head" else int(train_from.removeprefix("block"))
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = int(layer.name[5]) >= first


def change_precision(model: keras.Model, precision: str) -> keras.Model:
    """The same network, computing in another number format: faster where the machine has it, and a
    little coarser.

    Parameters
    ----------
    model : keras.Model
        In float32, from `build_network`.
    precision : {'float32', 'bfloat16', 'float16', 'auto'}
        See `rahelpers.network.precision.choose_precision`.

    Returns
    -------
    keras.Model
        `model` itself for float32.
    """
    chosen = choose_precision(precision)
    if chosen == "float32":
        return model
    with computing_in(chosen):
        twin = build_network(model.name, model.input_shape[1], one_pass=True)
    twin.set_weights(model.get_weights())
    return twin


def gradcam_layer(model: keras.Model) -> str:
    """Name of the last layer with a map: what the pooling head reads."""
    return model.get_layer("pool").input._keras_history.operation.name


def describe_network(model: keras.Model) -> pd.DataFrame:
    """Convolution blocks of a network: convolutions, channels, side of the map, weights.

    Returns
    -------
    DataFrame
        One block a row.
    """
    rows: dict[str, dict[str, int]] = {}
    for layer in model.layers:
        if not layer.name.startswith("block"):
            continue
        row = rows.setdefault(
            layer.name.split("_")[0],
            {"convolutions": 0, "channels": 0, "map side": 0, "weights": 0},
        )
        row["weights"] += layer.count_params()
        if isinstance(layer, keras.layers.Conv2D):
            row |= {
                "convolutions": row["convolutions"] + 1,
                "channels": layer.filters,
                "map side": layer.output.shape[1],
            }
    return pd.DataFrame(rows).T
