"""Sanity tests catch what they should, and let an oracle pass.

An edge detector fails on a random network, noise fails on small changes.
"""

import numpy as np
import pandas as pd
import pytest

from rahelpers.core.config import make_config
from rahelpers.data.counterfactual import redraw_film
from rahelpers.explanation.attributions import draw_edges, draw_random
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.sanity import (
    change_exposure,
    compare_maps,
    judge,
    list_blocks,
    run_cascade,
    run_changes,
    run_counterfactuals,
    run_retrained,
    shift_films,
    summarise_fall,
    summarise_sanity,
    targets_of,
)
from rahelpers.explanation.tables import show_sanity
from rahelpers.network.bundle import predict_logits
from rahelpers.network.vgg import build_network

EXPLAINERS = {
    "gradcam": lambda model, images: compute_gradcam(model, images, "block5_relu2").maps,
    "edges": lambda _, images: draw_edges(images),
    "random": lambda _, images: draw_random(images),
}


@pytest.fixture(scope="module")
def model():
    from rahelpers.network.backend import keras

    keras.utils.set_random_seed(5)
    return build_network("vgg_small", 48)


@pytest.fixture(scope="module")
def ill():
    """The first phantom films with lesions, drawn with and without them."""
    config = make_config(image_size=48)
    found = []
    for i in range(12):
        film = redraw_film(config, f"P{i:05d}_L")
        if targets_of(film.masks)["lesions"].any():
            found.append(film)
    return found[:3]


def test_maps_are_compared_by_rank_and_by_structure():
    heat, where = np.random.default_rng(0).random((16, 16)), np.ones((16, 16), bool)
    assert compare_maps(heat, heat**3, where)[0] == pytest.approx(1)
    assert compare_maps(heat, heat, where)[1] == pytest.approx(1)
    assert compare_maps(heat, 1 - heat, where)[0] == pytest.approx(-1)
    assert compare_maps(heat, 0 * heat, where)[0] == 0
    assert compare_maps(0 * heat, 0 * heat, where) == (1, 1)


def test_blocks_go_from_the_logit_to_the_film(model):
    assert [block for block, _ in list_blocks(model)] == [
        "logit",
        "block5",
        "block4",
        "block3",
        "block2",
        "block1",
    ]


def test_cascade_leaves_the_network_alone_and_catches_what_does_not_look_at_it(model, ill):
    images = np.stack([f.image for f in ill])
    before = predict_logits(model, images)
    table = run_cascade(model, images, EXPLAINERS, 0)
    np.testing.assert_array_equal(predict_logits(model, images), before)
    assert len(table) == 3 * 3 * (6 + 1)
    assert set(table["draw"]) == {0, 1} == set(table.loc[table["depth"] == 6, "draw"])
    last = table[table["depth"] == 6].groupby("method")["rank_correlation"].mean()
    assert last["edges"] == pytest.approx(1)
    assert last["random"] == pytest.approx(1)
    assert last["gradcam"] < 0.9
    pd.testing.assert_frame_equal(table, run_cascade(model, images, EXPLAINERS, 0))


def test_a_network_trained_again_is_compared_method_by_method(model, ill):
    """Another network has another Grad-CAM, the same network the same one.

    A map that knows no network stays.
    """
    from rahelpers.network.backend import keras
    from rahelpers.training.repeats import RepeatJob

    images = np.stack([f.image for f in ill])
    other = keras.models.clone_model(model)
    table = run_retrained(
        model, {RepeatJob("seed", 2): model, RepeatJob("shuffled", 0): other}, images, EXPLAINERS
    )
    means = table.groupby(["kind", "method"])["rank_correlation"].mean()
    assert means["seed"].tolist() == pytest.approx([1, 1, 1])
    assert means["shuffled", "edges"] == pytest.approx(1)
    assert means["shuffled", "gradcam"] < 0.9
    assert len(table) == 2 * 3 * 3
    assert list(run_retrained(model, {}, images, EXPLAINERS)) == list(table)


def test_a_shifted_map_is_moved_back(model, ill):
    images = np.stack([f.image for f in ill])
    table = run_changes(model, images, EXPLAINERS).groupby("method")["rank_correlation"].mean()
    assert table["edges"] > 0.9 and abs(table["random"]) < 0.2
    films = np.arange(2 * 25).reshape(2, 5, 5)
    moved = shift_films(films, 1, 2)
    assert moved[0, 2, 1] == films[0, 0, 0]
    assert np.array_equal(shift_films(moved, -1, -2)[:, :3, :4], films[:, :3, :4])
    assert change_exposure(np.array([[[0, 128, 255]]], np.uint8), 0.5).tolist() == [[[0, 181, 255]]]


