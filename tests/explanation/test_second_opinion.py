"""tf-explain through the adapter: equal to ours, or different by a known amount.

The last part shows what breaks without the adapter.
"""

import numpy as np
import pytest
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.smoothgrad import SmoothGrad

from rahelpers.explanation.attributions import (
    compute_input_gradient,
    compute_integrated_gradients,
    compute_occlusion,
    compute_smoothgrad,
)
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.second_opinion import (
    TwoClasses,
    tf_explain_gradcam,
    tf_explain_integrated_gradients,
    tf_explain_occlusion,
    tf_explain_smoothgrad,
)
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch, predict_logits

FILMS = np.random.default_rng(0).random((2, 8, 8), dtype=np.float32)


def network(last: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(3)
    film = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="maps")(film)
    return keras.Model(
        film, keras.layers.Dense(1, activation=last, name="logit")(keras.layers.Flatten()(maps))
    )


def nested() -> keras.Model:
    inner, film = network(), keras.Input((8, 8, 1))
    return keras.Model(film, inner(film))


@pytest.fixture(scope="module")
def model():
    return network()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_gradcam_agrees_and_lacks_the_last_relu(model):
    theirs = tf_explain_gradcam(model, FILMS, "maps")
    np.testing.assert_allclose(theirs, compute_gradcam(model, FILMS, "maps").raw, atol=1e-5)
    assert theirs.min() < 0
    np.testing.assert_allclose(tf_explain_gradcam(nested(), FILMS, "maps"), theirs, atol=1e-5)


def test_guided_gradients_are_another_method(model):
    activation = keras.Model(model.input, model.get_layer("maps").output)(as_batch(FILMS)).numpy()
    gradient = model.get_layer("logit").get_weights()[0].reshape(8, 8, 4)
    expected = (
        ((activation > 0) * np.maximum(gradient, 0)).mean(axis=(1, 2), keepdims=True) * activation
    ).sum(axis=-1)
    np.testing.assert_allclose(
        tf_explain_gradcam(model, FILMS, "maps", guided=True), expected, atol=1e-5
    )


def test_integrated_gradients_lack_the_factor(model):
    theirs, steps = tf_explain_integrated_gradients(model, FILMS, 65), 64
    np.testing.assert_allclose(
        theirs * FILMS, compute_integrated_gradients(model, FILMS, steps), atol=0.02
    )
    rise = predict_logits(model, FILMS) - predict_logits(model, np.zeros_like(FILMS))
    assert (
        np.abs((theirs * FILMS).sum(axis=(1, 2)) - rise).max()
        < 0.05
        < np.abs(theirs.sum(axis=(1, 2)) - rise).max()
    )


def test_smoothgrad_explains_the_loss(model):
    """Theirs is -(1 - p) times the gradient of each noisy copy.

    With hardly any noise, that is our SmoothGrad times one factor.
    """
    p = sigmoid(predict_logits(model, FILMS))[:, None, None]
    theirs, ours = (
        tf_explain_smoothgrad(model, FILMS, 4, 1e-6),
        compute_smoothgrad(model, FILMS, 4, 1e-6),
    )
    np.testing.assert_allclose(theirs, -(1 - p) * ours, atol=1e-4)
    noise = np.random.default_rng(0).normal(0, 0.1, (16, 8, 8, 1)).astype(np.float32)
    noisy = FILMS[0][..., None] + noise
    factor = 1 - sigmoid(predict_logits(model, noisy[..., 0]))
    expected = -(factor[:, None, None] * compute_input_gradient(model, noisy)).mean(axis=0)
    np.testing.assert_allclose(
        tf_explain_smoothgrad(model, FILMS[:1], 16, 0.1)[0], expected, atol=1e-5
    )


def test_occlusion_shows_what_is_left_and_not_what_is_lost(model):
    """Theirs is 1 - p of the covered film; ours is the fall of the logit.

    There is one square per cell, so that nothing is enlarged.
    """
    p = sigmoid(
        predict_logits(model, FILMS)[:, None, None]
        - compute_occlusion(model, FILMS, patches=8, fill=0.5)
    )
    np.testing.assert_allclose(tf_explain_occlusion(model, FILMS, 1), 1 - p, atol=1e-5)


def test_zero_for_a_cell_that_does_nothing_is_ours_alone():
    model = network()
    model.get_layer("logit").set_weights([np.zeros((256, 1)), np.array([1.0])])
    assert not compute_occlusion(model, FILMS, patches=4).any()
    np.testing.assert_allclose(tf_explain_occlusion(model, FILMS, 2), 1 - sigmoid(1.0), atol=1e-6)


def test_what_breaks_without_the_adapter():
    one = network("sigmoid")
    with pytest.raises(AttributeError, match="output_shape"):
        GradCAM().explain((FILMS[..., None], None), one, 0)
    with pytest.raises(ValueError, match="maps"):
        GradCAM.get_gradients_and_filters(nested(), FILMS[..., None], "maps", 0, False)
    zero = SmoothGrad.get_averaged_gradients(tf.constant(FILMS[..., None]), one, 0, 1)
    assert not np.asarray(zero).any()
    z = network()
    halves = keras.Model(z.input, keras.layers.Concatenate()([-z.output / 2, z.output / 2]))
    odd = np.asarray(SmoothGrad.get_averaged_gradients(tf.constant(FILMS[..., None]), halves, 1, 1))
    assert not np.isfinite(odd).all() or np.abs(odd).max() < 1e-6 or np.abs(odd).max() > 1e3


def test_view_is_two_classes(model):
    scores = np.asarray(TwoClasses(model)(tf.constant(as_batch(FILMS))))
    np.testing.assert_allclose(scores[:, 1], predict_logits(model, FILMS), atol=1e-6)
    assert not scores[:, 0].any()
    p = TwoClasses(model, probabilities=True, grey_levels=255.0).predict(255 * as_batch(FILMS))
    np.testing.assert_allclose(p[:, 1], sigmoid(predict_logits(model, FILMS)), atol=1e-6)
    assert p.sum(axis=1) == pytest.approx(1)


def test_agrees_on_the_trained_network(tiny_run):
    from rahelpers.curation.cohort import load_cohort
    from rahelpers.network.bundle import load_bundle

    bundle, films = (
        load_bundle(tiny_run.file("train", "bundle/bundle.json").parent),
        load_cohort(tiny_run).images[:3],
    )
    layer = bundle.info["gradcam_layer"]
    ours, theirs = (
        compute_gradcam(bundle.model, films, layer),
        tf_explain_gradcam(bundle.model, films, layer),
    )
    for mine, other, flat in zip(ours.raw, theirs, ours.flat, strict=True):
        assert (
            other.max() <= 1e-6
            if flat
            else np.abs(mine - other).max() <= 1e-5 * np.abs(other).max() + 1e-8
        )
