"""A second opinion on our explanations: tf-explain 0.3.1, made to work on Keras 3.

It covers Grad-CAM, integrated gradients, SmoothGrad and occlusion. tf-explain was written for the
`tf.keras` of TensorFlow 2.x and for models that end in several classes. This is what breaks on
Keras 3, and what this module does about it (tests/explanation/test_second_opinion.py shows the
breaks):

- `GradCAM.explain` without `layer_name` reads `layer.output_shape`, which no longer exists
  (tf-explain issue 192). Here the layer is always named.
- It builds `Model([model.inputs], …)`, a list in a list, which Keras 3 rejects. `inputs` of
  `TwoClasses` is the tensor itself.
- It does not find a layer inside a nested base, or in a Sequential network. `flatten_network`
  opens them.
- It chooses a class by number. One logit z becomes two scores, [0, z], so that class 1 is the
  logit itself.
- SmoothGrad applies cross-entropy, which expects probabilities: one sigmoid unit gives exactly 0,
  and two scores that sum to 0 give NaN. It receives softmax([0, z]) = [1 - p, p].
- Occlusion covers with grey 127.5 and calls `model.predict` with a progress bar. It receives films
  from 0 to 255, and a quiet `predict`.
- Pictures are cast to uint8 and wrap around. Only methods that return numbers are called.

The differences that remain are choices of tf-explain, and each docstring states them.
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
    """Our network as tf-explain expects a model: a score for each of two classes.

    It also offers `inputs` as one tensor, layers by name, and a quiet `predict`.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit z.
    probabilities : bool
        False: scores [0, z]. True: probabilities [1 - p, p] with p = sigmoid(z).
    grey_levels : float
        The largest value of a film as tf-explain passes it: 1 or 255.
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
        """The output of a layer by its name, also inside a nested base."""
        return SimpleNamespace(output=find_output(self._flat, name))

    def __call__(self, films: tf.Tensor) -> tf.Tensor:
        return self._model(films / self._grey_levels, training=False)

    def predict(self, films: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """Class scores, float32 (n, 2), of films (n, S, S, 1), without a progress bar."""
        size = batch_size or 32
        batches = (films[i : i + size] for i in range(0, len(films), size))
        return np.concatenate([np.asarray(self(tf.constant(b, tf.float32))) for b in batches])


@lru_cache(maxsize=8)
def _view(model: keras.Model, probabilities: bool = False, grey_levels: float = 1.0) -> TwoClasses:
    return TwoClasses(model, probabilities, grey_levels)


def tf_explain_gradcam(
    model: keras.Model, images: np.ndarray, layer_name: str, guided: bool = False
) -> np.ndarray:
    """Compute tf-explain's Grad-CAM for the positive class, which has no final ReLU (Eq. 2).

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
    guided : bool
        tf-explain's own default is True: a gradient counts only where both it and the map are
        positive. That is not Grad-CAM.

    Returns
    -------
    float32 array (n, h, w)
        At the size of the layer's maps; may be negative.

    Examples
    --------
    >>> from rahelpers import compute_gradcam, load_bundle, load_cohort
    >>> from rahelpers.explanation.second_opinion import tf_explain_gradcam
    >>> bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    >>> films, layer = load_cohort(run).images[:2], bundle.info["gradcam_layer"]
    >>> theirs = tf_explain_gradcam(bundle.model, films, layer)
    >>> bool(np.allclose(theirs, compute_gradcam(bundle.model, films, layer).raw, 1e-3, 1e-4))
    True
    """
    from tf_explain.core.grad_cam import GradCAM

    activation, gradient = GradCAM.get_gradients_and_filters(
        _view(model), tf.constant(as_batch(images, model)), layer_name, POSITIVE, guided
    )
    maps = GradCAM.generate_ponderated_output(activation, gradient)
    return np.stack([np.asarray(m, np.float32) for m in maps])


def tf_explain_integrated_gradients(
    model: keras.Model, images: np.ndarray, steps: int = 16
) -> np.ndarray:
    """Compute tf-explain's integrated gradients for the positive class.

    They lack the factor (film - baseline), so their sum is not the rise of the logit.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    steps : int
        Points along the path from black to the film, both ends included.

    Returns
    -------
    float32 array (n, S, S)
        The mean gradient, in logits per unit of grey.
    """
    from tf_explain.core.integrated_gradients import IntegratedGradients

    path = IntegratedGradients.generate_interpolations(as_batch(images, model), steps)
    found = IntegratedGradients.get_integrated_gradients(
        tf.constant(path, tf.float32), _view(model), POSITIVE, steps
    )
    return np.asarray(found)[..., 0]


def tf_explain_smoothgrad(
    model: keras.Model, images: np.ndarray, samples: int = 16, noise: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Compute tf-explain's SmoothGrad for the positive class.

    It explains the loss, not the logit: the gradient of each noisy copy is multiplied by -(1 - p).
    The noise is that of `compute_smoothgrad` in `rahelpers.explanation.attributions`, because
    tf-explain would draw its own from NumPy's global generator.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    samples : int
        Noisy copies of each film.
    noise : float
        Standard deviation, in units of grey; tf-explain's own default is 1, the full range.
    seed : int

    Returns
    -------
    float32 array (n, S, S)
        Gradient of the cross-entropy: below 0 where a brighter pixel would raise the logit.
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
    """Compute tf-explain's occlusion for the positive class: 1 - p with each square covered.

    It never compares with the uncovered film, so no value means "no effect".

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    patch : int
        Side of the square, in pixels.

    Returns
    -------
    float32 array (n, S, S)
        In [0, 1], enlarged from one value per square.
    """
    from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

    view = _view(model, probabilities=True, grey_levels=255.0)
    occlusion = OcclusionSensitivity(batch_size=64)
    films = as_batch(images, model) * 255
    maps = [occlusion.get_sensitivity_map(view, film, POSITIVE, patch) for film in films]
    return np.stack(maps).astype(np.float32)
