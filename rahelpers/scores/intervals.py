"""Intervals: patient bootstrap, Wilson, exact bounds. All films of a patient are drawn together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from rahelpers.scores.metrics import as_films, auc_of_arrays, compute_ece, ece_if_calibrated

Statistic = Callable[[np.ndarray, np.ndarray], float]
METHODS = ("percentile", "bca")
LEVEL = 0.95  # of every interval in the workbench


def interval_text(row: Mapping[str, Any], prefix: str = "", digits: int = 2) -> str:
    """`0.25 (0.10 to 0.40)`; the interval is left out where it is not known."""
    value, low, high = (
        round(float(row[name]), digits) + 0.0
        for name in (prefix.removesuffix("_") or "value", f"{prefix}low", f"{prefix}high")
    )
    return (
        f"{value:.{digits}f}"
        if np.isnan(low)
        else f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    )  # + 0.0: no minus before a zero


@dataclass(frozen=True)
class Patients:
    """Films grouped by patient, patients by class: what a bootstrap draws from.

    Attributes
    ----------
    films : list of int array
        Rows of each patient.
    strata : list of int array
        Patients without, and with, a positive film.
    """

    films: list[np.ndarray]
    strata: list[np.ndarray]

    def rows(self, drawn: np.ndarray) -> np.ndarray:
        """Rows of the films of the patients drawn."""
        return np.concatenate([self.films[i] for i in drawn])

    def resample(self, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Rows of `n` resamples: patients with replacement, within their class, so that every
        resample holds both.
        """
        for _ in range(n):
            yield self.rows(np.concatenate([rng.choice(s, len(s)) for s in self.strata]))


def group_patients(labels: np.ndarray, patients: np.ndarray, by_class: bool = True) -> Patients:
    """Films by patient, and patients by class where asked; a patient is positive where any film is."""
    if len(labels) != len(patients) or not len(labels):
        raise ValueError(
            f"{len(labels)} labels and {len(patients)} patients: expected one of each for every"
            " film, and at least one film"
        )
    names, of_film = np.unique(patients, return_inverse=True)
    order = np.argsort(of_film, kind="stable")
    films = np.split(order, np.cumsum(np.bincount(of_film))[:-1])
    positive = np.array([labels[f].max() for f in films])
    strata = (
        (np.flatnonzero(positive == c) for c in (0, 1)) if by_class else [np.arange(len(films))]
    )
    return Patients(films, [s for s in strata if len(s)])


def bootstrap_interval(
    statistic: Statistic,
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    n: int,
    seed: int,
    method: str = "percentile",
    by_class: bool = True,
) -> tuple[float, float]:
    """95 % interval over patients drawn with replacement, all films of a patient together.

    Parameters
    ----------
    statistic : callable
        `(labels, scores) -> float`.
    labels, scores : array (n,)
    patients : array (n,)
        Patient of each film.
    n : int
        Resamples.
    seed : int
    method : {'percentile', 'bca'}
        BCa corrects the percentiles for bias and for a spread that changes with the value.
    by_class : bool
        Draw patients within their class. Not for scores that hang on how many are positive, such as
        the Brier score.

    Returns
    -------
    (low, high)
        NaN where a class (or, not by class, the cohort) has fewer than two patients: nothing is
        known of how patients differ.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile) and 14.3 (BCa);
    Davison & Hinkley, Bootstrap Methods and their Application, 1997, eq. 5.26 (acceleration with
    two samples).
    """
    return bootstrap_intervals(
        {"": statistic}, labels, scores, patients, n, seed, method, by_class
    )[""]


def bootstrap_intervals(
    statistics: dict[str, Statistic],
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    n: int,
    seed: int,
    method: str = "percentile",
    by_class: bool = True,
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of several statistics from the same resamples."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected {' or '.join(METHODS)}")
    labels, scores, patients = (np.asarray(a) for a in (labels, scores, patients))
    groups, rng = group_patients(labels, patients, by_class), np.random.default_rng(seed)
    if min(map(len, groups.strata)) < 2:
        return dict.fromkeys(statistics, (np.nan, np.nan))
    values: dict[str, list[float]] = {name: [] for name in statistics}
    for rows in groups.resample(n, rng):
        for name, statistic in statistics.items():
            values[name].append(statistic(labels[rows], scores[rows]))
    found = {}
    for name, statistic in statistics.items():
        drawn = np.array(values[name])
        levels = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if method == "bca":
            levels = _bca_levels(
                levels,
                drawn,
                statistic(labels, scores),
                _acceleration(statistic, labels, scores, groups),
            )
        low, high = np.nanquantile(drawn, levels) if np.isfinite(drawn).any() else (np.nan, np.nan)
        found[name] = (float(low), float(high))
    return found


