"""DeLong against pROC's published values, and the permutation test by hand."""

import numpy as np
import pytest

from rahelpers.scores.comparison import compute_delong, permutation_test
from rahelpers.scores.intervals import (
    Resampling,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
)
from tests.scores.asah import ASAH_POOR, asah


def test_auc_variance_and_covariance_are_those_of_proc():
    """pROC tests/testthat: helper-deLongPlacementsCpp-expected.R (theta), test-var.R, test-cov.R,
    test-ci.auc.R.
    """
    found = compute_delong(ASAH_POOR, asah("wfns", "ndka", "s100b"))
    assert found.auc == pytest.approx(
        [0.823678861788618, 0.611957994579946, 0.731368563685637], abs=1e-12
    )
    assert np.diag(found.covariance) == pytest.approx(
        [0.00146991470882363, 0.0031908105493913, 0.00266868245717244], abs=1e-14
    )
    assert found.covariance[0, 1] == pytest.approx(-0.000532967856762438, abs=1e-14)
    assert found.covariance[1, 2] == pytest.approx(-0.000756164938056579, abs=1e-14)
    assert found.covariance[2, 0] == pytest.approx(0.00119615567376754, abs=1e-14)
    assert found.interval(1) == pytest.approx((0.501244999271703, 0.722670989888189), abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "z", "p", "low", "high"),
    [
        (
            "wfns",
            "s100b",
            2.20898359144091,
            0.0271757822291882,
            0.0104061769564846,
            0.174214419249478,
        ),
        (
            "wfns",
            "ndka",
            2.79777591868904,
            0.00514557970691098,
            0.0634011709339876,
            0.3600405634833566,
        ),
        (
            "ndka",
            "s100b",
            -1.39077002573558,
            0.164295175223054,
            -0.2876917446341914,
            0.0488706064228094,
        ),
    ],
)
def test_comparison_of_two_markers_is_that_of_proc(one, other, z, p, low, high):
    """pROC tests/testthat/test-roc.test.R: DeLong's test for two correlated ROC curves."""
    found = compute_delong(ASAH_POOR, asah(one, other)).compare()
    assert [found[k] for k in ("z", "p", "low", "high")] == pytest.approx(
        [z, p, low, high], abs=1e-10
    )


def test_a_network_does_not_differ_from_itself():
    found = compute_delong(ASAH_POOR, asah("wfns", "wfns")).compare()
    assert (found["value"], found["z"], found["p"]) == (0, 0, 1)


def test_delong_counts_patients_not_films():
    """Each film twice under one patient adds no information: the variance stays the same.

    Obuchowski 1997, with clusters of equal films.
    """
    once = compute_delong(ASAH_POOR, asah("s100b"), np.arange(113))
    twice = compute_delong(
        np.repeat(ASAH_POOR, 2), np.repeat(asah("s100b"), 2, axis=1), np.repeat(np.arange(113), 2)
    )
    assert once.covariance[0, 0] == pytest.approx(0.00266868245717244)
    assert twice.covariance[0, 0] == pytest.approx(once.covariance[0, 0], rel=1e-12)
    careless = compute_delong(np.repeat(ASAH_POOR, 2), np.repeat(asah("s100b"), 2, axis=1))
    assert careless.covariance[0, 0] < 0.51 * twice.covariance[0, 0]
    with pytest.raises(ValueError, match="at least 2 of each"):
        compute_delong(np.array([0, 0, 1, 1]), np.arange(4.0), np.array([1, 2, 3, 3]))


def test_permutation_by_hand_and_by_patient():
    """Three against three, completely separated: 1 of 20 arrangements is as good.

    So p is about 0.05, with one film per patient and with two.
    """
    labels, scores, resampling = np.repeat([0, 1], 3), np.arange(6.0), Resampling(2000, 0)
    once = ScoredFilms(labels, scores)
    assert permutation_test(once, resampling) == pytest.approx(0.05, abs=0.015)
    twice = once.take(np.repeat(np.arange(6), 2))
    assert permutation_test(twice, resampling) == pytest.approx(0.05, abs=0.015)
    as_if_strangers = permutation_test(ScoredFilms(twice.labels, twice.scores), resampling)
    assert as_if_strangers < 0.01


def test_patients_with_different_numbers_of_films_exchange_labels():
    """Ten patients with one to ten films, all in order: 1 of 252 arrangements is as good."""
    labels, patients = np.repeat([0, 1] * 5, range(1, 11)), np.repeat(range(10), range(1, 11))
    films = ScoredFilms(labels, labels + 0.01 * np.arange(55), patients)
    assert permutation_test(films, Resampling(999, 1)) == pytest.approx(1 / 252, abs=0.008)
