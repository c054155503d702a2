"""Scores and their uncertainty: patient bootstrap, DeLong, permutation, calibration error, net benefit. Films of a patient go together.

Nothing here reads files or starts TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, rankdata
from sklearn.metrics import average_precision_score

Statistic = Callable[[np.ndarray, np.ndarray], float]
METHODS = ("percentile", "bca")
LEVEL = 0.95  # of every interval in the workbench


def as_films(labels: Any, scores: Any, patients: Any = None, probability: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and patients as arrays of one length; films without patients are a patient each.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, a score is no finite number (or no probability), or a patient is missing.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    patients = np.arange(len(labels)) if patients is None else np.asarray(patients)
    if not labels.shape == scores.shape == patients.shape or labels.ndim != 1:
        raise ValueError(f"labels, scores and patients have shapes {labels.shape}, {scores.shape} and {patients.shape}: expected one of each for every film")
    if not (known := (labels == 0) | (labels == 1)).all():
        raise ValueError(f"labels hold {', '.join(map(str, pd.unique(labels[~known])[:3]))}: expected 0 (negative) and 1 (positive) alone")
    if not np.issubdtype(scores.dtype, np.number) and scores.dtype != bool:
        raise ValueError(f"scores are {scores.dtype}: expected numbers")
    if not (finite := np.isfinite(scores)).all():
        raise ValueError(f"the score of film {int(np.argmin(finite))} of {len(scores)} is {scores[~finite][0]}: expected finite numbers")
    if probability and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"probabilities from {scores.min():g} to {scores.max():g}: expected 0 to 1; a logit is turned into one by the bundle's calibration")
    if (missing := pd.isna(patients)).any():
        raise ValueError(f"the patient of {int(missing.sum())} of {len(patients)} films is missing: expected a name for every film")
    return labels.astype(int), scores, patients


def count_films(labels: np.ndarray, patients: np.ndarray) -> dict[str, int]:
    """Films and patients of both classes; a patient is positive where any film is."""
    labels, _, patients = as_films(labels, np.zeros(len(labels)), patients)
    counts = {"films_positive": int((labels == 1).sum()), "films_negative": int((labels == 0).sum()), "patients": len(np.unique(patients))}
    counts["patients_positive"] = len(np.unique(patients[labels == 1]))
    return counts | {"patients_negative": counts["patients"] - counts["patients_positive"]}


def compute_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs of a positive and a negative film in which the positive scores higher; ties count half (Mann & Whitney 1947).

    The same number as scikit-learn's `roc_auc_score`, about twenty times faster on few films, which a bootstrap needs.

    Parameters
    ----------
    labels : int array (n,)
        0 or 1.
    scores : float array (n,)

    Returns
    -------
    float
        NaN where one class is missing.

    Raises
    ------
    ValueError
        As every score here: if the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    """
    return _auc(*as_films(labels, scores)[:2])


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """`compute_auc` of arrays that were looked at already: a bootstrap asks thousands of times."""
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    if not (len(positive) and len(negative)):
        return float("nan")
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def compute_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average precision as scikit-learn computes it; NaN without a positive film. Its chance level is the share of positives, not 0.5."""
    labels, scores, _ = as_films(labels, scores)
    return float(average_precision_score(labels, scores)) if labels.any() else float("nan")


def compute_brier(labels: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared difference between probability and label (Brier 1950): 0 is best, 0.25 is always saying 50 %."""
    labels, probability, _ = as_films(labels, probability, probability=True)
    return float(np.mean((probability - labels) ** 2)) if len(labels) else float("nan")