def _bca_levels(
    levels: np.ndarray, drawn: np.ndarray, value: float, acceleration: float
) -> np.ndarray:
    """The quantiles of the resamples that BCa reads; the plain ones where every resample lies on
    one side of the value.
    """
    drawn = drawn[np.isfinite(drawn)]
    below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2 if len(drawn) else 0.0
    if not 0 < below < 1:
        return levels
    bias, z = norm.ppf(below), norm.ppf(levels)
    return norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))


def _acceleration(
    statistic: Statistic, labels: np.ndarray, scores: np.ndarray, groups: Patients
) -> float:
    """Third moment of the patients' influence, by leaving each one out; 0 where it cannot be had."""
    influence = []
    for stratum in groups.strata:
        if len(stratum) < 2:
            continue
        others = [s for s in groups.strata if s is not stratum]
        kept = [
            groups.rows(np.concatenate([stratum[np.arange(len(stratum)) != i], *others]))
            for i in range(len(stratum))
        ]
        without = np.array([statistic(labels[rows], scores[rows]) for rows in kept])
        influence.append((np.nanmean(without) - without) * (len(stratum) - 1) / len(stratum))
    pooled = np.concatenate(influence) if influence else np.zeros(1)
    pooled = pooled[np.isfinite(pooled)]
    spread = np.sum(pooled**2) ** 1.5
    return float(np.sum(pooled**3) / (6 * spread)) if spread > 0 else 0.0


def rate_interval(
    hits: np.ndarray, patients: np.ndarray, n: int, seed: int, method: str = "percentile"
) -> dict[str, float]:
    """A share of films with its 95 % interval; the exact binomial one where every film is alike.

    Resampling films that are all hits (or all misses) gives an interval of no width, which would
    pass few patients off as certainty.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film.
    patients : array (m,)
    n, seed : int
        Bootstrap resamples and seed; not used by 'wilson'.
    method : {'percentile', 'bca', 'wilson'}
        'wilson' counts as many trials as the films are worth, given how alike those of one patient
        are: between the number of patients and that of films. It keeps its promise with few
        patients, where the bootstrap does not (tests/benchmarks/interval_coverage.py).

    Returns
    -------
    dict
        value, low, high.

    References
    ----------
    Clopper & Pearson, Biometrika 1934;26:404, with patients, not films, as the number of trials;
    Rao & Scott, Biometrics 1992;48:577 (what clustered films are worth).
    """
    _, hits, patients = as_films(
        np.zeros(len(hits), int), np.asarray(hits, dtype=float), patients, probability=True
    )
    if not len(hits):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    value, trials = float(hits.mean()), len(np.unique(patients))
    if value in (0.0, 1.0):
        exact = binomtest(round(value * trials), trials).proportion_ci(LEVEL, method="exact")
        low, high = float(exact.low), float(exact.high)
    elif method == "wilson":
        low, high = wilson_interval(value, _trials_worth(hits, patients))
    else:
        low, high = bootstrap_interval(
            lambda _, h: float(h.mean()), np.ones(len(hits)), hits, patients, n, seed, method
        )
    return {"value": value, "low": low, "high": high}


