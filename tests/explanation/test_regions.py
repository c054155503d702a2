"""Players, hierarchy, baselines and the game of region SHAP."""

import numpy as np
import pandas as pd
import pytest
import shap

from rahelpers.explanation.baselines import choose_baseline, make_baseline
from rahelpers.explanation.region_game import RegionGame, RegionMasker
from rahelpers.explanation.regions import (
    BACKGROUND,
    BONE,
    MARKER,
    SOFT,
    Regions,
    find_marker,
    make_regions,
    make_tree,
    merge_regions,
)
from rahelpers.explanation.shap_step import compute_region_shap
from rahelpers.films.patches import compute_mean_patches
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits


def joint(site: str, x0: float, y0: float, x1: float, y1: float) -> dict:
    return {"site": site, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def hand_film(marker: bool = False) -> np.ndarray:
    """Draw a hand of 64 px with three fingers in dark air; its flesh is darker than its bone.

    With `marker`, a lead letter is in the corner.
    """
    film = np.full((64, 64), 10, np.uint8)
    for left, right in ((16, 22), (26, 38), (42, 48)):
        film[14:40, left:right] = 90
    film[34:60, 16:48] = 90
    film[16:60, 28:36] = 200
    if marker:
        film[3:8, 56:62] = 250
    return film


@pytest.fixture
def drawn_hand(monkeypatch):
    """Put the hand of `hand_film` where it was drawn: finding a hand has tests of its own."""
    monkeypatch.setattr(
        "rahelpers.explanation.regions.foreground",
        lambda image: (image > 50) & (np.arange(64)[:, None] > 10),
    )


def members(tree: np.ndarray, names: list[str]) -> list[set[str]]:
    sets = [{name} for name in names]
    for a, b, *_ in tree:
        sets.append(sets[int(a)] | sets[int(b)])
    return sets


def mean_network(side: int) -> keras.Model:
    film = keras.Input((side, side, 1))
    model = keras.Model(
        film, keras.layers.Dense(1, name="logit")(keras.layers.GlobalAveragePooling2D()(film))
    )
    model.get_layer("logit").set_weights([np.array([[float(side * side)]]), np.array([0.5])])
    return model


def test_every_pixel_has_one_player_with_and_without_joints(tiny_run):
    from rahelpers.curation.cohort import load_cohort

    cohort = load_cohort(tiny_run)
    image = np.asarray(cohort.images[0])
    for joints in (cohort.joints_of(0), cohort.joints.iloc[:0]):
        regions = make_regions(image, joints)
        assert sorted(np.unique(regions.labels)) == list(range(len(regions.names)))
        assert len(regions.names) > 5
        assert regions.tree.shape == (len(regions.names) - 1, 4)
        assert regions.tree[-1, 3] == len(regions.names)


def test_soft_tissue_and_marker_are_players_where_they_are_there(drawn_hand):
    with_marker, without = (
        make_regions(hand_film(marker), pd.DataFrame([joint("MCP2", 0.4, 0.3, 0.6, 0.5)]))
        for marker in (True, False)
    )
    assert with_marker.names == ["MCP2", "rest of hand", "soft tissue", "background", "marker"]
    assert "marker" not in without.names
    named = np.array(with_marker.names)[with_marker.labels]
    assert named[5, 58] == "marker"
    assert named[50, 20] == "soft tissue"
    assert named[50, 32] == "rest of hand"
    assert named[30, 2] == "background"
    assert (named == "marker").mean() < 0.06


def test_a_plain_background_has_no_mark():
    film = hand_film()
    assert not find_marker(film, film > 50).any()


def test_a_pixel_in_two_boxes_goes_to_the_nearer_centre():
    regions = make_regions(
        hand_film(),
        pd.DataFrame([joint("MCP2", 0.3, 0.3, 0.6, 0.6), joint("MCP3", 0.5, 0.3, 0.8, 0.6)]),
    )
    named = np.array(regions.names)[regions.labels]
    assert named[28, 33] == "MCP2" and named[28, 37] == "MCP3"


def test_the_hierarchy_is_film_hand_ray_joint():
    names = [
        "MCP2",
        "PIP2",
        "MCP3",
        "PIP3",
        "IP1",
        "MCP1",
        "Lunate",
        "Radius",
        "rest of hand",
        "soft tissue",
        "background",
        "marker",
    ]
    groups = members(make_tree(names, np.random.default_rng(1).random((len(names), 2))), names)
    for ray in (
        {"MCP2", "PIP2"},
        {"MCP3", "PIP3"},
        {"IP1", "MCP1"},
        {"Lunate", "Radius"},
        {"background", "marker"},
        {*names[:10]},
        {*names},
    ):
        assert ray in groups


def test_superpixels_join_by_place():
    places = np.array([[0, 0], [0, 1], [9, 9], [9, 8.0]])
    groups = members(
        make_tree(["region 1", "region 2", "region 3", "region 4"], places), list("abcd")
    )
    assert {"a", "b"} in groups and {"c", "d"} in groups


def test_inpainting_takes_a_mark_away_and_fills_a_joint_from_its_rim(drawn_hand):
    film = hand_film(marker=True)
    film[24:28, 30:34] = 120  # a dark spot in the bone
    regions = make_regions(film, pd.DataFrame([joint("MCP2", 0.46, 0.33, 0.54, 0.5)]))
    hidden, named = make_baseline(film, "inpaint", regions), np.array(regions.names)[regions.labels]
    assert np.abs(hidden[named == "marker"].astype(int) - 10).max() <= 2
    assert film[26, 31] == 120 and hidden[26, 31] > 160
    assert np.abs(hidden[named == "background"].astype(int) - 10).max() <= 1


def test_baselines_refuse_what_would_fail_silently():
    film, regions = (
        hand_film(),
        make_regions(hand_film(), pd.DataFrame([joint("MCP2", 0.4, 0.3, 0.6, 0.5)])),
    )
    with pytest.raises(ValueError, match="expected uint8"):
        make_baseline(film / 255, "inpaint", regions)
    with pytest.raises(ValueError, match="needs the regions"):
        make_baseline(film, "inpaint")
    with pytest.raises(ValueError, match="baseline='grey'"):
        make_baseline(film, "grey")
    with pytest.raises(ValueError, match="expected uint8 \\(64, 64\\)"):
        RegionMasker(regions, np.zeros((32, 32), np.uint8))


def test_healthy_baseline_shows_the_mean_site_on_the_films_grey_scale():
    box = pd.DataFrame([joint("MCP2", 0.25, 0.25, 0.75, 0.75)])
    healthy = [np.full((48, 48), grey, np.uint8) for grey in (100, 110, 120, 130, 140)]
    for film in healthy:
        film[12:36, 23:25] -= 60  # a joint line
    patches = compute_mean_patches(np.stack(healthy), 5 * [box])
    assert not compute_mean_patches(np.stack(healthy[:4]), 4 * [box])  # four would show a person
    assert patches["MCP2"].shape == (24, 24)
    np.testing.assert_allclose(patches["MCP2"][:, 0], 120)
    narrowed = np.full((48, 48), 200, np.uint8)
    hidden = make_baseline(narrowed, "healthy", joints=box, patches=patches)
    assert abs(float(hidden[12:36, 12:36].mean()) - 200) < 1
    assert int(hidden[20, 13]) - int(hidden[20, 23]) > 50
    lunate = box.assign(site="Lunate")
    with pytest.raises(ValueError, match="no site of this film"):
        make_baseline(narrowed, "healthy", joints=lunate, patches=patches)
    with pytest.raises(ValueError, match="needs the joints"):
        make_baseline(narrowed, "healthy")
    kinds = [choose_baseline("healthy", table, patches) for table in (box, lunate, box.iloc[:0])]
    assert kinds == ["healthy", "inpaint", "inpaint"]
    assert choose_baseline("blur", lunate, patches) == "blur"


def test_the_masker_serves_shap_and_a_linear_network_gets_its_own_terms():
    film = hand_film()
    regions = make_regions(
        film, pd.DataFrame([joint("MCP2", 0.4, 0.3, 0.6, 0.5), joint("PIP2", 0.4, 0.6, 0.6, 0.8)])
    )
    model, masker = mean_network(64), RegionMasker(regions, np.zeros_like(film))
    # what each region adds to the logit
    terms = np.array([film[regions.labels == k].sum() / 255 for k in range(len(regions.names))])
    flat = RegionMasker(regions, np.zeros_like(film), hierarchy=False)
    for kind, with_ in ((shap.PartitionExplainer, masker), (shap.PermutationExplainer, flat)):
        found = kind(lambda films: predict_logits(model, films), with_)(film[None], silent=True)
        np.testing.assert_allclose(found.values[0], terms, rtol=1e-4)
        assert found.feature_names == regions.names or found.feature_names[0] == regions.names
    ours = compute_region_shap(model, film, regions, "black", evaluations=20)
    for values in (ours.values, ours.owen):
        np.testing.assert_allclose(values, terms, rtol=1e-3)
    assert ours.additivity_error < 1e-4 * abs(ours.logit - ours.base_value)
    assert ours.evaluations <= 20


def test_a_baseline_may_be_a_picture():
    film = hand_film()
    regions = Regions(["a", "b"], (np.arange(64)[:, None] < 32).astype(int).repeat(64, axis=1))
    named, given = (
        compute_region_shap(mean_network(64), film, regions, b)
        for b in ("black", np.zeros_like(film))
    )
    np.testing.assert_array_equal(named.values, given.values)


def test_a_coalition_is_computed_once():
    film = hand_film()
    regions = Regions(["a", "b"], (np.arange(64)[:, None] < 32).astype(int).repeat(64, axis=1))

    batches: list[int] = []
    game = RegionGame(
        mean_network(64),
        film,
        RegionMasker(regions, np.zeros_like(film)),
        batch_size=2,
        on_batch=batches.append,
    )
    coalitions = np.array([[0, 1], [1, 0], [0, 1], [1, 1], [1, 0]], bool)
    first = game(coalitions)
    assert sum(batches) == 3 and max(batches) <= 2 and game.evaluations == 3
    np.testing.assert_array_equal(game(coalitions[::-1]), first[::-1])
    assert sum(batches) == 3
    assert first[0] == first[2]
    # the constant of the network is in both
    assert first[0] + first[1] == pytest.approx(first[3] + 0.5, rel=1e-4)


def test_only_the_empty_and_the_full_coalition_are_exact_when_a_fast_network_is_given():
    film = hand_film()
    regions = Regions(["a", "b"], (np.arange(64)[:, None] < 32).astype(int).repeat(64, axis=1))
    other = mean_network(64)
    other.get_layer("logit").set_weights([np.zeros((1, 1)), np.array([7.0])])
    game = RegionGame(
        mean_network(64), film, RegionMasker(regions, np.zeros_like(film)), fast=other
    )
    coalitions = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
    exact = RegionGame(mean_network(64), film, game.masker)(coalitions)
    np.testing.assert_allclose(game(coalitions), [exact[0], 7, 7, exact[3]])


def test_the_hierarchy_merges_into_rays_and_wrist():
    names = [f"{joint}{k}" for k in range(2, 6) for joint in ("MCP", "PIP")] + [
        "MCP1",
        "IP1",
        "Lunate",
        "Radius",
        BONE,
        SOFT,
        BACKGROUND,
        MARKER,
    ]
    labels = np.arange(len(names)).reshape(4, 4).repeat(4, axis=0).repeat(4, axis=1)
    merged = merge_regions(Regions(names, labels))
    assert sorted(merged.names) == sorted(
        [*(f"ray {k}" for k in range(1, 6)), "wrist", BONE, BACKGROUND, MARKER]
    )
    for group, members in {
        "ray 2": ["MCP2", "PIP2"],
        "wrist": ["Lunate", "Radius"],
        BONE: [BONE, SOFT],
        MARKER: [MARKER],
    }.items():
        np.testing.assert_array_equal(
            merged.labels == merged.names.index(group),
            np.isin(labels, [names.index(m) for m in members]),
        )
    assert merge_regions(merged) is merged
    pieces = [f"region {k}" for k in range(1, 15)] + [BACKGROUND, MARKER]
    assert set(merge_regions(Regions(pieces, labels), players=3).names) == {
        "region 1 and 13 more",
        BACKGROUND,
        MARKER,
    }


@pytest.mark.parametrize(("rounding", "used"), [(1e-3, True), (0.1, False)])
def test_a_fast_network_is_used_where_its_rounding_is_small(rounding, used):
    film = hand_film()
    regions = Regions(["a", "b"], (np.arange(64)[:, None] < 32).astype(int).repeat(64, axis=1))
    exact, coarse = mean_network(64), mean_network(64)
    rise = float(np.diff(predict_logits(exact, np.stack([np.zeros_like(film), film])))[0])
    weights, constant = coarse.get_layer("logit").get_weights()
    coarse.get_layer("logit").set_weights([weights * (1 + rounding), constant])
    without, given = (
        compute_region_shap(exact, film, regions, "black", 4, fast=fast) for fast in (None, coarse)
    )
    # by hand: half of the rounding error of the worth of either half
    moved = rounding * np.diff(without.values)[0] / 2 if used else 0
    np.testing.assert_allclose(without.values - given.values, [moved, -moved], atol=1e-5 * rise)
    assert without.logit == given.logit and given.additivity_error < 1e-4 * rise
