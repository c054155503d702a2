"""Class activation maps against maps on paper, for each method, both classes, any network."""

import numpy as np
import pytest

from rahelpers.explanation.gradcam import METHODS, compute_gradcam, scale_maps
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits
from rahelpers.network.graph import flatten_network, list_map_layers, raise_map

FILM = (np.arange(16, dtype=np.float32).reshape(1, 4, 4)) / 15
X = np.array([[[1.0, 0.5], [0.25, 0.0]]], np.float32)
V = np.array([[1.0, -3.0], [2.0, 4.0]], np.float32)


def pooled_network(weights=(2.0, -1.0)) -> keras.Model:
    """Two 1 x 1 maps, x and 1 - x; the logit is w1 mean(x) + w2 mean(1 - x)."""
    film = keras.Input((4, 4, 1))
    maps = keras.layers.Conv2D(2, 1, name="maps")(film)
    model = keras.Model(
        film, keras.layers.Dense(1, name="logit")(keras.layers.GlobalAveragePooling2D()(maps))
    )
    model.get_layer("maps").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])
    model.get_layer("logit").set_weights([np.array([[weights[0]], [weights[1]]]), np.zeros(1)])
    return model


def cell_network() -> keras.Model:
    """One map, x itself; the logit is the sum of V x, with a different weight for each cell."""
    film = keras.Input((2, 2, 1))
    maps = keras.layers.Conv2D(1, 1, name="maps")(film)
    model = keras.Model(film, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(maps)))
    model.get_layer("maps").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    model.get_layer("logit").set_weights([V.reshape(4, 1), np.array([0.7])])
    return model


# V's mean is 1. Grad-CAM++: alpha = g² / (2 g² + sum(x) g³) = 1 / (2 + 1.75 g); the weight is the
# sum of alpha ReLU(g).
ON_PAPER = {
    ("gradcam", True): X[0],
    ("gradcam", False): -X[0],
    ("hirescam", True): V * X[0],
    ("hirescam", False): -V * X[0],
    ("gradcam++", True): (1 / 3.75 + 2 / 5.5 + 4 / 9) * X[0],
    ("gradcam++", False): 3 / (2 + 1.75 * 3) * X[0],
}


@pytest.mark.parametrize(("method", "positive"), ON_PAPER)
def test_raw_map_on_paper_where_every_cell_has_its_own_weight(method, positive):
    found = compute_gradcam(cell_network(), X, "maps", positive, method)
    np.testing.assert_allclose(found.raw[0], ON_PAPER[method, positive], atol=1e-6)
    expected = np.maximum(ON_PAPER[method, positive], 0)
    np.testing.assert_allclose(found.maps[0], expected / max(expected.max(), 1e-9), atol=1e-6)
    assert found.flat[0] == (method == "gradcam" and not positive)


# The gradient is (2, -1) / 16. ReLU(2 x - (1 - x)) peaks at x = 1, ReLU(1 - 3 x) at x = 0.
# Grad-CAM++ drops a map whose gradient is below 0: for the positive class only x is left, for the
# negative class only 1 - x.
POOLED = {
    ("gradcam", True): np.maximum(3 * FILM[0] - 1, 0) / 2,
    ("gradcam", False): np.maximum(1 - 3 * FILM[0], 0),
    ("hirescam", True): np.maximum(3 * FILM[0] - 1, 0) / 2,
    ("hirescam", False): np.maximum(1 - 3 * FILM[0], 0),
    ("gradcam++", True): FILM[0],
    ("gradcam++", False): 1 - FILM[0],
}


@pytest.mark.parametrize(("method", "positive"), POOLED)
def test_map_on_paper_behind_mean_pooling(method, positive):
    np.testing.assert_allclose(
        compute_gradcam(pooled_network(), FILM, "maps", positive, method).maps[0],
        POOLED[method, positive],
        atol=1e-6,
    )


def test_gradcam_plus_plus_weight_on_paper():
    # g = 1/8, sum of x = 8: alpha = 1 / (2 + 8 / 8) = 1/3 in each of 16 cells; the weight is 16 / 3
    # / 8 = 2/3
    np.testing.assert_allclose(
        compute_gradcam(pooled_network(), FILM, "maps", method="gradcam++").raw[0],
        2 / 3 * FILM[0],
        atol=1e-6,
    )


def test_hirescam_adds_up_to_the_logit_without_its_bias():
    model = cell_network()
    assert compute_gradcam(model, X, "maps", method="hirescam").raw.sum() + 0.7 == pytest.approx(
        predict_logits(model, X)[0], abs=1e-6
    )


@pytest.mark.parametrize("method", METHODS)
def test_flat_map_is_zero_and_says_so(method):
    cam = compute_gradcam(pooled_network((0.0, 0.0)), FILM, "maps", method=method)
    assert cam.flat.all()
    assert not cam.maps.any()
    assert not cam.raw.any()
    assert np.isfinite(cam.maps).all()