def share_interval(hits: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """`rate_interval` by 'wilson', which draws nothing: what sensitivity, specificity, accuracy and
    coverage are reported with.
    """
    return rate_interval(hits, patients, 0, 0, "wilson")


def _trials_worth(hits: np.ndarray, patients: np.ndarray) -> float:
    """Independent trials that clustered films are worth: p (1 - p) over the variance between
    patients.
    """
    names, of_film = np.unique(patients, return_inverse=True)
    k, share = len(names), hits.mean()
    if k < 2:
        return float(k)
    variance = k / (k - 1) * np.sum(np.bincount(of_film, hits - share) ** 2) / len(hits) ** 2
    return (
        float(np.clip(share * (1 - share) / variance, k, len(hits)))
        if variance > 0
        else float(len(hits))
    )


def wilson_interval(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson, J Am Stat Assoc 1927;22:209), which keeps its width where
    the share is 0 or 1.

    `trials` may be the number of patients, where films of one patient say the same: then the
    interval is on the safe side.
    """
    z = norm.ppf((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def auc_interval(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    n: int,
    seed: int,
    method: str = "bca",
) -> dict[str, float]:
    """The AUC with its patient-bootstrap interval; an exact bound where the classes are parted
    completely (or completely the wrong way round).

    Where every pair is right, every resample says so too and the interval would have no width. Of k
    = the smaller number of patients of a class, k pairs share nobody; all of them are right with
    probability AUC^k, so an AUC below 0.025^(1/k) would show this in fewer than 2.5 % of cohorts.

    Returns
    -------
    dict
        value, low, high.
    """
    labels, scores, patients = as_films(labels, scores, patients)
    value = auc_of_arrays(labels, scores)
    if np.isnan(value):
        return dict.fromkeys(("value", "low", "high"), value)
    if value in (0.0, 1.0):
        k = min(len(np.unique(patients[labels == c])) for c in (0, 1))
        bound = ((1 - LEVEL) / 2) ** (1 / k)
        return (
            {"value": value, "low": bound, "high": 1.0}
            if value
            else {"value": value, "low": 0.0, "high": 1 - bound}
        )
    low, high = bootstrap_interval(auc_of_arrays, labels, scores, patients, n, seed, method)
    return {"value": value, "low": low, "high": high}


def ece_interval(
    labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, n: int, seed: int
) -> dict[str, float]:
    """The calibration error with a rough interval: it covered in 85 to 95 % of simulated cohorts of
    40 and 150 patients.

    The error is a sum of absolute gaps, so chance alone makes it larger than it is, and percentile
    and BCa intervals miss the true one nearly always where a network is well calibrated. Here the
    high end is the resamples' own, which that bias only raises. The low end is 0 where a perfectly
    calibrated network would show as much in 5 % of cohorts; else the resamples' high end mirrored
    at the value.

    Returns
    -------
    dict
        value, low, high, if_calibrated (mean that a perfectly calibrated network would show on
        these films).
    """
    labels, probability, patients = as_films(labels, probability, patients, probability=True)
    value, chance = compute_ece(labels, probability), ece_if_calibrated(probability, patients, seed)
    _, high = bootstrap_interval(
        compute_ece, labels, probability, patients, n, seed, by_class=False
    )
    low = 0.0 if value <= np.quantile(chance, LEVEL) else max(2 * value - high, 0.0)
    return {
        "value": value,
        "low": low,
        "high": max(high, value),
        "if_calibrated": float(chance.mean()),
    }


def gap_interval(
    one: tuple[np.ndarray, np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray, np.ndarray],
    n: int,
    seed: int,
) -> dict[str, float]:
    """AUC of one split minus AUC of another, with a percentile interval from resampling the
    patients of both.

    Parameters
    ----------
    one, other : (labels, scores, patients), each array (n,)
        Two splits that share no patient.

    Returns
    -------
    dict
        value, low, high.
    """
    rng, drawn, aucs = np.random.default_rng(seed), [], []
    for labels, scores, patients in (as_films(*one), as_films(*other)):
        groups = group_patients(labels, patients)
        drawn.append(
            np.array(
                [auc_of_arrays(labels[rows], scores[rows]) for rows in groups.resample(n, rng)]
            )
        )
        if min(map(len, groups.strata)) < 2:
            drawn[-1][:] = np.nan
        aucs.append(auc_of_arrays(labels, scores))
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": aucs[0] - aucs[1], "low": float(low), "high": float(high)}


def mean_interval(values: np.ndarray, patients: np.ndarray, n: int, seed: int) -> dict[str, float]:
    """A mean over films with its 95 % interval, patients drawn with replacement; films without a
    value are left out.

    Parameters
    ----------
    values : float array (m,)
    patients : array (m,)
    n, seed : int
        Resamples and seed.

    Returns
    -------
    dict
        value, low, high, films, patients. The interval is NaN where there are fewer than two
        patients: nothing is known of how patients differ.
    """
    values, patients = np.asarray(values, dtype=float), np.asarray(patients)
    known = ~np.isnan(values)
    values, patients = values[known], patients[known]
    names, of_film = np.unique(patients, return_inverse=True)
    counts = {"films": len(values), "patients": len(names)}
    if len(names) < 2:
        return {
            "value": float(values.mean()) if len(values) else np.nan,
            "low": np.nan,
            "high": np.nan,
        } | counts
    sums, sizes = np.bincount(of_film, values), np.bincount(of_film)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=n
    )
    low, high = np.percentile(drawn @ sums / (drawn @ sizes), [2.5, 97.5])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)} | counts
