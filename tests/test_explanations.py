"""Grad-CAM against a map worked on paper and against tf-explain; SHAP against exact Shapley values."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from rahelpers.gradcam import compute_gradcam, explain_gradcam, tf_explain_gradcam
from rahelpers.inference import predict_logits
from rahelpers.scoreboard import choose_films, energy_inside, pointing_hit
from rahelpers.shap_regions import Regions, compute_region_shap, explain_shap, make_regions
from rahelpers.tensorflow_quiet import keras


def paper_network(weights=(2.0, -1.0)) -> keras.Model:
    """Two 1 x 1 maps, x and 1 - x; the logit is w1 mean(x) + w2 mean(1 - x)."""
    film = keras.Input((4, 4, 1))
    maps = keras.layers.Conv2D(2, 1, name="maps")(film)
    model = keras.Model(film, keras.layers.Dense(1, name="logit")(keras.layers.GlobalAveragePooling2D()(maps)))
    model.get_layer("maps").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])
    model.get_layer("logit").set_weights([np.array([[weights[0]], [weights[1]]]), np.zeros(1)])
    return model


FILM = (np.arange(16, dtype=np.float32).reshape(1, 4, 4)) / 15


def test_gradcam_on_paper():
    # alpha = (2, -1) / 16; ReLU(2 x - (1 - x)) / 16 = ReLU(3 x - 1) / 16, whose peak is 2 / 16 at x = 1
    cam = compute_gradcam(paper_network(), FILM, "maps")
    np.testing.assert_allclose(cam.maps[0], np.maximum(3 * FILM[0] - 1, 0) / 2, atol=1e-6)
    negative = compute_gradcam(paper_network(), FILM, "maps", positive=False)
    np.testing.assert_allclose(negative.maps[0], np.maximum(1 - 3 * FILM[0], 0), atol=1e-6)


def test_flat_map_is_zero_and_says_so():
    cam = compute_gradcam(paper_network((0.0, 0.0)), FILM, "maps")
    assert cam.flat.all() and not cam.maps.any() and np.isfinite(cam.maps).all()


def test_unknown_layer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="maps"):
        compute_gradcam(paper_network(), FILM, "logit")


def test_agrees_with_tf_explain(tiny_run):
    from rahelpers.curation import load_cohort
    from rahelpers.inference import load_bundle

    bundle, films = load_bundle(tiny_run.file("train", "bundle/bundle.json").parent), load_cohort(tiny_run).images[:3]
    layer = bundle.info["gradcam_layer"]
    side = bundle.model.get_layer(layer).output.shape[1]
    theirs = np.maximum(tf_explain_gradcam(bundle.model, films, layer), 0)
    ours = compute_gradcam(bundle.model, films, layer)
    for mine, other, flat in zip(ours.maps, theirs, ours.flat, strict=True):
        if flat:
            assert other.max() <= 1e-6
            continue
        import cv2

        large = cv2.resize(other / other.max(), (films.shape[1],) * 2, interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(mine, large, atol=1e-3)
    assert side < films.shape[1]


def corner_network() -> keras.Model:
    """A logit that multiplies two quarters of the film: a game with an interaction."""
    film = keras.Input((4, 4, 1))
    quarters = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(film))
    hidden = keras.layers.Dense(3, activation="relu", name="hidden")(quarters)
    model = keras.Model(film, keras.layers.Dense(1, name="logit")(hidden))
    rng = np.random.default_rng(0)
    model.get_layer("hidden").set_weights([rng.normal(0, 1, (4, 3)), np.array([-0.3, 0.1, -0.2])])
    model.get_layer("logit").set_weights([rng.normal(0, 1, (3, 1)), np.array([0.2])])
    return model


def test_region_shap_equals_exact_shapley_values():
    model, image = corner_network(), np.full((4, 4), 255, np.uint8)
    labels = np.kron(np.array([[0, 1], [2, 3]]), np.ones((2, 2), int))
    found = compute_region_shap(model, image, Regions(list("abcd"), labels), "black", evaluations=4000)

    def value(shown: frozenset) -> float:
        return float(predict_logits(model, np.where(np.isin(labels, list(shown)), image, 0).astype(np.uint8)[None])[0])

    worth = {frozenset(s): None for s in [()]}
    exact = np.zeros(4)
    for order in permutations(range(4)):
        for k, player in enumerate(order):
            before, after = frozenset(order[:k]), frozenset(order[: k + 1])
            for group in (before, after):
                if worth.get(group) is None:
                    worth[group] = value(group)
            exact[player] += (worth[after] - worth[before]) / 24
    np.testing.assert_allclose(found.values, exact, atol=0.03 * np.abs(exact).max())
    assert found.additivity_error < 1e-5
    assert np.abs(found.values - exact).max() < 5 * found.standard_error.max() + 1e-6


def test_regions_partition_the_film_with_and_without_joints(tiny_run):
    from rahelpers.curation import load_cohort

    cohort = load_cohort(tiny_run)
    image = np.asarray(cohort.images[0])
    for joints in (cohort.joints_of(0), cohort.joints.iloc[:0]):
        regions = make_regions(image, joints)
        assert sorted(np.unique(regions.labels)) == list(range(len(regions.names))) and len(regions.names) > 5


def test_scores_of_a_map_by_hand():
    heat, lesion = np.array([[0.1, 0.9], [0.0, 0.0]]), np.array([[False, True], [False, False]])
    assert pointing_hit(heat, lesion) and energy_inside(heat, lesion) == pytest.approx(0.9)
    assert np.isnan(energy_inside(np.zeros((2, 2)), lesion))


def test_chosen_films_are_test_films_of_both_classes():
    manifest = pd.DataFrame({"split": ["test"] * 8 + ["train"] * 4, "label": [0, 0, 1, 1, 0, 0, 1, 1] + [0, 1] * 2,
                             "patient_id": list("aabbccdd") + list("eeff")})  # fmt: skip
    rows = choose_films(manifest, 4, 0)
    assert (rows < 8).all() and manifest["label"].iloc[rows].sum() == 2 and manifest["patient_id"].iloc[rows].nunique() == 4


def test_explaining_resumes_and_is_additive(tiny_run, capsys):
    scores = explain_gradcam(tiny_run)
    assert scores["films"] == 4 and scores["lesions"]["films"] >= 1
    assert 0 < scores["lesions"]["chance"]["value"] < scores["signs"]["chance"]["value"] < 1
    record = tiny_run.folder / "05_shap" / "record.json"
    assert explain_shap(tiny_run)["largest_additivity_error"] < 1e-4
    kept = pd.read_csv(tiny_run.file("shap", "values.csv"))
    record.unlink()
    explain_shap(tiny_run)
    pd.testing.assert_frame_equal(kept, pd.read_csv(tiny_run.file("shap", "values.csv")))
