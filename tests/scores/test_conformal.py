"""Conformal sets by class: thresholds by hand, each patient counted once, promised coverage."""

import numpy as np
import pytest

from rahelpers.scores.conformal import (
    compute_abstention_curve,
    fit_conformal,
    predict_sets,
    score_sets,
)
from rahelpers.scores.metrics import ScoredFilms
from tests.reference import mapie_values as drawn


def test_thresholds_by_hand():
    """Nineteen patients per class, alpha 0.1: the 18th smallest misfit, as ceil(20 x 0.9) = 18."""
    labels, patients = np.repeat([0, 1], 19), np.arange(38)
    probability = np.concatenate([np.arange(1, 20) / 100, 1 - np.arange(1, 20) / 50])
    found = fit_conformal(ScoredFilms(labels, probability, patients))
    assert found["threshold_negative"] == pytest.approx(0.18)
    assert found["threshold_positive"] == pytest.approx(18 / 50)
    assert (found["patients_negative"], found["fitted_on"]) == (19, "validation")
    assert predict_sets(np.array([0.1, 0.18, 0.3, 0.7]), found).tolist() == [
        [True, False],
        [True, False],
        [False, False],
        [False, True],
    ]


# From MAPIE 1.6.0, printed by tests/reference/mapie_values.py. Of 41 new films, the least probable
# first: alpha -> (films with class 0 in the set, first film with class 1 in the set)
MAPIE = {0.1: (29, 10), 0.25: (28, 14)}


@pytest.mark.parametrize("alpha", drawn.ALPHAS)
def test_sets_are_those_of_mapie_where_each_patient_has_one_film(alpha):
    labels, probability = drawn.draw()
    sets = predict_sets(drawn.asked(), fit_conformal(ScoredFilms(labels, probability), alpha))
    films, (negative, positive) = np.arange(41), MAPIE[alpha]
    np.testing.assert_array_equal(sets, np.stack([films < negative, films >= positive], axis=1))


def test_few_patients_leave_every_class_in_the_set():
    """With 8 patients no value is the 9th smallest; 9 patients have one."""
    eight, nine = (
        fit_conformal(ScoredFilms(np.repeat([0, 1], k), np.linspace(0, 0.8, 2 * k))) for k in (8, 9)
    )
    assert eight["threshold_negative"] == eight["threshold_positive"] == 1
    assert nine["threshold_negative"] < 1
    assert predict_sets(np.array([0.0, 1.0]), eight).all()
    with pytest.raises(ValueError, match="alpha=1"):
        fit_conformal(ScoredFilms([0, 1], [0.1, 0.9]), 1.0)


def test_a_patient_counts_once():
    labels, probability = np.repeat([0, 1], 15), np.random.default_rng(0).random(30)
    films = ScoredFilms(labels, probability)
    assert fit_conformal(films.take(np.repeat(np.arange(30), 3))) == fit_conformal(films)
    careless = fit_conformal(ScoredFilms(np.repeat(labels[:16], 2), np.repeat(probability[:16], 2)))
    assert careless["patients_negative"] == 30


