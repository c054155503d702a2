"""The bootstrap draws patients, covers, and does not take few patients for certainty."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest, bootstrap, norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from rahelpers.scores.comparison import compute_delong
from rahelpers.scores.intervals import (
    Resampling,
    auc_interval,
    bootstrap_interval,
    gap_interval,
    share_interval,
    wilson_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_auc,
    compute_average_precision,
    compute_brier,
)
from rahelpers.scores.net_benefit import compute_net_benefit
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
        found = share_interval(np.zeros(4 * films), np.repeat(np.arange(4), films))
        assert found["low"] == 0 and found["high"] == pytest.approx(0.6024, abs=1e-3)
    certain = share_interval(np.ones(4), np.arange(4))
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
    right, wrong = (auc_interval(ScoredFilms(labels, s)) for s in (labels, -labels))
    assert right == pytest.approx({"value": 1, "low": 0.3976, "high": 1}, abs=1e-4)
    assert wrong["high"] == pytest.approx(0.6024, abs=1e-4)


def test_rates_of_clustered_films():
    assert wilson_interval(0.4, 10) == pytest.approx(
        tuple(binomtest(4, 10).proportion_ci(method="wilson")), abs=1e-12
    )
    certain = share_interval(np.ones(8), np.repeat(np.arange(4), 2))
    assert certain["low"] == pytest.approx(0.3976, abs=1e-4)
    # both hands of ten patients agree, with one more patient of each kind: between ten and twenty
    hits, patients = np.repeat([1, 1, 1, 0, 0, 1, 1, 0, 1, 1], 2), np.repeat(np.arange(10), 2)
    found = share_interval(hits, patients)
    quantile = student.ppf(0.975, 9)
    assert (found["low"], found["high"]) == pytest.approx(
        wilson_interval(0.7, 10, quantile), abs=0.02
    )
    # hands that have nothing to do with each other are worth more
    apart = share_interval(np.tile([1, 0], 10), patients)
    assert apart["high"] - apart["low"] < found["high"] - found["low"]


def test_each_patient_counts_once():
    """Forty hits of one patient and thirty misses of fifteen: one patient of sixteen hits."""
    hits = np.repeat([1, 0], [40, 30])
    patients = np.concatenate([np.zeros(40), np.repeat(np.arange(1, 16), 2)])
    found = share_interval(hits, patients)
    assert found["value"] == pytest.approx(1 / 16) and found["low"] < 0.02
    assert 0.25 < found["high"] < 0.35  # the exact interval of 1 in 16 ends at 0.30
    # films in another order, and hits and misses exchanged
    order = np.random.default_rng(0).permutation(70)
    assert share_interval(hits[order], patients[order]) == pytest.approx(found)
    other = share_interval(1 - hits, patients)
    assert (other["low"], other["high"]) == pytest.approx((1 - found["high"], 1 - found["low"]))
    alone = share_interval([1, 0, 1], ["Ann"] * 3)
    assert alone["value"] == pytest.approx(2 / 3) and np.isnan(alone["low"])


@pytest.mark.parametrize("sizes", [[2] * 20, [40] + [2] * 15, [1, 2, 3, 5, 8] * 4, [2] * 6])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_intervals_of_shares_cover(sizes, share):
    """Nominal 95 %: 300 cohorts whose patients' shares are spread by a beta distribution, ICC 0.6.

    The standard error is 1.3 %, so 0.91 is three of them below. The whole table:
    tests/benchmarks/interval_coverage.py.
    """
    rng, patients = np.random.default_rng(5), np.repeat(np.arange(len(sizes)), sizes)
    a, b = share * (1 / 0.6 - 1), (1 - share) * (1 / 0.6 - 1)
    inside = 0
    for _ in range(300):
        hits = rng.random(len(patients)) < rng.beta(a, b, len(sizes))[patients]
        found = share_interval(hits, patients)
        inside += found["low"] <= share <= found["high"]
    assert inside / 300 >= 0.91


def test_gap_of_two_splits():
    labels = np.repeat([0, 1], 30)
    learned, unseen = (
        labels * 2.0 + np.random.default_rng(0).random(60),
        np.random.default_rng(1).random(60),
    )
    train, test = ScoredFilms(labels, learned), ScoredFilms(labels, unseen)
    gap = gap_interval(train, test)
    assert gap["value"] == pytest.approx(1 - compute_auc(labels, unseen))
    assert 0.2 < gap["low"] < gap["value"] < gap["high"] < 0.7
    assert gap_interval(test, test)["low"] < 0


@pytest.mark.parametrize(
    ("positive", "negative", "truth"),
    [
        ([2] * 20, [2] * 20, 0.8),
        ([2] * 5, [2] * 5, 0.8),
        ([2] * 5, [2] * 60, 0.8),
        ([2] * 8, [2] * 8, 0.95),
        ([40] + [2] * 15, [2] * 30, 0.8),
    ],
    ids=["20 + 20", "5 + 5", "5 + 60", "8 + 8 of 0.95", "one patient of 40 films"],
)
def test_intervals_of_the_auc_cover(positive, negative, truth):
    """Nominal 95 %: 300 cohorts; the films of a patient share 60 % of their variance.

    The standard error is 1.3 %, so 0.91 is three of them below. The whole table:
    tests/benchmarks/interval_coverage.py.
    """
    sizes = [*positive, *negative]
    labels = np.repeat([1, 0], [sum(positive), sum(negative)])
    patients, rng = np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng(0)
    distance, inside = np.sqrt(2) * norm.ppf(truth), 0
    for _ in range(300):
        own, other = rng.normal(size=len(sizes))[patients], rng.normal(size=len(labels))
        scores = distance * labels + np.sqrt(0.6) * own + np.sqrt(0.4) * other
        found = auc_interval(ScoredFilms(labels, scores, patients))
        inside += found["low"] <= truth <= found["high"]
    assert inside / 300 >= 0.91


def test_the_aucs_standard_error_is_delongs_for_equal_patients():
    """pROC's DeLong variance, which R computes without clusters, with one film per patient."""
    films = ScoredFilms(ASAH_POOR, asah("s100b")[0])
    found, delong = auc_interval(films), compute_delong(ASAH_POOR, asah("s100b"))
    n = min(np.bincount(ASAH_POOR))
    value, error = delong.auc[0], np.sqrt(delong.covariance[0, 0])
    for quantile, inside in ((1.96, True), (student.ppf(0.975, n - 1), False)):
        half = quantile * error / (value * (1 - value))
        low, high = expit(logit(value) - half), expit(logit(value) + half)
        # degrees of freedom between those of the smaller class and infinity
        assert (found["low"] < low and found["high"] > high) == inside


