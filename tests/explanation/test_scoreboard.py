"""Scores against numbers worked on paper, and the scoreboard of films whose lesion is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from rahelpers.core.config import make_config
from rahelpers.data.counterfactual import redraw_film
from rahelpers.explanation.sanity import compare_maps
from rahelpers.explanation.scoreboard import (
    compute_deletion,
    energy_inside,
    make_board,
    overlap,
    pointing_hit,
    rank_lesions,
    score_film,
    score_map,
    show_board,
    summarise_ranks,
)
from rahelpers.explanation.tables import show_sanity
from rahelpers.films.sites import name_site
from rahelpers.scores.intervals import interval_text, mean_interval
from tests.reference import quantus_values as drawn

HEAT = np.array([[1.0, 0.6], [0.4, 0.0]])
TOP, LEFT = np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])
ALL = np.ones((2, 2), bool)
# two boxes that overlap, and one in a corner
BOXES = pd.DataFrame(
    {
        "site": ["MCP2", "Lunate", "IP1"],
        "x0": [0.1, 0.3, 0.7],
        "y0": [0.1, 0.3, 0.7],
        "x1": [0.5, 0.7, 1.0],
        "y1": [0.5, 0.7, 1.0],
    }
)


def test_masks_of_255_are_masks_and_what_is_not_heat_is_refused():
    for score in (pointing_hit, energy_inside, overlap):
        assert score(HEAT, 255 * LEFT.astype(np.uint8)) == score(HEAT, LEFT)
        with pytest.raises(ValueError, match="map of \\(1, 2\\) and a mask of \\(2, 2\\)"):
            score(HEAT[:1], LEFT)
        for wrong in (HEAT - 1, HEAT * np.nan):
            with pytest.raises(ValueError, match="expected finite numbers of at least 0"):
                score(wrong, LEFT)


def test_scores_on_paper():
    assert pointing_hit(HEAT, TOP)
    assert not pointing_hit(HEAT, ~TOP)
    assert not pointing_hit(0 * HEAT, ALL)
    # three of four points are equally hot, and two of the three are on the left
    assert pointing_hit(np.array([[0.9, 0.9], [0.9 - 1e-12, 0.1]]), LEFT) == pytest.approx(2 / 3)
    assert pointing_hit(np.full((2, 2), 0.3), LEFT) == 0.5
    assert energy_inside(HEAT, TOP) == pytest.approx(0.8) and np.isnan(energy_inside(0 * HEAT, TOP))
    # above half of the peak are 1 and 0.6, both in TOP; LEFT shares one of three pixels
    assert overlap(HEAT, TOP) == 1
    assert overlap(HEAT, LEFT) == pytest.approx(1 / 3)
    assert overlap(HEAT, LEFT, threshold=0.3) == pytest.approx(2 / 3)
    assert overlap(0 * HEAT, TOP) == 0 and overlap(0 * HEAT, ~ALL) == 0
    # LEFT's pixels come first and third: (1/1 + 2/3) / 2
    assert score_map(HEAT, LEFT, ALL) == pytest.approx(
        {"hit": 1, "energy": 0.7, "iou": 1 / 3, "ap": 5 / 6, "chance": 0.5, "chance_of_hit": 0.5}
    )


def test_heat_next_to_the_hand_counts_only_for_pointing():
    hand, lesion = (
        np.array([[False, True], [True, True]]),
        np.array([[False, True], [False, False]]),
    )
    found = score_map(HEAT, lesion, hand)
    assert found["hit"] == 0
    assert found["energy"] == pytest.approx(0.6)
    assert found["ap"] == 1
    # the hottest point is looked for on the entire film
    assert found["chance"] == pytest.approx(1 / 3) and found["chance_of_hit"] == 1 / 4


def test_a_flat_map_finds_nothing_and_is_nan_only_in_its_energy():
    found = score_map(0 * HEAT, TOP, ALL)
    assert (found["hit"], found["iou"], found["ap"]) == (0, 0, 0.5) and np.isnan(found["energy"])


def test_rank_of_each_lesion_on_paper():
    heat = np.arange(16.0).reshape(4, 4)
    corners = np.zeros((4, 4), bool)
    corners[0, 0] = corners[3, 2:] = True
    ranks = rank_lesions(heat, {"erosion": corners}, np.ones((4, 4), bool), BOXES)
    assert ranks["area"].tolist() == [1 / 16, 2 / 16]
    assert ranks["rank"].tolist() == pytest.approx([0.5 / 16, 15 / 16])
    assert rank_lesions(0 * heat, {"erosion": corners}, np.ones((4, 4), bool), BOXES)[
        "rank"
    ].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("rows", "columns", "site"),
    [
        (slice(1, 2), slice(1, 2), "MCP2"),
        (slice(3, 4), slice(3, 4), "MCP2"),
        (slice(4, 5), slice(4, 5), "Lunate"),  # middles 0.15, 0.35 and 0.45 of the side
        (slice(8, 10), slice(8, 10), "IP1"),
        (slice(0, 1), slice(9, 10), "no marked joint"),
    ],
)
def test_a_lesion_is_named_after_the_nearest_box_that_holds_it(rows, columns, site):
    mask = np.zeros((10, 10), bool)
    mask[rows, columns] = True
    assert name_site(mask, BOXES) == site and name_site(mask, BOXES.iloc[:0]) == "no marked joint"


def test_places_are_named_after_kinds_of_joints_and_an_unknown_name_is_not_a_wrist():
    sites = ["MCP2", "PIP5", "IP1", "CMC4", "Ulna", "SC", "DIP3", "no marked joint"]
    ranks = pd.DataFrame(
        {
            "site": sites,
            "type": "erosion",
            "area": 0.1,
            "rank": 0.5,
            "method": "m",
            "patient_id": "p",
            "image_id": "f",
        }
    )
    found = summarise_ranks(ranks).query("by == 'site'").set_index("group")["lesions"].to_dict()
    assert found == {
        "MCP joints": 1,
        "PIP and IP joints": 2,
        "wrist": 3,
        "other joints": 1,
        "no marked joint": 1,
    }


# Quantus 0.6.0 on the three films of tests/reference/quantus_values.py, which prints them
QUANTUS = {
    "pointing game": [True, True, False],
    "relevance mass accuracy": [0.07614383724, 0.1321973483, 0.02060915615],
    "AUC": [0.8855578728, 0.8777446462, 0.4239650225],
    "pixel flipping": [
        [2.684548812, 2.650385659, 2.58541452, 2.509630842,
         2.424525275, 2.359890995, 2.286056277, 2.235457592],
        [-0.2200870292, -0.2171121539, -0.2030776892, -0.1803175982,
         -0.1719911581, -0.150116529, -0.1416143114, -0.144627685],
        [-1.710977281, -1.625896627, -1.540821946, -1.488393459,
         -1.445206499, -1.410820502, -1.392626976, -1.390967501],
    ],
    "correlation_spearman": [0.7140116922, 0.6594457212, -0.001051226986],
}  # fmt: skip


@pytest.mark.parametrize("k", range(3))
def test_scores_are_those_of_quantus(k):
    film, heat, lesion = drawn.draw(k)
    everywhere = np.ones(film.shape, bool)
    assert pointing_hit(heat, lesion) == QUANTUS["pointing game"][k]
    assert energy_inside(heat, lesion) == pytest.approx(
        QUANTUS["relevance mass accuracy"][k], rel=1e-8
    )
    # the mean rank r of a lesion of n pixels among N, and the ROC AUC of its pixels, are the same:
    # AUC = (N r - n / 2) / (N - n)
    rank = rank_lesions(heat, {"erosion": lesion}, everywhere, BOXES)["rank"].item()
    inside = lesion.sum()
    auc = (lesion.size * rank - inside / 2) / (lesion.size - inside)
    assert auc == pytest.approx(QUANTUS["AUC"][k], rel=1e-8)
    deletion = compute_deletion(drawn.predict, film, drawn.blur(film), heat, 0, steps=drawn.PARTS)[
        "deletion"
    ].to_numpy()[1:]  # the first is the whole film
    assert np.log(deletion / (1 - deletion)) == pytest.approx(
        np.array(QUANTUS["pixel flipping"][k]), rel=1e-8
    )
    assert compare_maps(heat, drawn.draw((k + 1) % 3)[1], everywhere)[0] == pytest.approx(
        QUANTUS["correlation_spearman"][k], abs=1e-6
    )


def test_noise_ranks_large_and_small_lesions_at_chance():
    """If a score grew with size, large lesions would seem to be found."""
    rng = np.random.default_rng(0)
    masks = {"small": np.zeros((32, 32), bool), "large": np.zeros((32, 32), bool)}
    masks["small"][4, 4] = masks["large"][10:20, 10:20] = True
    found = pd.concat(
        [
            rank_lesions(rng.random((32, 32)), masks, np.ones((32, 32), bool), BOXES)
            for _ in range(300)
        ]
    )
    for _, part in found.groupby("type"):
        assert part["rank"].mean() == pytest.approx(0.5, abs=0.05)


def test_deletion_and_insertion_on_paper():
    """The logit is the brightness of one pixel.

    If it is deleted first, the probability is high once and low from then on.
    """
    image = np.zeros((32, 32), np.uint8)
    image[5, 7] = 255

    def predict(films):
        return np.where(films[:, 5, 7] > 200, 60.0, -60.0)

    hot = np.zeros((32, 32))
    hot[5, 7] = 1.0
    curves = compute_deletion(predict, image, 0 * image, hot, 0, steps=4)
    assert curves["deletion"].round(6).tolist() == [1, 0, 0, 0, 0]
    assert curves["insertion"].round(6).tolist() == [0, 1, 1, 1, 1]
    cold = compute_deletion(predict, image, 0 * image, -hot, 0, steps=4)
    assert cold["deletion"].round(6).tolist() == [1, 1, 1, 1, 0]
    assert cold["insertion"].round(6).tolist() == [0, 0, 0, 0, 1]
    found = (
        score_film(image, 0 * image, {"hot": hot}, {}, {}, BOXES, predict, 0)["maps"]
        .query("target == 'network'")
        .set_index("score")["value"]
    )
    assert found["deletion"] == pytest.approx(0.05) and found["insertion"] == pytest.approx(0.95)


def test_equally_hot_pixels_are_taken_in_a_random_order():
    image = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    halves = compute_deletion(
        lambda films: (films[:, :16] != image[:16]).mean(axis=(1, 2)),
        image,
        255 - image,
        np.zeros((32, 32)),
        0,
        steps=2,
    )["deletion"]
    assert halves[1] == pytest.approx((halves[0] + halves[2]) / 2, abs=0.02)


def test_mean_interval_counts_patients_not_films():
    """Student's own interval of the patients' means; a patient's films are one value."""
    rng = np.random.default_rng(1)
    values, patients = rng.random(60), np.repeat(np.arange(20), 3)
    found, means = mean_interval(values, patients), values.reshape(20, 3).mean(axis=1)
    expected = ttest_1samp(means, 0).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert (found["films"], found["patients"]) == (60, 20)
    cut = mean_interval(np.repeat([0.0, 0.1, 0.9], 5), np.repeat(list("abc"), 5), 0.0, 1.0)
    assert (cut["low"], cut["high"], cut["patients"]) == (0.0, 1.0, 3)


