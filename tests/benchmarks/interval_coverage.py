"""How often a 95 % interval covers the true value, in simulated cohorts of patients.

    nice .venv/bin/python -m tests.benchmarks.interval_coverage [COHORTS]

Not a test: 2,000 cohorts take some minutes. tests/scores/test_metrics.py has a reduced form, and
docs/evaluation.md the figures.
"""

import sys
from collections import Counter

import numpy as np
from scipy.stats import norm

from rahelpers.scores.comparison import compute_delong
from rahelpers.scores.intervals import (
    Resampling,
    auc_interval,
    bootstrap_intervals,
    ece_interval,
    gap_interval,
    share_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_average_precision,
    compute_brier,
)

SHARED = 0.6  # of the variance, between the films of one patient
Sizes = list[int]  # films of each patient
RESAMPLES = 300


def draw(rng: np.random.Generator, names: np.ndarray) -> np.ndarray:
    """Normal scores, one per film; the films of a patient share `SHARED` of their variance."""
    own, other = rng.normal(size=names.max() + 1)[names], rng.normal(size=len(names))
    return np.sqrt(SHARED) * own + np.sqrt(1 - SHARED) * other


def cover_auc(cohorts: int, positive: Sizes, negative: Sizes, truth: float) -> dict[str, float]:
    """Share of cohorts whose interval covers the AUC of two normals.

    `delong` is the textbook interval (clusters, normal quantile), for comparison.
    """
    rng, inside = np.random.default_rng(0), Counter()
    sizes, distance = [*positive, *negative], np.sqrt(2) * norm.ppf(truth)
    labels = np.repeat([1, 0], [sum(positive), sum(negative)])
    names = np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(cohorts):
        scores = distance * labels + draw(rng, names)
        found = auc_interval(ScoredFilms(labels, scores, names))
        limits = {"used": (found["low"], found["high"])}
        limits["delong"] = compute_delong(labels, scores, names).interval()
        inside.update(name for name, (low, high) in limits.items() if low <= truth <= high)
    return {name: inside[name] / cohorts for name in ("used", "delong")}


def cover_share(cohorts: int, sizes: Sizes, share: float, alike: float) -> float:
    """Share of cohorts whose interval covers a true share of hits.

    Patients' own shares have a beta distribution; two films of a patient correlate by `alike`.
    """
    rng, inside, names = np.random.default_rng(1), 0, np.repeat(np.arange(len(sizes)), sizes)
    a, b = share * (1 / alike - 1), (1 - share) * (1 / alike - 1)
    for _ in range(cohorts):
        found = share_interval(rng.random(len(names)) < rng.beta(a, b, len(sizes))[names], names)
        inside += found["low"] <= share <= found["high"]
    return inside / cohorts


def cover_gap(cohorts: int, train: Sizes, test: Sizes, truths: tuple[float, float]) -> float:
    """Share of cohorts whose interval covers the gap between two AUCs; sizes are of each class."""
    rng, inside = np.random.default_rng(2), 0
    for _ in range(cohorts):
        splits = []
        for sizes, truth in zip((train, test), truths, strict=True):
            both = [*sizes, *sizes]
            labels, names = np.repeat([0, 1], sum(sizes)), np.repeat(np.arange(len(both)), both)
            scores = np.sqrt(2) * norm.ppf(truth) * labels + draw(rng, names)
            splits.append(ScoredFilms(labels, scores, names))
        found = gap_interval(*splits)
        inside += found["low"] <= truths[0] - truths[1] <= found["high"]
    return inside / cohorts


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


if __name__ == "__main__":
    cohorts = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    two = {n: [2] * n for n in (5, 8, 12, 20, 40, 60, 100)}
    giant, mixed = [40] + [2] * 15, [1, 1, 2, 2, 3, 4, 5, 6, 8, 10] * 2
    for name, positive, negative, truth in (
        ("20 + 20 patients", two[20], two[20], 0.8),
        ("40 + 100 patients", two[40], two[100], 0.8),
        ("20 + 20 patients", two[20], two[20], 0.95),
        ("5 + 5 patients", two[5], two[5], 0.8),
        ("5 + 60 patients", two[5], two[60], 0.8),
        ("8 + 8 patients", two[8], two[8], 0.95),
        ("one of 16 positive patients with 40 films", giant, two[20], 0.8),
        ("1 to 10 films per patient", mixed, mixed, 0.8),
    ):
        covered = cover_auc(cohorts, positive, negative, truth)
        print(f"AUC {truth} {name}: {covered}", flush=True)
    for name, sizes in (
        ("5 patients", two[5]),
        ("8 patients", two[8]),
        ("20 patients", two[20]),
        ("100 patients", two[100]),
        ("30 patients with 6 films", [6] * 30),
        ("16 patients, one with 40 films", giant),
        ("5 patients, one with 40 films", [40, 2, 2, 2, 2]),
        ("20 patients with 1 to 10 films", mixed),
    ):
        for share in (0.6, 0.8, 0.95):
            covered = [cover_share(cohorts, sizes, share, alike) for alike in (0.3, 0.6, 0.95)]
            print(f"share {share} {name}: {covered}", flush=True)
    for name, train, test in (
        ("40 and 20", two[40], two[20]),
        ("12 and 5", two[12], two[5]),
        ("16 (one with 40 films) and 8", giant, two[8]),
    ):
        covered = cover_gap(cohorts, train, test, (0.95, 0.8))
        print(f"gap, {name} patients of each class: {covered}", flush=True)
    for patients in (40, 150):
        for temperature in (0.5, 0.9):
            covered = cover_probability_scores(cohorts // 4, patients, temperature)
            print("probability", patients, temperature, covered, flush=True)
