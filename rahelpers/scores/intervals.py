"""Intervals: patient bootstrap, Wilson, exact bounds. All films of a patient are drawn together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from rahelpers.scores.metrics import ScoredFilms, auc_of_arrays, compute_ece, ece_if_calibrated

Statistic = Callable[[np.ndarray, np.ndarray], float]
METHODS = ("percentile", "bca")
LEVEL = 0.95  # of every interval in the workbench
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Resampling:
    """How often patients are drawn again, and from which seed.

    Attributes
    ----------
    n : int
        Resamples, or permutations: at least 1.
    seed : int
        Not negative. The same seed gives the same draws.

    Raises
    ------
    ValueError
        If `n` or `seed` is too small.

    Examples
    --------
    >>> from rahelpers.scores import Resampling
    >>> Resampling(1000, seed=7)
    Resampling(n=1000, seed=7)
    >>> Resampling(1000, seed=7).rng().permutation(4).tolist()
    [0, 2, 1, 3]
    """

    n: int
    seed: int

    def __post_init__(self) -> None:
        if self.n < 1 or self.seed < 0:
            raise ValueError(
                f"n={self.n} and seed={self.seed}: expected at least 1 resample and a seed that is"
                " not negative"
            )

    def rng(self) -> np.random.Generator:
        """A new generator, which starts from the seed at every call."""
        return np.random.default_rng(self.seed)


def interval_text(row: Mapping[str, Any], prefix: str = "", digits: int = 2) -> str:
    """A value with its interval as text; without the interval if it is not known.

    Parameters
    ----------
    row : mapping
        Holds `value`, `low` and `high`; with a prefix such as 'auc_': `auc`, `auc_low`, `auc_high`.
    prefix : str
    digits : int
        After the decimal point.

    Examples
    --------
    >>> from rahelpers.scores import interval_text
    >>> interval_text({"value": 0.81, "low": 0.74, "high": 0.873})
    '0.81 (0.74 to 0.87)'
    """
    names = (prefix.removesuffix("_") or "value", f"{prefix}low", f"{prefix}high")
    # + 0.0: a rounded -0.001 would be shown with a minus sign
    value, low, high = (f"{round(float(row[name]), digits) + 0.0:.{digits}f}" for name in names)
    return value if low == "nan" else f"{value} ({low} to {high})"


@dataclass(frozen=True)
class Patients:
    """Films grouped by patient, and patients grouped by class: what a bootstrap draws from.

    Attributes
    ----------
    films : list of int array
        Rows of each patient's films.
    strata : list of int array
        Patients without a positive film, and patients with one.
    """

    films: list[np.ndarray]
    strata: list[np.ndarray]

    def rows(self, drawn: np.ndarray) -> np.ndarray:
        """Rows of the films of the patients drawn."""
        return np.concatenate([self.films[i] for i in drawn])

    def resample(self, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Rows of `n` resamples.

        Patients are drawn with replacement within their class, so that every resample holds both.
        """
        for _ in range(n):
            yield self.rows(np.concatenate([rng.choice(s, len(s)) for s in self.strata]))


def group_patients(films: ScoredFilms, by_class: bool = True) -> Patients:
    """Films by patient, and patients by class if asked; one positive film makes a patient positive.

    Raises
    ------
    ValueError
        If there is no film.
    """
    if not len(films):
        raise ValueError("no film: expected at least one")
    of_film = np.unique(films.patients, return_inverse=True)[1]
    order = np.argsort(of_film, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(of_film))[:-1])
    positive = np.array([films.labels[r].max() for r in rows])
    strata = [np.flatnonzero(positive == c) for c in (0, 1)] if by_class else [np.arange(len(rows))]
    return Patients(rows, [s for s in strata if len(s)])


