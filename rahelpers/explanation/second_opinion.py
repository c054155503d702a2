"""tf-explain 0.3.1 on Keras 3: the second opinion on Grad-CAM, integrated gradients, SmoothGrad and
occlusion.

tf-explain was written for `tf.keras` of TensorFlow 2.x, whose models end in several classes. What
breaks on Keras 3, and what this module does about it (tests/test_tf_explain.py shows each break):

- `GradCAM.explain` without `layer_name` asks for `layer.output_shape`, which is gone (tf-explain
issue 192). The layer is always named here.
- It makes `Model([model.inputs], …)`: a list in a list, which Keras 3 no longer takes. `inputs` of
`TwoClasses` is the one tensor itself.
- A layer inside a nested base, and Sequential networks, are not found. `flatten_network` opens
them.
- It chooses a class by number. One logit z becomes two scores, [0, z], so that class 1 is the logit
itself.
- SmoothGrad puts the output through cross-entropy, which wants probabilities: one sigmoid unit
gives exactly 0, and two scores that add up to 0 give NaN.
  It gets softmax([0, z]) = [1 - p, p].
- Occlusion covers with grey 127.5 and calls `model.predict` with a progress bar. It gets films in 0
to 255, and a quiet `predict`.
- Pictures are cast to uint8 and wrap around. Only methods that give numbers are called.

What stays different from ours is tf-explain's own choice, and each docstring says it.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from rahelpers.explanation.attributions import add_noise
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch
from rahelpers.network.graph import find_output, flatten_network, require_one_logit

POSITIVE = 1  # tf-explain's class index


class TwoClasses:
    """What tf-explain asks of a model: class scores, `inputs` as one tensor, layers by name, a
    quiet `predict`.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit z.
    probabilities : bool
        False: scores [0, z]. True: probabilities [1 - p, p] with p = sigmoid(z).
    grey_levels : float
        The film's range as tf-explain sees it; 1 or 255.
    """

    def __init__(
        self, model: keras.Model, probabilities: bool = False, grey_levels: float = 1.0
    ) -> None:
        require_one_logit(model)
        self._flat, self._grey_levels = flatten_network(model), grey_levels
        logit = self._flat.output
        scores = keras.layers.Concatenate(name="two_classes")([keras.ops.zeros_like(logit), logit])
        self.inputs = self._flat.inputs[0]
        self.output = (
            keras.layers.Softmax(name="probabilities")(scores) if probabilities else scores
        )
        self._model = keras.Model(self.inputs, self.output)

    def get_layer(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(output=find_output(self._flat, name))

    def __call__(self, films: tf.Tensor) -> tf.Tensor:
        return self._model(films / self._grey_levels, training=False)

    def predict(self, films: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        size = batch_size or 32
        return np.concatenate(
            [
                np.asarray(self(tf.constant(films[i : i + size], tf.float32)))
                for i in range(0, len(films), size)
            ]
        )


@lru_cache(maxsize=8)
def _view(model: keras.Model, probabilities: bool = False, grey_levels: float = 1.0) -> TwoClasses:
    return TwoClasses(model, probabilities, grey_levels)


def tf_explain_gradcam(
    model: keras.Model, images: np.ndarray, layer_name: str, guided: bool = False
) -> np.ndarray:
    """tf-explain's Grad-CAM for the positive class. It leaves out the final ReLU (Eq. 2).

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
    guided : bool
        tf-explain's own default is True: gradients count only where they and the map are positive.
        That is not Grad-CAM.

    Returns
    -------
    float32 array (n, h, w)
        At the size of the layer's map; may be negative.
    """
    from tf_explain.core.grad_cam import GradCAM

    activation, gradient = GradCAM.get_gradients_and_filters(
        _view(model), tf.constant(as_batch(images, model)), layer_name, POSITIVE, guided
    )
    return np.stack(
        [
            np.asarray(m, np.float32)
            for m in GradCAM.generate_ponderated_output(activation, gradient)
        ]
    )


def tf_explain_integrated_gradients(
    model: keras.Model, images: np.ndarray, steps: int = 16
) -> np.ndarray:
    """tf-explain's integrated gradients for the positive class. It leaves out the factor (film -
    baseline): the sum is not the logit's rise.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    steps : int
        Places on the way from black to the film, both ends included.

    Returns
    -------
    float32 array (n, S, S)
        The mean gradient, in logits per unit of grey.
    """
    from tf_explain.core.integrated_gradients import IntegratedGradients

    way = IntegratedGradients.generate_interpolations(as_batch(images, model), steps)
    found = IntegratedGradients.get_integrated_gradients(
        tf.constant(way, tf.float32), _view(model), POSITIVE, steps
    )
    return np.asarray(found)[..., 0]


def tf_explain_smoothgrad(
    model: keras.Model, images: np.ndarray, samples: int = 16, noise: float = 0.1, seed: int = 0
) -> np.ndarray:
    """tf-explain's SmoothGrad for the positive class. It explains the loss, not the logit: each
    noisy copy's gradient is multiplied by -(1 - p).

    The noise is that of `rahelpers.explanation.attributions.compute_smoothgrad`, because tf-explain draws its
    own from NumPy's global generator.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    samples : int
    noise : float
        Standard deviation, in units of grey; tf-explain's own default is 1, the whole range.
    seed : int

    Returns
    -------
    float32 array (n, S, S)
        Gradient of the cross-entropy: below 0 where brighter would raise the logit.
    """
    from tf_explain.core.smoothgrad import SmoothGrad

    films = as_batch(images, model)
    noisy = add_noise(films, samples, noise, seed).reshape(-1, *films.shape[1:])
    return np.asarray(
        SmoothGrad.get_averaged_gradients(
            tf.constant(noisy), _view(model, probabilities=True), POSITIVE, samples
        )
    )[..., 0]


def tf_explain_occlusion(model: keras.Model, images: np.ndarray, patch: int) -> np.ndarray:
    """tf-explain's occlusion for the positive class: 1 - p with each square covered. It does not
    look at the film itself: no zero says "no effect".

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    patch : int
        Side of the square, pixels.

    Returns
    -------
    float32 array (n, S, S)
        In [0, 1], enlarged from one value a square.
    """
    from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

    view, occlusion = (
        _view(model, probabilities=True, grey_levels=255.0),
        OcclusionSensitivity(batch_size=64),
    )
    return np.stack(
        [
            occlusion.get_sensitivity_map(view, film * 255, POSITIVE, patch)
            for film in as_batch(images, model)
        ]
    ).astype(np.float32)