def compute_ece(labels: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean gap between predicted and observed share over bins of equal width, weighted by films.

    It is biased upwards where films are few: see `ece_if_calibrated`.

    Parameters
    ----------
    labels : int array (n,)
    probability : float array (n,) in [0, 1]
    bins : int

    Returns
    -------
    float in [0, 1]
        NaN without a film.

    References
    ----------
    Naeini et al., AAAI 2015; Guo et al. 2017, arXiv 1706.04599, eq. 3.
    """
    labels, probability, _ = as_films(labels, probability, probability=True)
    if not len(labels):
        return float("nan")
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, probability - labels, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def ece_if_calibrated(probability: np.ndarray, patients: np.ndarray, seed: int, draws: int = 200) -> np.ndarray:
    """Calibration errors that a perfectly calibrated network with these probabilities would show on these films.

    Labels are drawn from the probabilities themselves; a patient's films are drawn together, as two hands of a person mostly agree.

    Returns
    -------
    float array (draws,)

    References
    ----------
    Broecker & Smith, Weather Forecast 2007;22:651 (consistency bars).
    """
    rng, (names, of_film) = np.random.default_rng(seed), np.unique(patients, return_inverse=True)
    return np.array([compute_ece((rng.random(len(names))[of_film] < probability).astype(int), probability) for _ in range(draws)])


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """PPV and NPV by Bayes' rule at a stated prevalence: a cohort's own share of positives is how it was put together, not how common RA is.

    Returns
    -------
    (ppv, npv)
        NaN where nobody is called, or nobody is left alone.

    Raises
    ------
    ValueError
        If one of the three is outside [0, 1].
    """
    for name, value in (("sensitivity", sensitivity), ("specificity", specificity), ("prevalence", prevalence)):
        if value < 0 or value > 1:  # NaN passes: a class without films has no sensitivity, and then no PPV
            raise ValueError(f"{name}={value:g}: expected 0 to 1")
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    left = (1 - sensitivity) * prevalence + specificity * (1 - prevalence)
    ppv = sensitivity * prevalence / called if called > 0 else float("nan")
    npv = specificity * (1 - prevalence) / left if left > 0 else float("nan")
    return ppv, npv


def adjust_prevalence(probability: np.ndarray, share: float, prevalence: float) -> np.ndarray:
    """Probabilities for another place: calibrated where a share of people is positive, used where the prevalence is another.

    The odds change by the ratio of prior odds; the evidence in the film stays (Elkan, IJCAI 2001, theorem 2).

    Parameters
    ----------
    probability : float array (n,) in [0, 1]
    share : float in (0, 1)
        Share of positives among the films of the calibration.
    prevalence : float in (0, 1)

    Returns
    -------
    float array (n,) in [0, 1]
    """
    for name, value in (("share", share), ("prevalence", prevalence)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value:g}: expected more than 0 and less than 1")
    ratio = prevalence / (1 - prevalence) * (1 - share) / share
    return probability * ratio / (probability * ratio + 1 - probability)


def interval_text(row: Mapping[str, Any], prefix: str = "", digits: int = 2) -> str:
    """`0.25 (0.10–0.40)`; the interval is left out where it is not known."""
    value, low, high = (round(float(row[name]), digits) + 0.0 for name in (prefix.removesuffix("_") or "value", f"{prefix}low", f"{prefix}high"))
    return f"{value:.{digits}f}" if np.isnan(low) else f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"  # + 0.0: no minus before a zero


# ---- patient bootstrap


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
        """Rows of `n` resamples: patients with replacement, within their class, so that every resample holds both."""
        for _ in range(n):
            yield self.rows(np.concatenate([rng.choice(s, len(s)) for s in self.strata]))


def group_patients(labels: np.ndarray, patients: np.ndarray, by_class: bool = True) -> Patients:
    """Films by patient, and patients by class where asked; a patient is positive where any film is."""
    if len(labels) != len(patients) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(patients)} patients: expected one of each for every film, and at least one film")
    names, of_film = np.unique(patients, return_inverse=True)
    order = np.argsort(of_film, kind="stable")
    films = np.split(order, np.cumsum(np.bincount(of_film))[:-1])
    positive = np.array([labels[f].max() for f in films])
    strata = (np.flatnonzero(positive == c) for c in (0, 1)) if by_class else [np.arange(len(films))]
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
        Draw patients within their class. Not for scores that hang on how many are positive, such as the Brier score.

    Returns
    -------
    (low, high)
        NaN where a class (or, not by class, the cohort) has fewer than two patients: nothing is known of how patients differ.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile) and 14.3 (BCa); Davison & Hinkley, Bootstrap Methods and
    their Application, 1997, eq. 5.26 (acceleration with two samples).
    """
    return bootstrap_intervals({"": statistic}, labels, scores, patients, n, seed, method, by_class)[""]


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
            levels = _bca_levels(levels, drawn, statistic(labels, scores), _acceleration(statistic, labels, scores, groups))
        low, high = np.nanquantile(drawn, levels) if np.isfinite(drawn).any() else (np.nan, np.nan)
        found[name] = (float(low), float(high))
    return found


def _bca_levels(levels: np.ndarray, drawn: np.ndarray, value: float, acceleration: float) -> np.ndarray:
    """The quantiles of the resamples that BCa reads; the plain ones where every resample lies on one side of the value."""
    drawn = drawn[np.isfinite(drawn)]
    below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2 if len(drawn) else 0.0
    if not 0 < below < 1:
        return levels
    bias, z = norm.ppf(below), norm.ppf(levels)
    return norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))


