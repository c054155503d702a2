"""Scores against scikit-learn, pROC's published values and numbers worked out by hand.

Also how often intervals cover.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, bootstrap, norm
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from rahelpers.scores.calibration import adjust_prevalence, compute_calibration
from rahelpers.scores.comparison import compute_delong, permutation_test
from rahelpers.scores.intervals import (
    Resampling,
    auc_interval,
    bootstrap_interval,
    ece_interval,
    gap_interval,
    share_interval,
    wilson_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_auc,
    compute_average_precision,
    compute_brier,
    compute_ece,
    predictive_values,
)
from rahelpers.scores.net_benefit import compute_net_benefit

# The aSAH cohort of the R package pROC (Turck et al., Intensive Care Med 2010;36:107): 72 patients
# with good outcome, then 41 with poor. Ranks of three markers, worked back from the placement
# values in pROC's tests/testthat/helper-deLongPlacementsCpp-expected.R.
ASAH = {
    "wfns": (
        "1 1 1 1 5 1 2 2 1 2 2 1 1 1 2 1 2 1 1 3 4 1 4 1 5 5 1 1 2 4 1 1 2 2 1 2 1 2 2 1 1 1 1 2 1"
        " 2 1 1 3 2 4 2 1 4 1 1 5 4 2 2 1 1 1 3 1 2 2 4 4 1 1 1 3 2 4 5 5 5 5 2 5 2 1 2 5 4 4 2 5 5"
        " 5 2 5 2 5 2 4 5 4 4 1 4 4 2 2 5 5 2 2 5 5 5 5 "
    ),
    "s100b": (
        "9 10 6 2 27 13 6 6 2 4 2 5 7 3 13 3 7 9 13 2 12 10 21 5 30 27 12 3 25 27 7 4 5 4 2 9 6 10"
        " 11 2 2 5 2 5 4 12 5 4 20 7 17 3 6 19 3 2 15 23 6 11 4 10 6 3 2 13 11 27 13 11 30 28 9 6"
        " 12 8 26 31 29 3 20 5 3 24 22 28 31 16 31 31 31 3 31 18 1 5 14 31 16 31 4 16 9 6 7 14 31"
        " 10 31 19 31 31 26 "
    ),
    "ndka": (
        "1 9 7 18 5 35 5 39 30 39 37 47 11 5 24 5 5 51 26 14 14 39 3 7 5 13 28 7 34 45 7 5 24 11 7"
        " 28 43 41 16 22 49 5 37 14 18 18 34 3 37 24 11 18 39 18 22 7 14 18 43 9 24 27 45 20 24 11"
        " 43 16 32 41 5 30 38 25 29 36 4 10 19 44 48 44 44 15 33 40 6 8 31 2 52 40 17 19 23 31 42"
        " 27 40 8 50 35 4 13 40 4 12 44 21 33 46 19 36 "
    ),
}
ASAH_POOR = np.repeat([0, 1], [72, 41])


def asah(*names):
    return np.array([[int(rank) for rank in ASAH[name].split()] for name in names])


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


def test_probabilities_for_another_prevalence():
    """Odds of 1 at a share of one half are a likelihood ratio of 1, which is 0.1 at prevalence 0.1.

    Odds of 9 become 9 x 1/9 = 1.
    """
    assert adjust_prevalence(np.array([0.0, 0.5, 0.9, 1.0]), 0.5, 0.1) == pytest.approx(
        [0, 0.1, 0.5, 1]
    )
    same = np.array([0.2, 0.7])
    assert adjust_prevalence(adjust_prevalence(same, 0.4, 0.05), 0.05, 0.4) == pytest.approx(same)
    with pytest.raises(ValueError, match="share=0"):
        adjust_prevalence(same, 0, 0.1)


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


def test_reliability_counts_and_widths():
    labels, probability = np.tile([0, 1], 30), np.linspace(0, 1, 60)
    found = compute_calibration(ScoredFilms(labels, probability), 6)
    assert found["films"].sum() == 60
    assert (found["low"] <= found["observed"]).all() and (found["observed"] <= found["high"]).all()
    pairs = compute_calibration(ScoredFilms(labels, probability, np.arange(60) // 2), 6)
    # half as many patients
    assert (pairs["high"] - pairs["low"] > found["high"] - found["low"]).all()
    assert len(compute_calibration(ScoredFilms(labels, np.full(60, 0.5)))) == 1


def test_net_benefit_by_hand():
    """Vickers & Elkin 2006: TP / n - FP / n x t / (1 - t), here with n = 6 films.

    At t = 0.5 there are two true and one false positive: 2/6 - 1/6.
    """
    labels, probability = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    films, resampling = ScoredFilms(labels, probability), Resampling(50, 0)
    found = compute_net_benefit(films, resampling, thresholds=np.array([0.05, 0.3, 0.5, 0.95]))
    assert found["network"].tolist() == pytest.approx(
        [3 / 6 - 3 / 6 / 19, 3 / 6 - 1 / 6 * 3 / 7, 2 / 6 - 1 / 6, 0]
    )
    assert found["treat_all"].tolist() == pytest.approx(
        [0.5 - 0.5 / 19, 0.5 - 0.5 * 3 / 7, 0, 0.5 - 0.5 * 19]
    )
    assert (found["treat_none"] == 0).all() and (found["low"] <= found["network"]).all()
    rare = compute_net_benefit(films, resampling, prevalence=0.1, thresholds=np.array([0.5]))
    assert rare["network"].iloc[0] == pytest.approx(2 / 3 * 0.1 - 1 / 3 * 0.9)
    with pytest.raises(ValueError, match="less than 1"):
        compute_net_benefit(films, resampling, thresholds=np.array([1.0]))


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
    "auc interval": lambda *f: tuple(auc_interval(ScoredFilms(*f), FIFTY).values()),
    "ece interval": lambda *f: tuple(ece_interval(ScoredFilms(*f), FIFTY).values()),
    "gap": lambda *f: tuple(gap_interval(ScoredFilms(*f), ScoredFilms(*f), FIFTY).values()),
    "delong": lambda y, s, p: compute_delong(y, s, p).interval(),
    "permutation": lambda *f: permutation_test(ScoredFilms(*f), FIFTY),
    "calibration": lambda *f: compute_calibration(ScoredFilms(*f), 2).to_numpy().ravel(),
    "net benefit": lambda *f: compute_net_benefit(ScoredFilms(*f), FIFTY).to_numpy().ravel(),
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
    assert all(np.isnan(v) for v in auc_interval(negative, FIFTY).values())
    # one patient with RA: how much people with RA differ cannot be known from them
    lonely = ScoredFilms(LABELS, SCORES, np.array(list("aabbcccc")))
    found = auc_interval(lonely, FIFTY)
    assert found["value"] == compute_auc(LABELS, SCORES)
    assert np.isnan([found["low"], found["high"]]).all()
    assert np.isnan(gap_interval(lonely, ScoredFilms(LABELS, SCORES, PATIENTS), FIFTY)["low"])


def test_resampling_is_checked_and_starts_from_its_seed():
    assert Resampling(1, 3).rng().integers(1000) == Resampling(2, 3).rng().integers(1000)
    for n, seed in ((0, 1), (5, -1)):
        with pytest.raises(ValueError, match=f"n={n} and seed={seed}: expected at least 1"):
            Resampling(n, seed)


def test_films_without_patients_are_a_patient_each_and_can_be_taken():
    films = ScoredFilms(LABELS, SCORES)
    assert films.counts()["patients"] == len(films) == 8
    part = ScoredFilms(LABELS, SCORES, PATIENTS).take(LABELS == 1)
    assert part.patients.tolist() == list("ccdd") and part.counts()["patients_negative"] == 0
    table = pd.DataFrame({"label": LABELS, "logit": SCORES, "patient_id": PATIENTS})
    assert ScoredFilms.from_table(table, "logit").scores.tolist() == SCORES.tolist()
    with pytest.raises(ValueError, match="no film"):
        bootstrap_interval(compute_auc, films.take([]), FIFTY)
