"""Scores against scikit-learn and numbers worked out by hand, and what every score refuses."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from rahelpers.scores.calibration import compute_calibration
from rahelpers.scores.comparison import compute_delong, permutation_test
from rahelpers.scores.intervals import (
    Resampling,
    auc_interval,
    bootstrap_interval,
    ece_interval,
    gap_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_auc,
    compute_average_precision,
    compute_brier,
    compute_ece,
    predictive_values,
    say_few_validation,
)
from rahelpers.scores.net_benefit import compute_net_benefit


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    scores = np.round(rng.random(300) * 0.7 + labels * 0.2, 2)  # with ties
    assert compute_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert compute_average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert compute_brier(labels, scores) == pytest.approx(
        brier_score_loss(labels, scores), abs=1e-12
    )
    assert np.isnan(compute_auc(np.ones(3, int), np.arange(3)))


def test_calibration_error_by_hand():
    # bin 0.1 to 0.2: mean 0.15, one of two positive, gap 0.35; bin 0.8 to 0.9: mean 0.85, one of
    # two positive, gap 0.35; a probability of 1 has gap 0
    labels, probability = np.array([0, 1, 0, 1, 1]), np.array([0.12, 0.18, 0.84, 0.86, 1.0])
    assert compute_ece(labels, probability) == pytest.approx(0.35 * 4 / 5)


def test_calibration_error_of_a_calibrated_network_may_be_zero():
    rng = np.random.default_rng(0)
    probability = rng.random(60)
    labels = (rng.random(60) < probability).astype(int)
    found = ece_interval(ScoredFilms(labels, probability), Resampling(100, 0))
    assert found["low"] == 0 and found["value"] > 0.05
    assert found["if_calibrated"] == pytest.approx(found["value"], abs=0.08)
    # says 95 %, is right in 50 %
    sure = ece_interval(ScoredFilms(np.repeat([0, 1], 30), np.full(60, 0.95)), Resampling(100, 0))
    assert sure["low"] > 0.2 and sure["high"] >= sure["value"] == pytest.approx(0.45)


def test_predictive_values_by_hand():
    """Of 1000 people 100 are ill: 90 true alarms, and 180 false alarms among the other 900.

    PPV 90 / 270, NPV 720 / 730.
    """
    assert predictive_values(0.9, 0.8, 0.1) == pytest.approx((1 / 3, 720 / 730))
    ppv, npv = predictive_values(0, 1, 0.1)  # no one is classified as positive
    assert np.isnan(ppv) and npv == pytest.approx(0.9)


# two films of each of four patients, and every function of labels, scores and patients
LABELS, SCORES, PATIENTS = (
    np.array([0, 0, 0, 0, 1, 1, 1, 1]),
    np.array([0.1, 0.3, 0.2, 0.6, 0.4, 0.5, 0.8, 0.9]),
    np.array(list("aabbccdd")),
)
FIFTY = Resampling(50, 0)
OF_FILMS = {
    "auc": lambda y, s, p: compute_auc(y, s),
    "average precision": lambda y, s, p: compute_average_precision(y, s),
    "brier": lambda y, s, p: compute_brier(y, s),
    "ece": lambda y, s, p: compute_ece(y, s),
    "auc interval": lambda *f: tuple(auc_interval(ScoredFilms(*f)).values()),
    "ece interval": lambda *f: tuple(ece_interval(ScoredFilms(*f), FIFTY).values()),
    "gap": lambda *f: tuple(gap_interval(ScoredFilms(*f), ScoredFilms(*f)).values()),
    "delong": lambda y, s, p: compute_delong(y, s, p).interval(),
    "permutation": lambda *f: permutation_test(ScoredFilms(*f), FIFTY),
    "calibration": lambda *f: compute_calibration(ScoredFilms(*f), 2).to_numpy().ravel(),
    "net benefit": lambda *f: compute_net_benefit(ScoredFilms(*f)).to_numpy().ravel(),
}


@pytest.mark.parametrize("name", OF_FILMS)
def test_lists_and_columns_are_taken_like_arrays(name):
    """A column of a filtered table has an index of its own: films must not be matched by it."""
    expected = OF_FILMS[name](LABELS, SCORES, PATIENTS)
    np.testing.assert_array_equal(
        OF_FILMS[name](LABELS.tolist(), SCORES.tolist(), PATIENTS.tolist()), expected
    )
    table = pd.DataFrame({"y": LABELS, "s": SCORES, "p": PATIENTS}, index=np.arange(8)[::-1])
    np.testing.assert_array_equal(
        OF_FILMS[name](table["y"], pd.Series(SCORES), table["p"]), expected
    )
    assert ScoredFilms(table["y"], SCORES, PATIENTS.tolist()).counts()["patients_positive"] == 2


@pytest.mark.parametrize("name", OF_FILMS)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (LABELS + 1, SCORES, "labels hold 2: expected 0"),
        (np.where(LABELS, "RA", "no"), SCORES, "labels hold no, RA"),
        (LABELS, SCORES[:-1], "\\(.*7"),
        (LABELS, np.where(SCORES == 0.6, np.nan, SCORES), "score of film 3 of 8 is nan"),
        (LABELS, SCORES + np.inf, "film 0 of 8 is inf"),
    ],
)
def test_films_that_cannot_be_scored_are_refused(name, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        OF_FILMS[name](labels, scores, PATIENTS)


def test_a_logit_or_a_film_without_a_patient_is_refused():
    for score in (compute_brier, compute_ece):
        with pytest.raises(ValueError, match="from 1 to 9: expected 0 to 1"):
            score(LABELS, 10 * SCORES)
    with pytest.raises(ValueError, match="patient of 1 of 8 films is missing"):
        ScoredFilms(LABELS, SCORES, [None, *PATIENTS[1:]])
    with pytest.raises(ValueError, match="sensitivity=1.2: expected 0 to 1"):
        predictive_values(1.2, 0.5, 0.1)


def test_one_class_or_one_patient_of_it_gives_no_certainty():
    negative = ScoredFilms(0 * LABELS, SCORES, PATIENTS)
    assert np.isnan(permutation_test(negative, FIFTY))
    assert all(np.isnan(v) for v in auc_interval(negative).values())
    # one patient with RA: how much people with RA differ cannot be known from them
    lonely = ScoredFilms(LABELS, SCORES, np.array(list("aabbcccc")))
    found = auc_interval(lonely)
    assert found["value"] == compute_auc(LABELS, SCORES)
    assert np.isnan([found["low"], found["high"]]).all()
    assert np.isnan(gap_interval(lonely, ScoredFilms(LABELS, SCORES, PATIENTS))["low"])


def test_films_without_patients_are_a_patient_each_and_can_be_taken():
    films = ScoredFilms(LABELS, SCORES)
    assert films.counts()["patients"] == len(films) == 8
    part = ScoredFilms(LABELS, SCORES, PATIENTS).take(LABELS == 1)
    assert part.patients.tolist() == list("ccdd") and part.counts()["patients_negative"] == 0
    table = pd.DataFrame({"label": LABELS, "logit": SCORES, "patient_id": PATIENTS})
    assert ScoredFilms.from_table(table, "logit").scores.tolist() == SCORES.tolist()
    with pytest.raises(ValueError, match="no film"):
        bootstrap_interval(compute_auc, films.take([]), FIFTY)


def test_few_validation_patients_are_named():
    found = {"patients_negative": 20, "patients_positive": 20, "fewest": 20, "epoch": 4}
    assert say_few_validation(found) == ""
    words = say_few_validation(found | {"patients_positive": 19})
    assert words.startswith("only 19 positive and 20 negative validation patients")
    assert "the last, 4, was kept" in words