def test_rounding_is_not_heat():
    """x - x leaves the last bits of float32: scaled to a peak of 1 they would look like a map."""
    model = pooled_network((1.0, 1.0))
    model.get_layer("maps").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.3, -0.3])])
    assert compute_gradcam(model, FILM, "maps").flat.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_name": "logit"}, "expected one of maps"),
        ({"layer_name": "nothing"}, "expected one of maps"),
        ({"method": "lrp"}, "gradcam, hirescam"),
        ({"images": np.full((1, 4, 4), np.nan, np.float32)}, "film 0 of 1 .* not finite"),
        ({"images": FILM[0]}, "expected \\(n, S, S\\)"),
        ({"images": FILM[:, :3]}, "\\(1, 3, 4\\): expected .* all of them square"),
        ({"images": FILM[:0]}, "at least one"),
        ({"images": FILM[:, :3, :3]}, "have shape \\(3, 3, 1\\): expected \\(4, 4, 1\\)"),
        ({"images": (255 * FILM).astype(int)}, "are int64: expected uint8"),
        ({"images": 255 * FILM}, "hold 255: expected values in \\[0, 1\\]"),
    ],
)
def test_what_cannot_be_explained_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        compute_gradcam(
            **{"model": pooled_network(), "images": FILM, "layer_name": "maps"} | change
        )


def test_damaged_weights_are_an_error_and_not_a_flat_map():
    with pytest.raises(ValueError, match="not finite"):
        compute_gradcam(pooled_network((np.nan, 1.0)), FILM, "maps")


@pytest.mark.parametrize(
    ("units", "activation", "message"), [(2, None, "one logit"), (1, "sigmoid", "ends in sigmoid")]
)
def test_anything_but_one_logit_is_refused(units, activation, message):
    film = keras.Input((4, 4, 1))
    maps = keras.layers.Conv2D(2, 1, name="maps")(film)
    out = keras.layers.Dense(units, activation=activation)(
        keras.layers.GlobalAveragePooling2D()(maps)
    )
    with pytest.raises(ValueError, match=message):
        compute_gradcam(keras.Model(film, out), FILM, "maps")


def deep_network() -> tuple[keras.Model, keras.Model, keras.Model]:
    """Make one network three times with the same weights: flat, nested and Sequential.

    The nested base has branches.
    """
    keras.utils.set_random_seed(0)
    film = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(film)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Add(name="branches")([keras.layers.ReLU(name="relu")(x), x])
    x = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="maps")(x)
    base = keras.Model(film, x, name="base")
    head = [
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dropout(0.5, name="dropout"),
        keras.layers.Dense(1, name="logit"),
    ]
    nested_film = keras.Input((8, 8, 1))
    flat, nested = base.output, base(nested_film)
    for layer in head:
        flat, nested = layer(flat), layer(nested)
    return (
        keras.Model(film, flat),
        keras.Model(nested_film, nested),
        keras.Sequential([keras.Input((8, 8, 1)), base, *head]),
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_nested_base_and_a_sequential_network_give_the_flat_ones_map(method):
    films = np.random.default_rng(1).random((3, 8, 8), dtype=np.float32)
    flat, nested, sequential = deep_network()
    assert (
        list_map_layers(nested)
        == list_map_layers(flat)
        == ["first", "norm", "relu", "branches", "maps"]
    )
    for layer in ("first", "relu", "maps"):
        expected = compute_gradcam(flat, films, layer, method=method).raw
        for other in (nested, sequential):
            np.testing.assert_allclose(
                compute_gradcam(other, films, layer, method=method).raw, expected, atol=1e-6
            )


def test_a_flattened_network_follows_the_weights_of_its_model():
    _, nested, _ = deep_network()
    films = np.random.default_rng(2).random((2, 8, 8), dtype=np.float32)
    compute_gradcam(nested, films, "maps")  # traced
    nested.get_layer("logit").set_weights([0 * w for w in nested.get_layer("logit").get_weights()])
    assert not predict_logits(flatten_network(nested), films).any()
    assert compute_gradcam(nested, films, "maps").flat.all()


def test_gradient_of_the_maps_by_finite_differences():
    """A weight of Grad-CAM is the slope of the logit in one map, per cell.

    The slope is measured by raising all cells of the map a little.
    """
    flat, _, _ = deep_network()
    films = np.random.default_rng(3).random((1, 8, 8), dtype=np.float32)
    maps = (
        keras.Model(flat.input, flat.get_layer("maps").output)(films[..., None])
        .numpy()
        .astype(np.float64)
    )
    weights, bias = (w.astype(np.float64) for w in flat.get_layer("logit").get_weights())

    def logit(m):
        return float((m.reshape(1, -1) @ weights + bias)[0, 0])

    alpha = [(logit(maps + 0.01 * (np.arange(3) == k)) - logit(maps)) / 0.01 / 64 for k in range(3)]
    np.testing.assert_allclose(
        compute_gradcam(flat, films, "maps").raw[0], (maps[0] * alpha).sum(axis=-1), atol=1e-5
    )


def test_a_batch_gives_each_films_own_map_in_one_graph():
    films = np.random.default_rng(4).random((7, 4, 4), dtype=np.float32)
    model = pooled_network()
    together = compute_gradcam(model, films, "maps", batch_size=3)
    for i in range(7):
        np.testing.assert_allclose(
            together.maps[i], compute_gradcam(model, films[i : i + 1], "maps").maps[0], atol=1e-6
        )


def test_scaling_cuts_the_negative_and_never_divides_by_nothing():
    raw = np.array([[[-1.0, 2.0], [0.5, 0.0]], [[-3.0, -1.0], [0.0, 0.0]]])
    np.testing.assert_allclose(scale_maps(raw, 2), [[[0, 1], [0.25, 0]], [[0, 0], [0, 0]]])
    assert scale_maps(raw, 5).shape == (2, 5, 5)


def test_bfloat16_networks_give_the_map_of_their_float32_selves():
    flat, _, _ = deep_network()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half, _, _ = deep_network()
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(flat.get_weights())
    films = np.random.default_rng(5).random((2, 8, 8), dtype=np.float32)
    a, b = compute_gradcam(flat, films, "maps"), compute_gradcam(half, films, "maps")
    assert b.maps.dtype == np.float32 and np.abs(a.maps - b.maps).max() < 0.05


def test_vgg16_is_explained_at_its_last_convolution():
    from rahelpers.network.vgg import build_network, gradcam_layer

    keras.utils.set_random_seed(1)
    model = build_network("vgg16", 32)
    films = np.random.default_rng(6).random((2, 32, 32), dtype=np.float32)
    cam = compute_gradcam(model, films, gradcam_layer(model))
    assert cam.raw.shape == (2, 2, 2) and np.isfinite(cam.maps).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("row", "column"), [(12, 52), (52, 12), (30, 40)])