def test_coverage_is_kept_by_class():
    """Alpha 0.2, 300 cohorts: at least 80 % are covered, with a standard error of 2.3 %.

    Each cohort has 30 patients per class with two films each, and one new patient per class.
    """
    rng, held = np.random.default_rng(0), np.zeros(2)
    labels, patients = np.repeat([0, 1], 60), np.repeat(np.arange(60), 2)

    def draw(label):
        z = (
            1.5 * label
            - 0.75
            + np.repeat(rng.normal(0, 0.8, len(label) // 2), 2)
            + rng.normal(0, 0.6, len(label))
        )
        return 1 / (1 + np.exp(-z))

    for _ in range(300):
        conformal = fit_conformal(ScoredFilms(labels, draw(labels), patients), alpha=0.2)
        for label in (0, 1):
            held[label] += predict_sets(draw(np.full(2, label))[:1], conformal)[0, label]
    assert (held / 300 > 0.80 - 0.06).all() and (held / 300 < 0.92).all()


def test_measured_on_test():
    conformal = {"threshold_negative": 0.6, "threshold_positive": 0.6}
    labels, probability = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.5, 0.9, 0.2, 0.5, 0.8])
    films = ScoredFilms(labels, probability)
    found = score_sets(films, conformal)
    assert found["sets"] == {"negative": 2, "positive": 2, "both": 2, "none": 0}
    assert found["spoken"] == 4 and found["accuracy_spoken"]["value"] == 0.5
    assert found["coverage_negative"]["value"] == pytest.approx(2 / 3)
    assert found["abstained"]["value"] == pytest.approx(1 / 3)
    silent = score_sets(films, {"threshold_negative": 1.0, "threshold_positive": 1.0})
    assert silent["accuracy_spoken"] is None and silent["abstained"]["value"] == 1


def test_coverage_is_told_by_patient_and_by_film():
    """Three easy patients with a film each, and a hard one with nine: 3/4 and 3/12."""
    patients = np.repeat(list("abcd"), [1, 1, 1, 9])
    films = ScoredFilms(np.ones(12), np.repeat([0.9, 0.1], [3, 9]), patients)
    found = score_sets(films, {"threshold_negative": 0.5, "threshold_positive": 0.5})
    assert found["coverage_positive"]["value"] == 3 / 4
    assert found["coverage_positive"]["of_films"] == 3 / 12
    assert found["coverage_negative"] is None


def test_the_least_certain_go_first():
    labels, probability = np.array([0, 1, 0, 1, 0]), np.array([0.01, 0.99, 0.45, 0.40, 0.6])
    films = ScoredFilms(labels, probability)
    found = compute_abstention_curve(films, 0.5, np.array([0, 0.4, 0.6]))
    assert found["films"].tolist() == [5, 3, 2]
    assert found["accuracy"].tolist() == pytest.approx([3 / 5, 2 / 3, 1])
    assert found["low"].iloc[2] < 0.5  # two films prove little
    with pytest.raises(ValueError, match="not including"):
        compute_abstention_curve(films, 0.5, np.array([1.0]))


def test_the_strangest_films_go_first():
    """Six films, the two strangest wrongly classified: accuracy 4/6, then 4/4 without them.

    By certainty, two other films go first.
    """
    labels, probability = np.array([1, 1, 0, 0, 1, 0]), np.array([0.9, 0.8, 0.1, 0.2, 0.05, 0.95])
    strangeness = np.array([1.0, 2.0, 3.0, 4.0, 9.0, 8.0])
    found = compute_abstention_curve(
        ScoredFilms(labels, probability), 0.5, np.array([0.0, 1 / 3]), strangeness
    ).set_index(["by", "films"])
    assert found.loc[("distance", 6), "accuracy"] == pytest.approx(4 / 6)
    assert found.loc[("distance", 4), "accuracy"] == 1
    assert found.loc[("distance", 4), "abstained"] == pytest.approx(1 / 3)
    # the least certain are 0.8 and 0.2, correctly classified: the two wrong ones stay
    assert found.loc[("certainty", 4), "accuracy"] == pytest.approx(2 / 4)


def test_logits_are_refused_and_lists_are_taken():
    films = ScoredFilms([0, 1], [0.2, 0.9], ["a", "b"])
    conformal = fit_conformal(films)
    assert score_sets(films, conformal)["films"] == 2
    assert len(compute_abstention_curve(films, 0.5, [0.0]))
    logits = ScoredFilms([0, 1], [-3, 2], ["a", "b"])
    for use in (
        fit_conformal,
        lambda f: score_sets(f, conformal),
        lambda f: compute_abstention_curve(f, 0.5),
    ):
        with pytest.raises(ValueError, match="from -3 to 2: expected 0 to 1"):
            use(logits)