def bootstrap_interval(
    statistic: Statistic,
    films: ScoredFilms,
    resampling: Resampling,
    method: str = "percentile",
    by_class: bool = True,
) -> tuple[float, float]:
    """95 % interval over patients drawn with replacement, all films of a patient together.

    Parameters
    ----------
    statistic : callable
        `(labels, scores) -> float`.
    films : ScoredFilms
    resampling : Resampling
    method : {'percentile', 'bca'}
        BCa corrects the percentiles for bias and for a spread that changes with the value.
    by_class : bool
        Draw patients within their class. Not for scores that depend on how many films are positive,
        such as the Brier score.

    Returns
    -------
    (low, high)
        NaN if a class (or, not by class, the cohort) has fewer than two patients: then it is not
        known how much patients differ.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile) and 14.3 (BCa);
    Davison & Hinkley, Bootstrap Methods and their Application, 1997, eq. 5.26 (acceleration with
    two samples).

    Examples
    --------
    >>> from rahelpers.scores import Resampling, ScoredFilms, bootstrap_interval, compute_brier
    >>> films = ScoredFilms([0, 0, 1, 1], [0.2, 0.2, 0.8, 0.8], ["Ann", "Bo", "Cy", "Di"])
    >>> low, high = bootstrap_interval(compute_brier, films, Resampling(100, seed=7))
    >>> round(low, 2), round(high, 2)
    (0.04, 0.04)
    """
    return bootstrap_intervals({"": statistic}, films, resampling, method, by_class)[""]


def bootstrap_intervals(
    statistics: dict[str, Statistic],
    films: ScoredFilms,
    resampling: Resampling,
    method: str = "percentile",
    by_class: bool = True,
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of several statistics from the same resamples."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected {' or '.join(METHODS)}")
    groups = group_patients(films, by_class)
    if min(map(len, groups.strata)) < 2:
        return dict.fromkeys(statistics, (np.nan, np.nan))
    labels, scores = films.labels, films.scores
    # every statistic of a resample before the next resample is drawn
    values: dict[str, list[float]] = {name: [] for name in statistics}
    for rows in groups.resample(resampling.n, resampling.rng()):
        for name, statistic in statistics.items():
            values[name].append(statistic(labels[rows], scores[rows]))
    found = {}
    for name, statistic in statistics.items():
        drawn, levels = np.array(values[name]), np.array(TAILS)
        if method == "bca":
            value = statistic(labels, scores)
            levels = _bca_levels(levels, drawn, value, _acceleration(statistic, films, groups))
        low, high = np.nanquantile(drawn, levels) if np.isfinite(drawn).any() else (np.nan, np.nan)
        found[name] = (float(low), float(high))
    return found


def _bca_levels(
    levels: np.ndarray, drawn: np.ndarray, value: float, acceleration: float
) -> np.ndarray:
    """The quantiles of the resamples that BCa reads.

    The plain ones if all resamples are on one side of the value.
    """
    drawn = drawn[np.isfinite(drawn)]
    below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2 if len(drawn) else 0.0
    if not 0 < below < 1:
        return levels
    bias, z = norm.ppf(below), norm.ppf(levels)
    return norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))


def _acceleration(statistic: Statistic, films: ScoredFilms, groups: Patients) -> float:
    """Skewness of the patients' influence, by leaving each one out; 0 if it cannot be computed."""
    influence = []
    for stratum in groups.strata:
        if len(stratum) < 2:
            continue
        others = [s for s in groups.strata if s is not stratum]
        kept = [
            groups.rows(np.concatenate([stratum[np.arange(len(stratum)) != i], *others]))
            for i in range(len(stratum))
        ]
        without = np.array([statistic(films.labels[rows], films.scores[rows]) for rows in kept])
        influence.append((np.nanmean(without) - without) * (len(stratum) - 1) / len(stratum))
    pooled = np.concatenate(influence) if influence else np.zeros(1)
    pooled = pooled[np.isfinite(pooled)]
    spread = np.sum(pooled**2) ** 1.5
    return float(np.sum(pooled**3) / (6 * spread)) if spread > 0 else 0.0


def rate_interval(
    hits: np.ndarray, patients: np.ndarray, resampling: Resampling, method: str = "percentile"
) -> dict[str, float]:
    """A share of films with its bootstrap interval; the exact binomial one if all films agree.

    Resampling films that are all hits (or all misses) would give an interval of zero width, and a
    handful of patients would look like certainty.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film.
    patients : array (m,)
    resampling : Resampling
    method : {'percentile', 'bca'}
        With few patients, `share_interval` covers better (tests/benchmarks/interval_coverage.py).

    Returns
    -------
    dict
        value, low, high.
    """
    films = _as_hits(hits, patients)
    if (found := _exact_interval(films)) is None:
        low, high = bootstrap_interval(lambda _, h: float(h.mean()), films, resampling, method)
        found = {"value": float(films.scores.mean()), "low": low, "high": high}
    return found