def test_a_mean_of_too_few_patients_has_no_interval():
    two = mean_interval(np.repeat([0.0, 1.0], 50), np.repeat(["a", "b"], 50))
    assert two["value"] == 0.5 and np.isnan(two["low"]) and two["patients"] == 2
    missing = mean_interval(np.array([np.nan, 0.2]), np.array(["a", "b"]))
    assert missing["value"] == 0.2 and np.isnan(missing["low"]) and missing["films"] == 1
    assert np.isnan(mean_interval(np.array([np.nan]), np.array(["a"]))["value"])


@pytest.fixture
def film_tables():
    rng, lesion = np.random.default_rng(0), np.zeros((32, 32), bool)
    lesion[8:12, 8:14] = True
    tables = {"maps": [], "ranks": []}
    for i in range(8):
        image = rng.integers(0, 255, (32, 32)).astype(np.uint8)
        maps = {
            "oracle": lesion + 0.1 * rng.random((32, 32)),
            "noise": rng.random((32, 32)),
            "even": np.zeros((32, 32)),
        }
        found = score_film(
            image,
            0 * image,
            maps,
            {"lesions": lesion, "signs": np.zeros((32, 32), bool)},
            {"erosion": lesion},
            BOXES,
            lambda x: np.zeros(len(x)),
            i,
        )
        for name in tables:
            tables[name].append(found[name].assign(image_id=f"f{i}", patient_id=f"p{i // 2}"))
    return {name: pd.concat(t, ignore_index=True) for name, t in tables.items()}