def _acceleration(statistic: Statistic, labels: np.ndarray, scores: np.ndarray, groups: Patients) -> float:
    """Third moment of the patients' influence, by leaving each one out; 0 where it cannot be had."""
    influence = []
    for stratum in groups.strata:
        if len(stratum) < 2:
            continue
        others = [s for s in groups.strata if s is not stratum]
        kept = [groups.rows(np.concatenate([stratum[np.arange(len(stratum)) != i], *others])) for i in range(len(stratum))]
        without = np.array([statistic(labels[rows], scores[rows]) for rows in kept])
        influence.append((np.nanmean(without) - without) * (len(stratum) - 1) / len(stratum))
    pooled = np.concatenate(influence) if influence else np.zeros(1)
    pooled = pooled[np.isfinite(pooled)]
    spread = np.sum(pooled**2) ** 1.5
    return float(np.sum(pooled**3) / (6 * spread)) if spread > 0 else 0.0


def rate_interval(hits: np.ndarray, patients: np.ndarray, n: int, seed: int, method: str = "percentile") -> dict[str, float]:
    """A share of films with its 95 % interval; the exact binomial one where every film is alike.

    Resampling films that are all hits (or all misses) gives an interval of no width, which would pass few patients off as certainty.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film.
    patients : array (m,)
    n, seed : int
        Bootstrap resamples and seed; not used by 'wilson'.
    method : {'percentile', 'bca', 'wilson'}
        'wilson' counts as many trials as the films are worth, given how alike those of one patient are: between the number of patients
        and that of films. It keeps its promise with few patients, where the bootstrap does not (tests/benchmarks/interval_coverage.py).

    Returns
    -------
    dict
        value, low, high.

    References
    ----------
    Clopper & Pearson, Biometrika 1934;26:404, with patients, not films, as the number of trials; Rao & Scott, Biometrics 1992;48:577 (what
    clustered films are worth).
    """
    _, hits, patients = as_films(np.zeros(len(hits), int), np.asarray(hits, dtype=float), patients, probability=True)
    if not len(hits):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    value, trials = float(hits.mean()), len(np.unique(patients))
    if value in (0.0, 1.0):
        exact = binomtest(round(value * trials), trials).proportion_ci(LEVEL, method="exact")
        low, high = float(exact.low), float(exact.high)
    elif method == "wilson":
        low, high = wilson_interval(value, _trials_worth(hits, patients))
    else:
        low, high = bootstrap_interval(lambda _, h: float(h.mean()), np.ones(len(hits)), hits, patients, n, seed, method)
    return {"value": value, "low": low, "high": high}


