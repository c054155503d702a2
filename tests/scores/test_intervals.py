"""The bootstrap draws patients, covers, and does not take few patients for certainty."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, norm
from sklearn.metrics import roc_auc_score

from rahelpers.scores.comparison import compute_delong
from rahelpers.scores.intervals import (
    Resampling,
    auc_interval,
    bootstrap_interval,
    gap_interval,
    rate_interval,
    share_interval,
    wilson_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_auc,
)
from tests.scores.asah import ASAH_POOR, asah


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


def test_bca_is_that_of_scipy():
    """With one film per patient and no classes, scipy.stats.bootstrap does the same.

    4,000 resamples of each leave a little random difference.
    """
    values = np.random.default_rng(3).exponential(1, 40)
    films, resampling = ScoredFilms(np.ones(40), values), Resampling(4000, 0)
    ours = bootstrap_interval(lambda _, s: float(s.mean()), films, resampling, "bca")
    theirs = bootstrap(
        (values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), rel=0.04)
    plain = bootstrap_interval(lambda _, s: float(s.mean()), films, resampling)
    assert ours[0] > plain[0] and ours[1] > plain[1]  # to the right, for a mean of a skewed sample
    with pytest.raises(ValueError, match="percentile or bca"):
        bootstrap_interval(compute_auc, films, resampling, "t")


def test_bca_agrees_with_delong_where_both_hold():
    films = ScoredFilms(ASAH_POOR, asah("s100b")[0])
    low, high = bootstrap_interval(compute_auc, films, Resampling(2000, 0), "bca")
    assert (low, high) == pytest.approx(
        compute_delong(ASAH_POOR, asah("s100b")).interval(), abs=0.03
    )


def test_complete_separation_is_not_certainty():
    """Four patients in each class, all pairs in order: AUC ** 4 = 0.025 at 0.3976."""
    labels = np.repeat([0, 1], 4)
    right, wrong = (
        auc_interval(ScoredFilms(labels, s), Resampling(50, 0)) for s in (labels, -labels)
    )
    assert right == pytest.approx({"value": 1, "low": 0.3976, "high": 1}, abs=1e-4)
    assert wrong["high"] == pytest.approx(0.6024, abs=1e-4)


def test_rates_of_clustered_films():
    assert wilson_interval(0.4, 10) == pytest.approx(
        tuple(binomtest(4, 10).proportion_ci(method="wilson")), abs=1e-12
    )
    hits = np.array([1, 1, 0, 0, 1, 1, 1, 1, 0, 0.0])
    # both hands of a patient agree: five trials
    alike = share_interval(hits, np.repeat(np.arange(5), 2))
    assert (alike["low"], alike["high"]) == pytest.approx(
        tuple(binomtest(3, 5).proportion_ci(method="wilson")), abs=1e-9
    )
    # no spread between patients, yet the interval has a width
    unlike = share_interval(np.array([1, 0, 1, 0.0]), np.array([0, 0, 1, 1]))
    assert (unlike["low"], unlike["high"]) == pytest.approx(
        tuple(binomtest(2, 4).proportion_ci(method="wilson")), abs=1e-9
    )
    certain = share_interval(np.ones(8), np.repeat(np.arange(4), 2))
    assert certain["low"] == pytest.approx(0.3976, abs=1e-4)


def test_gap_of_two_splits():
    labels = np.repeat([0, 1], 30)
    learned, unseen = (
        labels * 2.0 + np.random.default_rng(0).random(60),
        np.random.default_rng(1).random(60),
    )
    train, test = ScoredFilms(labels, learned), ScoredFilms(labels, unseen)
    gap = gap_interval(train, test, Resampling(300, 0))
    assert gap["value"] == pytest.approx(1 - compute_auc(labels, unseen))
    assert 0.2 < gap["low"] < gap["value"] < gap["high"] < 0.7
    assert gap_interval(test, test, Resampling(300, 0))["low"] < 0


def test_intervals_of_the_auc_cover():
    """Nominal 95 %: 150 cohorts of 2 x 30 patients with two films each.

    tests/benchmarks/interval_coverage.py does the same with 2,000. With 150 the standard error is
    1.8 %, so 0.895 is three of them below.
    """
    rng, inside, truth = np.random.default_rng(0), np.zeros(2), norm.cdf(1.2 / np.sqrt(2))
    labels, patients = np.repeat([0, 1], 60), np.repeat(np.arange(60), 2)
    for seed in range(150):
        scores = (
            1.2 * labels
            + np.repeat(rng.normal(0, np.sqrt(0.6), 60), 2)
            + rng.normal(0, np.sqrt(0.4), 120)
        )
        films = ScoredFilms(labels, scores, patients)
        for i, (low, high) in enumerate(
            [
                bootstrap_interval(compute_auc, films, Resampling(150, seed), "bca"),
                compute_delong(labels, scores, patients).interval(),
            ]
        ):
            inside[i] += low <= truth <= high
    assert (inside / 150 >= 0.895).all()


def test_resampling_is_checked_and_starts_from_its_seed():
    assert Resampling(1, 3).rng().integers(1000) == Resampling(2, 3).rng().integers(1000)
    for n, seed in ((0, 1), (5, -1)):
        with pytest.raises(ValueError, match=f"n={n} and seed={seed}: expected at least 1"):
            Resampling(n, seed)
