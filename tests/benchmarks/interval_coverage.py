"""How often a 95 % interval covers the true value, in simulated cohorts with two films per patient.

    nice .venv/bin/python tests/benchmarks/interval_coverage.py [COHORTS]

Not a test: 800 cohorts take about ten minutes on 2 cores. tests/scores/test_metrics.py has a
reduced form. The two films of a patient share 60 % of their variance. docs/evaluation.md has the
figures for 800 cohorts.
"""

import sys
from collections import Counter

import numpy as np
from scipy.stats import norm

from rahelpers.scores.comparison import compute_delong
from rahelpers.scores.intervals import (
    Resampling,
    bootstrap_interval,
    bootstrap_intervals,
    ece_interval,
    gap_interval,
    rate_interval,
    share_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_auc,
    compute_average_precision,
    compute_brier,
)

SHARED = 0.6  # of the variance, between the films of one patient
RESAMPLES = 300


def draw(rng: np.random.Generator, patients: int) -> np.ndarray:
    """Standard normal values of two films per patient, (2 x patients,)."""
    return np.repeat(rng.normal(0, np.sqrt(SHARED), patients), 2) + rng.normal(
        0, np.sqrt(1 - SHARED), 2 * patients
    )


def cover_auc(cohorts: int, patients: int, distance: float) -> dict[str, float]:
    """Share of cohorts whose interval covers the AUC of two normals `distance` apart."""
    rng, inside, truth = np.random.default_rng(0), Counter(), norm.cdf(distance / np.sqrt(2))
    labels, names = np.repeat([0, 1], 2 * patients), np.repeat(np.arange(2 * patients), 2)
    for seed in range(cohorts):
        scores = distance * labels + draw(rng, 2 * patients)
        films, resampling = ScoredFilms(labels, scores, names), Resampling(RESAMPLES, seed)
        found = {
            method: bootstrap_interval(compute_auc, films, resampling, method)
            for method in ("percentile", "bca")
        }
        found["delong"] = compute_delong(labels, scores, names).interval()
        inside.update(name for name, (low, high) in found.items() if low <= truth <= high)
    return {name: inside[name] / cohorts for name in found}


def cover_rate(cohorts: int, patients: int, share: float) -> dict[str, float]:
    """Share of cohorts whose interval covers a true share of hits."""
    rng, inside, names = np.random.default_rng(1), Counter(), np.repeat(np.arange(patients), 2)
    for seed in range(cohorts):
        hits = draw(rng, patients) < norm.ppf(share)
        resampling = Resampling(RESAMPLES, seed)
        found = {m: rate_interval(hits, names, resampling, m) for m in ("percentile", "bca")}
        found["wilson"] = share_interval(hits, names)
        inside.update(
            name for name, score in found.items() if score["low"] <= share <= score["high"]
        )
    return {name: inside[name] / cohorts for name in found}


def cover_probability_scores(cohorts: int, patients: int, temperature: float) -> dict[str, float]:
    """Share of cohorts whose intervals cover the scores of an overconfident network.

    The scores are Brier score, average precision and calibration error. One film per patient; the
    log odds of being positive are normal with SD 1.5, and the network divides them by
    `temperature`.
    """
    rng, inside = np.random.default_rng(3), Counter()

    def draw_films(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        odds = rng.normal(0, 1.5, n)
        chance = 1 / (1 + np.exp(-odds))
        return (rng.random(n) < chance).astype(int), 1 / (1 + np.exp(-odds / temperature)), chance

    labels, said, chance = draw_films(400_000)
    bin_of = np.minimum((said * 10).astype(int), 9)
    truth = {
        "brier": compute_brier(labels, said),
        "average precision": compute_average_precision(labels, said),
        "calibration error": np.abs(np.bincount(bin_of, said - chance)).sum() / len(said),
    }
    statistics = {"brier": compute_brier, "average precision": compute_average_precision}
    for seed in range(cohorts):
        labels, said, _ = draw_films(patients)
        films, resampling = ScoredFilms(labels, said), Resampling(RESAMPLES, seed)
        found = bootstrap_intervals(statistics, films, resampling, "bca", by_class=False)
        rough = ece_interval(films, resampling)
        found["calibration error"] = (rough["low"], rough["high"])
        inside.update(name for name, (low, high) in found.items() if low <= truth[name] <= high)
    return {name: inside[name] / cohorts for name in truth}


def cover_gap(cohorts: int, patients: int, train: float, test: float) -> dict[str, float]:
    """Share of cohorts whose interval covers the gap between two AUCs.

    There are twice as many patients in train as in test.
    """
    rng, inside = np.random.default_rng(2), 0
    truth = norm.cdf(train / np.sqrt(2)) - norm.cdf(test / np.sqrt(2))
    for seed in range(cohorts):
        splits = []
        for n, distance in ((2 * patients, train), (patients, test)):
            labels = np.repeat([0, 1], 2 * n)
            scores = distance * labels + draw(rng, 2 * n)
            splits.append(ScoredFilms(labels, scores, np.repeat(np.arange(2 * n), 2)))
        found = gap_interval(*splits, Resampling(RESAMPLES, seed))
        inside += found["low"] <= truth <= found["high"]
    return {"percentile": inside / cohorts}


if __name__ == "__main__":
    cohorts = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for patients, distance in ((20, 1.2), (40, 1.2), (75, 1.2), (40, 2.0)):
        truth = f"{norm.cdf(distance / np.sqrt(2)):.2f}"
        print("AUC", patients, truth, cover_auc(cohorts, patients, distance), flush=True)
    for patients in (6, 15, 40):
        for share in (0.6, 0.85):
            print("share", patients, share, cover_rate(cohorts, patients, share), flush=True)
    for patients in (20, 40):
        print("gap", patients, cover_gap(cohorts, patients, 2.0, 1.2), flush=True)
    for patients in (40, 150):
        for temperature in (0.5, 0.9):
            covered = cover_probability_scores(cohorts // 4, patients, temperature)
            print("probability", patients, temperature, covered, flush=True)
