"""Scores against numbers worked by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rahelpers.evaluation import bootstrap_interval, compute_scores, rate_interval
from rahelpers.training import choose_operating_point, fit_calibration

LABELS = np.array([0, 0, 0, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])


def test_scores_by_hand():
    found = compute_scores(LABELS, SCORES, np.arange(6), 0.5, 100, 0)
    # 9 pairs, one of them (0.4 against 0.6) the wrong way round
    assert found["auc"]["value"] == pytest.approx(8 / 9)
    assert found["confusion"] == {"tn": 2, "fp": 1, "fn": 1, "tp": 2}
    assert found["sensitivity"]["value"] == pytest.approx(2 / 3) and found["specificity"]["value"] == pytest.approx(2 / 3)
    assert found["counts"] == {"films_positive": 3, "films_negative": 3, "patients": 6}
    assert found["auc"]["low"] <= 8 / 9 <= found["auc"]["high"]


def test_operating_points_by_hand():
    # Youden: at 0.7 sensitivity 2/3, specificity 1; at 0.4 sensitivity 1, specificity 2/3: a tie, the higher threshold wins
    point = choose_operating_point(LABELS, SCORES, "youden", 0.9)
    assert 0.6 < point["probability"] < 0.7 and point["specificity"] == 1
    point = choose_operating_point(LABELS, SCORES, "sensitivity", 1.0)
    assert 0.2 < point["probability"] < 0.4 and point["sensitivity"] == 1
    with pytest.raises(ValueError, match="both classes"):
        choose_operating_point(np.ones(3), np.ones(3), "youden", 0.9)


def test_interval_has_about_its_coverage():
    """Nominal 95 %; 120 simulated cohorts of 80 patients, so 0.88 is three standard errors below."""
    rng, inside = np.random.default_rng(0), 0
    truth = 0.7602  # AUC of N(1, 1) against N(0, 1): Phi(1 / sqrt 2)
    for i in range(120):
        labels = np.repeat([0, 1], 40)
        scores = rng.normal(labels, 1)
        low, high = bootstrap_interval(lambda y, s: roc_auc_score(y, s), labels, scores, np.arange(80), 150, i)
        inside += low <= truth <= high
    assert 0.88 <= inside / 120 <= 1


def test_two_films_of_a_patient_are_not_two_patients():
    rng = np.random.default_rng(0)
    labels, scores = np.repeat([0, 1], 20), rng.normal(0, 1, 40)
    statistic = lambda y, s: roc_auc_score(y, s)  # noqa: E731
    once = bootstrap_interval(statistic, labels, scores, np.arange(40), 300, 0)
    twice = bootstrap_interval(statistic, np.repeat(labels, 2), np.repeat(scores, 2), np.repeat(np.arange(40), 2), 300, 0)
    assert np.ptp(twice) == pytest.approx(np.ptp(once), rel=0.05)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20000)
    labels = (rng.random(20000) < 1 / (1 + np.exp(-logits))).astype(int)
    temperature, offset = fit_calibration(3 * logits, labels)
    assert temperature == pytest.approx(3, rel=0.05) and offset == pytest.approx(0, abs=0.05)


def test_calibration_brings_back_how_common_the_classes_are():
    """Class weights shift every logit as if half the films were positive; with a tenth positive the offset is log(1 / 9)."""
    rng = np.random.default_rng(1)
    labels = (rng.random(40000) < 0.1).astype(int)
    evidence = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)  # log likelihood ratio of two normals one SD either side: 2 x
    temperature, offset = fit_calibration(2 * evidence, labels)
    assert temperature == pytest.approx(1, rel=0.05) and offset == pytest.approx(np.log(1 / 9), abs=0.1)


def test_a_network_worse_than_chance_is_not_turned_round():
    temperature, _ = fit_calibration(np.linspace(-3, 3, 50), (np.linspace(-3, 3, 50) < 0).astype(int))
    assert 0.05 <= temperature <= 20


def test_few_patients_are_no_certainty():
    """0 of 4 patients: the exact upper limit is 1 - 0.025 ** (1 / 4) = 0.602, with two films a patient or one."""
    for films in (1, 2):
        found = rate_interval(np.zeros(4 * films), np.repeat(np.arange(4), films), 100, 0)
        assert found["low"] == 0 and found["high"] == pytest.approx(0.6024, abs=1e-3)
    assert rate_interval(np.ones(4), np.arange(4), 100, 0)["low"] == pytest.approx(0.3976, abs=1e-3)
