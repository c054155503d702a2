"""The bootstrap draws patients, covers, and does not take few patients for certainty."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rahelpers.scores.intervals import Resampling, bootstrap_interval, rate_interval
from rahelpers.scores.metrics import ScoredFilms


def test_interval_has_about_its_coverage():
    """Nominal 95 %, 120 simulated cohorts of 80 patients: 0.88 is three standard errors below."""

    def share_of_pairs_in_order(labels, scores):  # the AUC, as there are no ties here
        return (scores[labels == 1][:, None] > scores[labels == 0]).mean()

    rng, inside = np.random.default_rng(0), 0
    truth = 0.7602  # AUC of N(1, 1) against N(0, 1): Phi(1 / sqrt 2)
    for i in range(120):
        labels = np.repeat([0, 1], 40)
        scores = rng.normal(labels, 1)
        films = ScoredFilms(labels, scores)
        low, high = bootstrap_interval(share_of_pairs_in_order, films, Resampling(150, i))
        inside += low <= truth <= high
    assert 0.88 <= inside / 120 <= 1


def test_two_films_of_a_patient_are_not_two_patients():
    rng = np.random.default_rng(0)
    films = ScoredFilms(np.repeat([0, 1], 20), rng.normal(0, 1, 40))
    once, twice = (
        bootstrap_interval(roc_auc_score, films.take(rows), Resampling(300, 0))
        for rows in (np.arange(40), np.repeat(np.arange(40), 2))
    )
    assert np.ptp(twice) == pytest.approx(np.ptp(once), rel=0.05)


def test_few_patients_are_not_certainty():
    """0 of 4 patients: the exact upper limit is 1 - 0.025 ** (1 / 4) = 0.602.

    It is the same with one film per patient and with two.
    """
    for films in (1, 2):
        found = rate_interval(
            np.zeros(4 * films), np.repeat(np.arange(4), films), Resampling(100, 0)
        )
        assert found["low"] == 0 and found["high"] == pytest.approx(0.6024, abs=1e-3)
    certain = rate_interval(np.ones(4), np.arange(4), Resampling(100, 0))
    assert certain["low"] == pytest.approx(0.3976, abs=1e-3)