def share_interval(hits: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """A share of films with Wilson's interval; the exact binomial one if all films agree.

    Nothing is drawn. Wilson's interval gets as many trials as the films are worth, given how much
    the films of one patient agree: at least the number of patients, at most that of films. This is
    how sensitivity, specificity, accuracy and coverage are reported.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film.
    patients : array (m,)

    Returns
    -------
    dict
        value, low, high; NaN without a film.

    References
    ----------
    Clopper & Pearson, Biometrika 1934;26:404, with patients, not films, as the number of trials;
    Rao & Scott, Biometrics 1992;48:577 (what clustered films are worth).

    Examples
    --------
    >>> from rahelpers.scores import interval_text, share_interval
    >>> interval_text(share_interval([1, 1, 1, 0], ["Ann", "Bo", "Cy", "Di"]))
    '0.75 (0.30 to 0.95)'
    >>> interval_text(share_interval([1, 1, 1, 1], ["Ann", "Bo", "Cy", "Di"]))
    '1.00 (0.40 to 1.00)'
    """
    films = _as_hits(hits, patients)
    if (found := _exact_interval(films)) is None:
        value = float(films.scores.mean())
        low, high = wilson_interval(value, _trials_worth(films))
        found = {"value": value, "low": low, "high": high}
    return found


def _as_hits(hits: np.ndarray, patients: np.ndarray) -> ScoredFilms:
    films = ScoredFilms(np.ones(len(hits), int), np.asarray(hits, dtype=float), patients)
    films.require_probabilities()
    return films


def _exact_interval(films: ScoredFilms) -> dict[str, float] | None:
    """The exact interval of a share if every film is a hit or every film a miss; NaN if none."""
    if not len(films):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    value, trials = float(films.scores.mean()), len(np.unique(films.patients))
    if value not in (0.0, 1.0):
        return None
    exact = binomtest(round(value * trials), trials).proportion_ci(LEVEL, method="exact")
    return {"value": value, "low": float(exact.low), "high": float(exact.high)}


def _trials_worth(films: ScoredFilms) -> float:
    """Independent trials that clustered films are worth: p (1 - p) / the variance over patients."""
    names, of_film = np.unique(films.patients, return_inverse=True)
    hits, n, k = films.scores, len(films), len(names)
    share = hits.mean()
    if k < 2:
        return float(k)
    variance = k / (k - 1) * np.sum(np.bincount(of_film, hits - share) ** 2) / n**2
    return float(np.clip(share * (1 - share) / variance, k, n)) if variance > 0 else float(n)


def wilson_interval(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share, which keeps its width where the share is 0 or 1.

    `trials` may be the number of patients if films of one patient agree: then the interval is on
    the safe side.

    References
    ----------
    Wilson, J Am Stat Assoc 1927;22:209.
    """
    z = norm.ppf((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def auc_interval(
    films: ScoredFilms, resampling: Resampling, method: str = "bca"
) -> dict[str, float]:
    """The AUC with its patient-bootstrap interval; an exact bound if it is 1 or 0.

    If every pair is in the right order, every resample says so too, and the interval would have
    zero width. Let k be the smaller number of patients of a class. Then k pairs share no patient,
    and all of them are right with probability AUC^k: an AUC below 0.025^(1/k) would show this in
    fewer than 2.5 % of cohorts.

    Parameters
    ----------
    films : ScoredFilms
    resampling : Resampling
    method : {'percentile', 'bca'}

    Returns
    -------
    dict
        value, low, high; NaN if one class is missing.

    Examples
    --------
    >>> from rahelpers.scores import Resampling, ScoredFilms, auc_interval, interval_text
    >>> films = ScoredFilms([0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8])
    >>> interval_text(auc_interval(films, Resampling(100, seed=7)))
    '1.00 (0.40 to 1.00)'
    """
    value = auc_of_arrays(films.labels, films.scores)
    if np.isnan(value):
        return dict.fromkeys(("value", "low", "high"), value)
    if value in (0.0, 1.0):
        k = min(len(np.unique(films.patients[films.labels == c])) for c in (0, 1))
        bound = TAILS[0] ** (1 / k)
        low, high = (bound, 1.0) if value else (0.0, 1 - bound)
    else:
        low, high = bootstrap_interval(auc_of_arrays, films, resampling, method)
    return {"value": value, "low": low, "high": high}


def ece_interval(films: ScoredFilms, resampling: Resampling) -> dict[str, float]:
    """The calibration error with a rough interval.

    It covered the true error in 85 to 95 % of simulated cohorts of 40 and 150 patients. The error
    is a sum of absolute gaps, so chance alone makes it larger than it is, and percentile and BCa
    intervals nearly always miss the true error of a well-calibrated network. Here the high end is
    that of the resamples, which the bias only raises. The low end is 0 if a perfectly calibrated
    network would show this much in at least 5 % of cohorts; otherwise it is the high end, mirrored
    at the value.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    resampling : Resampling

    Returns
    -------
    dict
        value, low, high, if_calibrated (the mean error that a perfectly calibrated network would
        show on these films).
    """
    films.require_probabilities()
    value = compute_ece(films.labels, films.scores)
    chance = ece_if_calibrated(films.scores, films.patients, resampling.seed)
    _, high = bootstrap_interval(compute_ece, films, resampling, by_class=False)
    low = 0.0 if value <= np.quantile(chance, LEVEL) else max(2 * value - high, 0.0)
    return {
        "value": value,
        "low": low,
        "high": max(high, value),
        "if_calibrated": float(chance.mean()),
    }


def gap_interval(one: ScoredFilms, other: ScoredFilms, resampling: Resampling) -> dict[str, float]:
    """AUC of one split minus AUC of another, with a percentile interval.

    The patients of both splits are resampled.

    Parameters
    ----------
    one, other : ScoredFilms
        Two splits that share no patient.
    resampling : Resampling

    Returns
    -------
    dict
        value, low, high.
    """
    rng, drawn, aucs = resampling.rng(), [], []
    for films in (one, other):
        labels, scores, groups = films.labels, films.scores, group_patients(films)
        resamples = groups.resample(resampling.n, rng)
        drawn.append(np.array([auc_of_arrays(labels[rows], scores[rows]) for rows in resamples]))
        if min(map(len, groups.strata)) < 2:
            drawn[-1][:] = np.nan
        aucs.append(auc_of_arrays(labels, scores))
    low, high = np.quantile(drawn[0] - drawn[1], TAILS)
    return {"value": aucs[0] - aucs[1], "low": float(low), "high": float(high)}


def mean_interval(
    values: np.ndarray, patients: np.ndarray, resampling: Resampling
) -> dict[str, float]:
    """A mean over films with its 95 % interval, patients drawn with replacement.

    Parameters
    ----------
    values : float array (m,)
        Films without a value (NaN) are left out.
    patients : array (m,)
    resampling : Resampling

    Returns
    -------
    dict
        value, low, high, films, patients. The interval is NaN if there are fewer than two patients:
        then it is not known how much patients differ.
    """
    values, patients = np.asarray(values, dtype=float), np.asarray(patients)
    known = ~np.isnan(values)
    values, patients = values[known], patients[known]
    names, of_film = np.unique(patients, return_inverse=True)
    value, low, high = float(values.mean()) if len(values) else np.nan, np.nan, np.nan
    if len(names) > 1:
        # how often each patient is drawn is all that a mean needs to know of a resample
        sums, sizes = np.bincount(of_film, values), np.bincount(of_film)
        shares = np.full(len(names), 1 / len(names))
        drawn = resampling.rng().multinomial(len(names), shares, size=resampling.n)
        low, high = np.percentile(drawn @ sums / (drawn @ sizes), [2.5, 97.5])
    return {
        "value": value,
        "low": float(low),
        "high": float(high),
        "films": len(values),
        "patients": len(names),
    }