def share_interval(hits: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """`rate_interval` by 'wilson', which draws nothing: what sensitivity, specificity, accuracy and coverage are reported with."""
    return rate_interval(hits, patients, 0, 0, "wilson")


def _trials_worth(hits: np.ndarray, patients: np.ndarray) -> float:
    """Independent trials that clustered films are worth: p (1 - p) over the variance between patients."""
    names, of_film = np.unique(patients, return_inverse=True)
    k, share = len(names), hits.mean()
    if k < 2:
        return float(k)
    variance = k / (k - 1) * np.sum(np.bincount(of_film, hits - share) ** 2) / len(hits) ** 2
    return float(np.clip(share * (1 - share) / variance, k, len(hits))) if variance > 0 else float(len(hits))


def wilson_interval(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson, J Am Stat Assoc 1927;22:209), which keeps its width where the share is 0 or 1.

    `trials` may be the number of patients, where films of one patient say the same: then the interval is on the safe side.
    """
    z = norm.ppf((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def auc_interval(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, n: int, seed: int, method: str = "bca") -> dict[str, float]:
    """The AUC with its patient-bootstrap interval; an exact bound where the classes are parted completely (or completely the wrong way round).

    Where every pair is right, every resample says so too and the interval would have no width. Of k = the smaller number of patients of a
    class, k pairs share nobody; all of them are right with probability AUC^k, so an AUC below 0.025^(1/k) would show this in fewer than
    2.5 % of cohorts.

    Returns
    -------
    dict
        value, low, high.
    """
    labels, scores, patients = as_films(labels, scores, patients)
    value = _auc(labels, scores)
    if np.isnan(value):
        return dict.fromkeys(("value", "low", "high"), value)
    if value in (0.0, 1.0):
        k = min(len(np.unique(patients[labels == c])) for c in (0, 1))
        bound = ((1 - LEVEL) / 2) ** (1 / k)
        return {"value": value, "low": bound, "high": 1.0} if value else {"value": value, "low": 0.0, "high": 1 - bound}
    low, high = bootstrap_interval(_auc, labels, scores, patients, n, seed, method)
    return {"value": value, "low": low, "high": high}


def ece_interval(labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, n: int, seed: int) -> dict[str, float]:
    """The calibration error with a rough interval: it covered in 85 to 95 % of simulated cohorts of 40 and 150 patients.

    The error is a sum of absolute gaps, so chance alone makes it larger than it is, and percentile and BCa intervals miss the true one
    nearly always where a network is well calibrated. Here the high end is the resamples' own, which that bias only raises. The low end is 0
    where a perfectly calibrated network would show as much in 5 % of cohorts; else the resamples' high end mirrored at the value.

    Returns
    -------
    dict
        value, low, high, if_calibrated (mean that a perfectly calibrated network would show on these films).
    """
    labels, probability, patients = as_films(labels, probability, patients, probability=True)
    value, chance = compute_ece(labels, probability), ece_if_calibrated(probability, patients, seed)
    _, high = bootstrap_interval(compute_ece, labels, probability, patients, n, seed, by_class=False)
    low = 0.0 if value <= np.quantile(chance, LEVEL) else max(2 * value - high, 0.0)
    return {"value": value, "low": low, "high": max(high, value), "if_calibrated": float(chance.mean())}


def gap_interval(one: tuple[np.ndarray, np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, seed: int) -> dict[str, float]:
    """AUC of one split minus AUC of another, with a percentile interval from resampling the patients of both.

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
        drawn.append(np.array([_auc(labels[rows], scores[rows]) for rows in groups.resample(n, rng)]))
        if min(map(len, groups.strata)) < 2:
            drawn[-1][:] = np.nan
        aucs.append(_auc(labels, scores))
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": aucs[0] - aucs[1], "low": float(low), "high": float(high)}


# ---- DeLong, permutation


@dataclass(frozen=True)
class DeLong:
    """AUCs of one or more scores of the same films, with their covariance.

    Attributes
    ----------
    auc : float array (k,)
    covariance : float array (k, k)
    """

    auc: np.ndarray
    covariance: np.ndarray

    def interval(self, i: int = 0) -> tuple[float, float]:
        """95 % interval of one AUC, cut to [0, 1]."""
        half = norm.ppf((1 + LEVEL) / 2) * np.sqrt(self.covariance[i, i])
        return float(max(self.auc[i] - half, 0.0)), float(min(self.auc[i] + half, 1.0))

    def compare(self, i: int = 0, j: int = 1) -> dict[str, float]:
        """AUC i minus AUC j: value, low, high, z and two-sided p. Scores that rank alike differ by 0 with p = 1."""
        difference = float(self.auc[i] - self.auc[j])
        error = float(np.sqrt(max(self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j], 0.0)))
        if error < 1e-12:
            return {"value": difference, "low": difference, "high": difference, "z": 0.0, "p": 1.0 if difference == 0 else 0.0}
        half, z = float(norm.ppf((1 + LEVEL) / 2) * error), difference / error
        return {"value": difference, "low": difference - half, "high": difference + half, "z": z, "p": float(2 * norm.sf(abs(z)))}