def test_separated_patients_are_not_certainty():
    """Three patients in each class, all in order: nothing has an interval of zero width."""
    films = ScoredFilms([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    gap = gap_interval(films, films)
    assert gap["value"] == 0 and gap["low"] < -0.5 and gap["high"] > 0.5
    benefit = compute_net_benefit(films, prevalence=0.1, thresholds=[0.5]).iloc[0]
    assert benefit["network"] == pytest.approx(0.1) and benefit["low"] < 0
    assert all(np.isnan(bootstrap_interval(compute_brier, films, Resampling(50, 0))))


def test_one_patient_of_a_class_has_no_bootstrap_interval():
    labels, patients = np.repeat([1, 0], [12, 80]), np.repeat(np.arange(41), [12] + [2] * 40)
    scores = np.random.default_rng(0).random(92) + labels
    films = ScoredFilms(labels, scores, patients)
    found = bootstrap_interval(compute_average_precision, films, Resampling(50, 0), by_class=False)
    assert all(np.isnan(found))


def test_a_patient_of_one_class_among_mixed_ones_costs_no_interval():
    rng = np.random.default_rng(0)
    labels = np.append(np.tile([0, 1], 30), [0, 0])
    patients = np.append(np.repeat(np.arange(30), 2), [30, 30])
    found = auc_interval(ScoredFilms(labels, labels + rng.normal(size=62), patients))
    assert 0 < found["low"] < found["value"] < found["high"] < 1


def test_resampling_is_checked_and_starts_from_its_seed():
    assert Resampling(1, 3).rng().integers(1000) == Resampling(2, 3).rng().integers(1000)
    for n, seed in ((0, 1), (5, -1)):
        with pytest.raises(ValueError, match=f"n={n} and seed={seed}: expected at least 1"):
            Resampling(n, seed)
