"""Integrated gradients, SmoothGrad and occlusion of networks whose maps are worked on paper."""

import numpy as np
import pytest

from rahelpers.explanation.attributions import (
    compute_integrated_gradients,
    compute_occlusion,
    compute_smoothgrad,
    draw_centre,
    draw_edges,
    draw_random,
)
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits

rng = np.random.default_rng(0)
W = rng.normal(0, 1, (4, 4)).astype(np.float32)
FILMS = rng.random((2, 4, 4), dtype=np.float32)


def linear_network() -> keras.Model:
    """The logit is the sum of W x, plus 0.3."""
    film = keras.Input((4, 4, 1))
    model = keras.Model(film, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(film)))
    model.get_layer("logit").set_weights([W.reshape(16, 1), np.array([0.3])])
    return model


def curved_network() -> keras.Model:
    """A logit that is not linear in the film."""
    keras.utils.set_random_seed(0)
    film = keras.Input((4, 4, 1))
    hidden = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(film))
    return keras.Model(film, keras.layers.Dense(1)(hidden))


def test_linear_network_on_paper():
    np.testing.assert_allclose(
        compute_integrated_gradients(linear_network(), FILMS, steps=3), W * FILMS, atol=1e-6
    )
    np.testing.assert_allclose(
        compute_integrated_gradients(linear_network(), FILMS, steps=3, baseline=0.5),
        W * (FILMS - 0.5),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        compute_smoothgrad(linear_network(), FILMS, samples=4), np.stack([W, W]), atol=1e-6
    )


def test_occlusion_of_a_linear_network_on_paper():
    # a square covered with grey c removes the sum of W (x - c) over it
    fall = (W * (FILMS - 0.25)).reshape(2, 2, 2, 2, 2).sum(axis=(2, 4))
    np.testing.assert_allclose(
        compute_occlusion(linear_network(), FILMS, patches=2, fill=0.25),
        np.kron(fall, np.ones((2, 2))),
        atol=1e-5,
    )


def test_occlusion_covers_every_pixel_once_where_the_side_does_not_divide():
    fall = compute_occlusion(linear_network(), FILMS, patches=3, fill=0.0)
    assert np.isfinite(fall).all() and len(np.unique(fall[0])) <= 9


def test_integrated_gradients_add_up_to_the_logits_rise():
    model = curved_network()
    rise = predict_logits(model, FILMS) - predict_logits(model, np.zeros_like(FILMS))
    errors = [
        np.abs(compute_integrated_gradients(model, FILMS, steps=n).sum(axis=(1, 2)) - rise).max()
        for n in (4, 64)
    ]
    assert errors[1] < 1e-3 and errors[1] < errors[0]


def kinked_network(height: float) -> keras.Model:
    """A logit that rises by `height`, all of it in a thousandth of the path from black."""
    film = keras.Input((4, 4, 1))
    total = keras.layers.Dense(2, activation="relu", name="kink")(keras.layers.Flatten()(film))
    model = keras.Model(film, keras.layers.Dense(1, name="logit")(total))
    steep = np.full((16, 2), 1000.0 / float(FILMS[0].sum()))
    model.get_layer("kink").set_weights([steep, np.array([-500.3, -501.3])])
    model.get_layer("logit").set_weights([np.array([[height], [-height]]), np.zeros(1)])
    return model


def test_integrated_gradients_take_as_many_steps_as_they_need():
    model = curved_network()
    rise = predict_logits(model, FILMS) - predict_logits(model, np.zeros_like(FILMS))
    found = compute_integrated_gradients(model, FILMS).sum(axis=(1, 2))
    assert (np.abs(found - rise) <= 0.02 * np.maximum(1, np.abs(rise))).all()


def test_integrated_gradients_that_do_not_add_up_say_so():
    """All of the rise happens between two of 512 steps."""
    with pytest.warns(UserWarning, match=r"1 of 1 films do not add up.*of a rise of \+5 logits"):
        compute_integrated_gradients(kinked_network(5.0), FILMS[:1])


def test_smoothgrad_is_the_same_again_and_alone():
    model = curved_network()
    both = compute_smoothgrad(model, FILMS, seed=3)
    np.testing.assert_allclose(compute_smoothgrad(model, FILMS[1:], seed=3)[0], both[1], atol=1e-6)
    assert np.abs(compute_smoothgrad(model, FILMS, seed=4) - both).max() > 0


def test_baselines_know_no_network():
    films = np.zeros((2, 8, 8), np.uint8)
    films[:, :, 4:] = 255
    edges, centre, noise = draw_edges(films), draw_centre(films), draw_random(FILMS)
    assert edges[0, 4].argmax() in (3, 4) and edges[0, :, 0].max() == 0
    assert centre[0].max() == centre[0, 4, 4] and centre[0, 0, 0] < 0.2
    assert np.abs(noise[0] - noise[1]).max() > 0
    assert np.array_equal(noise[1], draw_random(FILMS[1:])[0])
    blocks = draw_random(np.zeros((1, 64, 64), np.uint8))[0]  # eight squares along each side
    assert len(np.unique(blocks)) == 64 and np.ptp(blocks[:8, :8]) == 0


def test_a_network_that_ends_in_a_sigmoid_is_refused():
    film = keras.Input((4, 4, 1))
    with pytest.raises(ValueError, match="ends in sigmoid"):
        compute_smoothgrad(
            keras.Model(
                film, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(film))
            ),
            FILMS,
        )