def test_the_board_puts_a_map_of_the_lesion_above_its_baselines(film_tables):
    board = make_board(film_tables["maps"], ("noise", "even")).set_index(
        ["target", "score", "method"]
    )
    assert set(board.index.get_level_values("target")) == {
        "network",
        "hand",
        "lesions",
    }  # a film without signs has nothing to hit
    for score in ("hit", "energy", "iou", "ap"):
        assert board.loc[("lesions", score, "oracle"), "gain_low"] > 0
    row = board.loc[("lesions", "ap", "oracle")]
    assert row["value"] > 0.99 and (row["films"], row["patients"]) == (8, 4)
    assert board.loc[("lesions", "ap", "noise"), "chance"] == pytest.approx(
        board.loc[("lesions", "ap", "even"), "value"]
    )
    assert board.loc[("network", "deletion", "oracle"), "gain"] == pytest.approx(
        0
    )  # a network that always says 0.5
    assert np.isnan(board.loc[("lesions", "energy", "even"), "value"])


def test_heat_next_to_the_hand_is_counted_without_any_mask():
    image = redraw_film(make_config(image_size=64), "P00000_L").image
    beside, on = np.zeros((64, 64)), np.zeros((64, 64))
    beside[20, 0] = on[np.unravel_index(image[20:60].argmax() + 20 * 64, image.shape)] = 1.0
    table = score_film(
        image, image, {"beside": beside, "on": on}, {}, {}, BOXES, lambda x: np.zeros(len(x)), 0
    )["maps"]
    found = table[table["target"] == "hand"].set_index(["method", "score"])["value"]
    assert found["beside"].tolist() == [0, 0] and found["on"].tolist() == [1, 1]


