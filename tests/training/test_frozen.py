"""Frozen layers are computed once, their kept outputs lead to the same logits, and a fitted head
gives exactly the logits that scikit-learn fitted.
"""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits
from rahelpers.network.vgg import build_network
from rahelpers.training.fitting import predict_rows
from rahelpers.training.frozen import compute_frozen, find_cut
from rahelpers.training.head import STRENGTHS, fit_head


@pytest.fixture
def network():
    keras.utils.set_random_seed(1)
    return build_network("vgg16", 32)


def freeze_before(model, block: int) -> None:
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = int(layer.name[5]) >= block


EVERY = np.arange(40)


def see_frozen(network, images, wanted, seed, folder) -> list[np.ndarray]:
    """Pooled features of the wanted rows of each copy."""
    pools = [network.get_layer("pools").output]
    found = compute_frozen(network, pools, images, wanted, seed, False, folder)
    return [copy[0][rows] for copy, rows in zip(found, wanted, strict=True)]


def test_each_film_is_computed_once_by_its_content(spotted_films, network, tmp_path, monkeypatch):
    images, _ = spotted_films
    first = see_frozen(network, images, [EVERY, EVERY[:25]], 7, tmp_path)
    assert first[0].shape == (40, 2048) and len(list(tmp_path.rglob("*.npz"))) == 65
    assert not np.allclose(first[0][:25], first[1]), "the second copy is augmented"
    monkeypatch.setattr("rahelpers.training.frozen.as_batch", lambda _: pytest.fail("seen again"))
    again = see_frozen(network, images, [EVERY, EVERY[:25]], 7, tmp_path)[1]
    np.testing.assert_array_equal(again, first[1])
    other_seed = see_frozen(network, images, [EVERY], 8, tmp_path)[0]
    np.testing.assert_array_equal(other_seed, first[0], "the film itself has no seed")
    turned = see_frozen(network, images[::-1], [EVERY], 7, tmp_path)[0]
    np.testing.assert_array_equal(turned, first[0][::-1], "another order, the same films")
    monkeypatch.undo()
    other = see_frozen(network, np.ascontiguousarray(images[:, ::-1]), [EVERY[:3]], 7, tmp_path)[0]
    assert not np.allclose(other, first[0][:3]) and len(list(tmp_path.rglob("*.npz"))) == 68


def test_a_films_copy_does_not_depend_on_the_other_films_of_its_batch(
    spotted_films, network, tmp_path
):
    images, _ = spotted_films
    in_batch, alone = (
        see_frozen(network, images, [EVERY[:1], rows], 7, tmp_path / name)[1]
        for rows, name in ((EVERY, "a"), (EVERY[30:], "b"))
    )
    np.testing.assert_array_equal(in_batch[30:], alone)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (6, {"pools"}),
        (5, {"block4_pool", "fine_pool", "fine_maximum"}),
        (4, {"block3_pool"}),
        (1, set()),
    ],
)
def test_the_cut_is_before_the_first_layer_that_learns(
    spotted_films, network, tmp_path, block, expected
):
    images, _ = spotted_films
    freeze_before(network, block)
    cut = find_cut(network)
    assert {t._keras_history.operation.name for t in cut} == expected
    if cut:
        frozen = compute_frozen(network, cut, images, [EVERY], 7, False, tmp_path)
        answers = predict_rows(keras.Model(cut, network.output), frozen[0], np.arange(40))
        # float16 keeps 11 bits of a map
        np.testing.assert_allclose(
            answers, predict_logits(network, images), rtol=1e-2, atol=1e-3 * np.abs(answers).max()
        )


def test_a_fitted_head_gives_the_logits_of_logistic_regression(spotted_films, network, tmp_path):
    images, labels = spotted_films
    train, validation = np.arange(0, 28), np.arange(28, 40)
    features = see_frozen(network, images, [EVERY], 7, tmp_path)[0][None]
    history = fit_head(network, features, labels, train, validation)
    x = features[0].astype(np.float64)
    mean, sd = x[train].mean(0), np.sqrt(np.maximum(x[train].var(0), 1e-3))  # batch norm's epsilon
    best = STRENGTHS[int(history["validation_auc"].argmax())]
    fitted = LogisticRegression(C=best, class_weight="balanced", max_iter=2000).fit(
        (x[train] - mean) / sd, labels[train]
    )
    expected = fitted.decision_function((x - mean) / sd)
    np.testing.assert_allclose(
        predict_logits(network, images), expected, atol=2e-3 * max(1, np.abs(expected).max())
    )
    assert history["validation_auc"].max() == pytest.approx(
        roc_auc_score(labels[validation], expected[validation])
    )
    assert history["epoch"].tolist() == list(range(1, len(STRENGTHS) + 1))