def test_the_heat_is_where_the_evidence_is(method, row, column):
    """A positive control: every filter of vgg_small sums its input, so a bright spot is evidence.

    Rows of the map are rows of the film.
    """
    from rahelpers.network.vgg import build_network, gradcam_layer

    model = build_network("vgg_small", 64)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([np.full(w.shape, 1 / w[..., 0].size) for w in layer.get_weights()])
    model.get_layer("logit").set_weights([np.ones((128, 1)), np.zeros(1)])
    film = np.zeros((1, 64, 64), np.float32)
    film[0, row - 2 : row + 2, column - 2 : column + 2] = 1
    heat = compute_gradcam(model, film, gradcam_layer(model), method=method).maps[0]
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    # one cell of the last maps is 16 pixels wide
    assert abs(y - row) <= 16
    assert abs(x - column) <= 16
    assert not compute_gradcam(
        model, film, gradcam_layer(model), positive=False, method=method
    ).maps.any()


def test_a_raised_map_moves_the_logit_as_the_gradient_says():
    model = pooled_network()  # the logit is 2 mean(x) - mean(1 - x)
    before = predict_logits(model, FILM)
    for channel, slope in ((0, 2.0), (1, -1.0)):
        np.testing.assert_allclose(
            predict_logits(raise_map(model, "maps", channel, 0.1), FILM) - before,
            0.1 * slope,
            atol=1e-6,
        )
    np.testing.assert_array_equal(predict_logits(model, FILM), before)


def test_a_head_that_reads_two_blocks_is_explained_at_each():
    """The logit is the mean of `fine` (1 x) plus the maximum of `coarse` (2 x).

    No single layer separates the film from the logit.
    """
    film = keras.Input((4, 4, 1))
    fine = keras.layers.Conv2D(1, 1, use_bias=False, name="fine")(film)
    coarse = keras.layers.Conv2D(1, 1, use_bias=False, name="coarse")(fine)
    pools = [keras.layers.GlobalAveragePooling2D()(fine), keras.layers.GlobalMaxPooling2D()(coarse)]
    model = keras.Model(
        film, keras.layers.Dense(1, name="logit")(keras.layers.Concatenate()(pools))
    )
    for name, value in (("fine", 1.0), ("coarse", 2.0)):
        model.get_layer(name).set_weights([np.full((1, 1, 1, 1), value)])
    model.get_layer("logit").set_weights([np.ones((2, 1)), np.zeros(1)])
    # at `coarse` only the cell of the maximum has a gradient, 1: the mean is 1/16. At `fine`: 1/16
    # in each cell, and 2 more in the cell of the maximum
    np.testing.assert_allclose(
        compute_gradcam(model, FILM, "coarse").raw[0], 2 * FILM[0] / 16, atol=1e-6
    )
    np.testing.assert_allclose(
        compute_gradcam(model, FILM, "fine").raw[0], (1 + 2) / 16 * FILM[0], atol=1e-6
    )
    at_fine = FILM[0] / 16 + 2 * FILM[0] * (FILM[0] == 1)
    np.testing.assert_allclose(
        compute_gradcam(model, FILM, "fine", method="hirescam").raw[0], at_fine, atol=1e-6
    )
    before = predict_logits(model, FILM)
    np.testing.assert_allclose(
        predict_logits(raise_map(model, "fine", 0, 0.1), FILM) - before, 0.1 + 0.2, atol=1e-6
    )