def test_lower_is_better_for_deletion():
    maps = pd.DataFrame(
        {
            "image_id": list("abab"),
            "patient_id": list("abab"),
            "method": ["m", "m", "base", "base"],
            "target": "network",
            "score": "deletion",
            "value": [0.1, 0.2, 0.5, 0.5],
            "chance": np.nan,
        }
    )
    assert make_board(maps, ("base",)).set_index("method").loc["m", "gain"] == pytest.approx(0.35)


def test_ranks_by_type_and_size(film_tables):
    table = summarise_ranks(film_tables["ranks"]).set_index(["method", "by"])
    assert table.loc[("oracle", "type"), "value"] > table.loc[("noise", "type"), "value"] + 0.2
    assert table.loc[("oracle", "type"), "lesions"] == 8
    assert table.loc[("oracle", "size"), "group"].startswith("large")
    assert table.loc[("even", "type"), "value"] == pytest.approx(0.5)


def test_tables_for_people_carry_source_counts_and_intervals(film_tables):
    board = make_board(film_tables["maps"], ("noise", "even"))
    page = show_board(board, "lesions", "RA (phantom)").to_html()
    assert "RA (phantom)" in page
    assert "8 films of 4 patients" in page
    assert "baseline: noise" in page
    assert "1.00 (" in page
    with pytest.raises(ValueError, match="expected one of network, hand, lesions"):
        show_board(board, "signs", "RA (phantom)")
    assert interval_text({"value": 0.123, "low": np.nan, "high": np.nan}) == (
        "0.12 (interval not known)"
    )


def test_a_name_in_a_caption_is_text():
    """The task of a run, a label column or a folder may be called <b>."""
    rows = [
        (f"{k}", f"p{k}", method, "lesions", "energy", 0.2, 0.1)
        for k in range(6)
        for method in ("gradcam", "centre")
    ]
    names = ["image_id", "patient_id", "method", "target", "score", "value", "chance"]
    board = make_board(pd.DataFrame(rows, columns=names), ("centre",))
    row = {"method": "edges", "test": "random network", "value": 1.0, "low": 1.0, "high": 1.0}
    sanity = pd.DataFrame([row | {"films": 8, "patients": 8, "verdict": "fails"}])
    title = "<b>x</b> & 'y'"
    for page in (show_board(board, "lesions", title), show_sanity(sanity, title)):
        assert "<b>" not in page.to_html() and "&lt;b&gt;x&lt;/b&gt; &amp;" in page.to_html()