def compute_delong(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> DeLong:
    """AUCs and their covariance without resampling.

    Parameters
    ----------
    labels : int array (n,)
    scores : float array (k, n) or (n,)
        k networks' scores of the same films.
    patients : array (n,), optional
        Films of one patient count as one cluster; without it films are taken as independent, which two hands of a person are not.

    Raises
    ------
    ValueError
        If a class has fewer than two films (or patients), or the shapes do not fit.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837; Sun & Xu, IEEE Signal Process Lett 2014;21:1389 (midranks instead of pairs: n log n); Obuchowski,
    Biometrics 1997;53:567 (clusters).
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    if scores.shape[1] != len(labels):
        raise ValueError(f"scores have shape {scores.shape}: expected (k, {len(labels)}), one score a film")
    for row in scores:
        as_films(labels, row, patients)
    positive = np.asarray(labels) == 1
    names = np.arange(len(labels)) if patients is None else np.unique(patients, return_inverse=True)[1]
    m, n = int(positive.sum()), int((~positive).sum())
    clusters = [len(np.unique(names[mask])) for mask in (positive, ~positive)]
    if min(clusters) < 2:
        raise ValueError(f"{clusters[0]} positive and {clusters[1]} negative patients: expected at least 2 of each")
    of_all = rankdata(scores, axis=1)
    # placements: of a positive film the share of negatives below it, of a negative film the share of positives above it
    above = (of_all[:, positive] - rankdata(scores[:, positive], axis=1)) / n
    below = 1 - (of_all[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m
    auc = above.mean(axis=1)

    def sums(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(names[mask], v, minlength=names.max() + 1) for v in values - auc[:, None]])

    of_positive, of_negative, total = sums(above, positive), sums(below, ~positive), len(np.unique(names))
    cross = of_positive @ of_negative.T * total / (total - 1)
    covariance = (
        of_positive @ of_positive.T * clusters[0] / (clusters[0] - 1) / m**2
        + of_negative @ of_negative.T * clusters[1] / (clusters[1] - 1) / n**2
        + (cross + cross.T) / (m * n)
    )
    return DeLong(auc, covariance)


def permutation_test(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, n: int, seed: int) -> float:
    """One-sided p of the AUC against chance: patients exchange their labels, all films of a patient together.

    Labels go round among patients with the same number of films, so that a patient's films keep belonging together.

    Parameters
    ----------
    labels, scores, patients : array (m,)
    n : int
        Permutations; p is never below 1 / (n + 1).
    seed : int

    Returns
    -------
    float
        NaN where one class is missing.

    References
    ----------
    Phipson & Smyth, Stat Appl Genet Mol Biol 2010;9:39 (why p counts the cohort itself).
    """
    labels, scores, patients = as_films(labels, scores, patients)
    rng, films = np.random.default_rng(seed), group_patients(labels, patients).films
    blocks = [np.stack([f for f in films if len(f) == size]) for size in sorted({len(f) for f in films})]
    observed, reached = _auc(labels, scores), 0
    if np.isnan(observed):
        return observed
    shuffled = labels.copy()
    for _ in range(n):
        for block in blocks:
            shuffled[block] = labels[block[rng.permutation(len(block))]]
        reached += _auc(shuffled, scores) >= observed - 1e-12
    return (reached + 1) / (n + 1)


# ---- calibration, net benefit


def compute_calibration(labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, bins: int = 6) -> pd.DataFrame:
    """Predicted against observed share of positives in bins of about equal count, with intervals.

    Returns
    -------
    DataFrame
        One bin a row: predicted, observed, low, high (Wilson, with patients as trials), films, patients.
    """
    labels, probability, patients = as_films(labels, probability, patients, probability=True)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)))
    bin_of = np.clip(np.searchsorted(edges, probability, "right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for b in np.unique(bin_of):
        inside = bin_of == b
        observed, people = float(labels[inside].mean()), len(np.unique(patients[inside]))
        low, high = wilson_interval(observed, people)
        rows.append({"predicted": float(probability[inside].mean()), "observed": observed, "low": low, "high": high,
                     "films": int(inside.sum()), "patients": people})  # fmt: skip
    return pd.DataFrame(rows)


def compute_net_benefit(
    labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, n: int, seed: int, prevalence: float | None = None, thresholds: np.ndarray | None = None
) -> pd.DataFrame:
    """Decision curve: net benefit of acting on the network, of treating everybody and of treating nobody.

    Net benefit = sensitivity x prevalence - (1 - specificity) x (1 - prevalence) x t / (1 - t): true positives a person, less false positives
    at the exchange rate that the threshold t states.

    Parameters
    ----------
    labels, probability, patients : array (m,)
    n, seed : int
        Bootstrap resamples and seed of the interval.
    prevalence : float, optional
        Where it would be used; the films' own share of positives where not given.
    thresholds : float array (k,), optional
        Probabilities t in (0, 1); 0.01 to 0.99 by default.

    Returns
    -------
    DataFrame
        threshold, network, low, high (95 %, patient bootstrap, percentile), treat_all, treat_none.

    References
    ----------
    Vickers & Elkin, Med Decis Making 2006;26:565.
    """
    labels, probability, patients = as_films(labels, probability, patients, probability=True)
    t = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, dtype=float)
    if ((t <= 0) | (t >= 1)).any():
        raise ValueError(f"thresholds from {t.min():g} to {t.max():g}: expected more than 0 and less than 1")
    share = float(np.mean(labels)) if prevalence is None else prevalence
    called, odds = probability[:, None] >= t[None, :], t / (1 - t)

    def benefit(rows: np.ndarray) -> np.ndarray:
        positive = labels[rows] == 1
        return called[rows[positive]].mean(axis=0) * share - called[rows[~positive]].mean(axis=0) * (1 - share) * odds

    drawn = np.array([benefit(rows) for rows in group_patients(labels, patients).resample(n, np.random.default_rng(seed))])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return pd.DataFrame({"threshold": t, "network": benefit(np.arange(len(labels))), "low": low, "high": high,
                         "treat_all": share - (1 - share) * odds, "treat_none": 0.0})  # fmt: skip