def test_redrawn_film_is_the_curated_one_and_differs_only_where_the_disease_is(tiny_run, ill):
    from rahelpers.curation.cohort import load_cohort

    cohort = load_cohort(tiny_run)
    row = int(cohort.manifest.index[cohort.manifest["label"] == 1][0])
    film = redraw_film(tiny_run.config, cohort.manifest["image_id"].iloc[row])
    assert np.array_equal(film.image, cohort.images[row])
    targets = targets_of(film.masks)
    for name, masks in (("lesions", cohort.lesions), ("signs", cohort.signs)):
        shared = (targets[name] & masks[row]).sum() / max((targets[name] | masks[row]).sum(), 1)
        assert shared > 0.8 or not masks[row].any()
    for film in ill:
        changed = np.abs(film.image.astype(int) - film.healthy)
        signs = targets_of(film.masks)["signs"]
        assert changed[signs].mean() > 2 * changed[~signs].mean() and 0.5 < film.spacing_mm < 10


def test_a_film_without_disease_is_its_own_counterfactual():
    config = make_config(image_size=48)
    for i in range(20):
        film = redraw_film(config, f"P{i:05d}_L")
        if not any(mask.any() for mask in film.masks.values()):
            assert np.abs(film.image.astype(int) - film.healthy).mean() < 1
            return
    pytest.fail("every one of 20 films has a sign")


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        ({"source": "ram-h1200"}, "x", "expected 'phantom'"),
        ({}, "P99999_L", "P00000_L to P00039_R"),
    ],
)
def test_only_a_phantom_film_can_be_drawn_without_its_disease(values, name, message):
    with pytest.raises(ValueError, match=message):
        redraw_film(make_config(**values), name)


def test_heat_that_follows_the_lesion_leaves_with_it(model, ill):
    """An oracle that knows the difference passes; a map that never moves does not."""
    known = {film.image.tobytes(): targets_of(film.masks)["lesions"] for film in ill}

    def oracle(_, images):
        return np.stack([known.get(i.tobytes(), np.zeros(i.shape)) + 0.01 for i in images])

    table = run_counterfactuals(
        model, ill, {"oracle": oracle, "still": lambda _, images: np.ones(images.shape)}
    )
    lesions = table[table["target"] == "lesions"].set_index("method")
    assert (lesions.loc["oracle", "energy_with"] > lesions.loc["oracle", "energy_without"]).all()
    assert (lesions.loc["still", "energy_with"] == lesions.loc["still", "energy_without"]).all()


def summary(fall: float, n: int = 12):
    films = np.arange(n)
    cascade = pd.DataFrame(
        {"film": films, "method": "good", "depth": 2, "rank_correlation": 0.05 + 0.01 * films}
    )
    changes = pd.DataFrame(
        {"film": films, "method": "good", "rank_correlation": 0.9 + 0.01 * (films % 2)}
    )
    retrained = pd.DataFrame(
        {
            "film": films,
            "method": "good",
            "kind": ["seed", "shuffled"] * (n // 2) + ["seed"] * (n % 2),
        }
    )
    retrained["rank_correlation"] = np.where(retrained["kind"] == "seed", 0.8, 0.1) + 0.01 * films
    removed = pd.DataFrame(
        {
            "film": films,
            "method": "good",
            "target": "lesions",
            "energy_with": 0.5 + 0.01 * films,
            "energy_without": 0.1,
            "fall": fall,
        }
    )
    return (
        summarise_sanity(cascade, retrained, changes, removed, np.array([f"p{i}" for i in films])),
        removed,
    )


def test_verdicts():
    table, removed = summary(1.0)
    assert table["verdict"].tolist() == ["passes"] * 5
    assert table["test"].tolist() == [
        "random network",
        "shuffled labels",
        "another seed",
        "small changes",
        "lesion removed",
    ]
    assert table.set_index("test").loc[
        ["shuffled labels", "another seed"], "value"
    ].tolist() == pytest.approx([0.1 + 0.06, 0.8 + 0.05])
    assert summarise_fall(removed, np.array([f"p{i}" for i in range(12)]))["value"] == 1.0
    assert summary(0.0)[0].set_index("test").loc["lesion removed", "verdict"] == "network blind"
    assert set(summary(1.0, 3)[0]["verdict"]) == {"too few patients"}
    assert judge({"low": 0.4, "high": 0.6, "patients": 9}, 0.5, "below") == "cannot say"
    assert judge({"low": 0.6, "high": 0.7, "patients": 9}, 0.5, "below") == "fails"
    page = show_sanity(table, "RA (phantom)").to_html()
    assert "RA (phantom)" in page and "12 films of 12 patients" in page and "passes: 0.9" in page


def test_sanity_of_a_source_without_counterfactuals():
    _, removed = summary(1.0)
    cascade = pd.DataFrame({"film": range(8), "method": "m", "depth": 1, "rank_correlation": 0.0})
    changes = pd.DataFrame({"film": range(8), "method": "m", "rank_correlation": 1.0})
    table = summarise_sanity(
        cascade,
        run_retrained(None, {}, np.zeros((0, 4, 4), np.uint8), {}),
        changes,
        removed.iloc[:0],
        np.arange(8).astype(str),
    )
    assert table["test"].tolist() == ["random network", "small changes"]
