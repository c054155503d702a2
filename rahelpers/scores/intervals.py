"""Intervals over patients: AUC, shares, means by formula; other scores by the patient bootstrap.

All of them count patients, not films. With too few patients an interval is NaN: not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from rahelpers.scores.metrics import (
    ScoredFilms,
    auc_of_arrays,
    compute_ece,
    ece_if_calibrated,
    place_films,
)

Statistic = Callable[[np.ndarray, np.ndarray], float]
METHODS = ("percentile", "bca")
LEVEL = 0.95  # of every interval in the workbench
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
# patients of a class, below which a bootstrap says little: 4 patients have 35 different resamples
FEWEST_TO_RESAMPLE = 5
FEWEST_FOR_A_MEAN = 3


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
    """A value with its interval as text, and in words what is not known.

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
    >>> unknown = float("nan")  # too few patients
    >>> interval_text({"value": 0.81, "low": unknown, "high": unknown})
    '0.81 (interval not known)'
    """
    names = (prefix.removesuffix("_") or "value", f"{prefix}low", f"{prefix}high")
    # + 0.0: a rounded -0.001 would be shown with a minus sign
    value, low, high = (f"{round(float(row[name]), digits) + 0.0:.{digits}f}" for name in names)
    if value == "nan":
        return "not known"
    return f"{value} (interval not known)" if low == "nan" else f"{value} ({low} to {high})"


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
        NaN if a class has fewer than `FEWEST_TO_RESAMPLE` patients, or if all resamples agree: then
        the films do not show how much patients differ.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile) and 14.3 (BCa);
    Davison & Hinkley, Bootstrap Methods and their Application, 1997, eq. 5.26 (acceleration with
    two samples).

    Examples
    --------
    >>> from rahelpers.scores import Resampling, ScoredFilms, bootstrap_interval, compute_brier
    >>> films = ScoredFilms([0, 1] * 5, [0.2, 0.8, 0.4, 0.6, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8])
    >>> low, high = bootstrap_interval(compute_brier, films, Resampling(100, seed=7))
    >>> low < compute_brier(films.labels, films.scores) < high
    True
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
    if min(map(len, group_patients(films).strata)) < FEWEST_TO_RESAMPLE:
        return dict.fromkeys(statistics, (np.nan, np.nan))
    groups = group_patients(films, by_class)
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
        says_something = np.isfinite(drawn).any() and np.nanmin(drawn) < np.nanmax(drawn)
        low, high = np.nanquantile(drawn, levels) if says_something else (np.nan, np.nan)
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


def share_interval(hits: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """A share over patients, each counted once, with Wilson's interval.

    The films of a patient share one vote, so that a patient with forty films weighs as much as one
    with two. This is how sensitivity, specificity, accuracy and coverage are reported. Wilson's
    interval gets as many trials as the films are worth, given how much the films of one patient
    agree: at least the number of patients, at most that of films. How much they agree is estimated
    with two more patients, one who is all hits and one who is all misses: few patients show it
    badly, and a value that is too low makes the interval too narrow. If all films agree, the
    interval is the exact one, with patients as trials.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film, or a number between.
    patients : array (m,)

    Returns
    -------
    dict
        value, low, high; all NaN without a film, low and high with one patient whose films differ.

    References
    ----------
    Wilson, J Am Stat Assoc 1927;22:209; Clopper & Pearson, Biometrika 1934;26:404; Rao & Scott,
    Biometrics 1992;48:577 (what clustered films are worth). Coverage: docs/evaluation.md.

    Examples
    --------
    >>> from rahelpers.scores import interval_text, share_interval
    >>> interval_text(share_interval([1, 1, 1, 0], ["Ann", "Bo", "Cy", "Di"]))
    '0.75 (0.16 to 0.98)'
    >>> interval_text(share_interval([1, 1, 1, 1], ["Ann", "Bo", "Cy", "Di"]))
    '1.00 (0.40 to 1.00)'
    """
    films = ScoredFilms(np.ones(len(hits), int), np.asarray(hits, dtype=float), patients)
    films.require_probabilities()
    if not len(films):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    votes = _patient_means(films.scores, films.patients)
    value, k = float(votes.mean()), len(votes)
    if value in (0.0, 1.0):
        exact = binomtest(round(value * k), k).proportion_ci(LEVEL, method="exact")
        low, high = float(exact.low), float(exact.high)
    elif k == 1:
        low = high = float("nan")
    else:
        with_two_more = np.append(votes, [0.0, 1.0])
        middle = with_two_more.mean()
        # 1 if the films of a patient always agree, patients' films over films if they do not at all
        alike = with_two_more.var(ddof=1) / (middle * (1 - middle))
        trials = float(np.clip(k / alike, k, max(len(films), k)))
        low, high = wilson_interval(value, trials, float(student.ppf(TAILS[1], k - 1)))
    return {"value": value, "low": low, "high": high}


def _patient_means(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    of_film = np.unique(patients, return_inverse=True)[1]
    return np.bincount(of_film, values) / np.bincount(of_film)


def wilson_interval(
    share: float, trials: float, quantile: float = float(norm.ppf(TAILS[1]))
) -> tuple[float, float]:
    """95 % interval of a share of independent trials, which keeps its width at 0 and at 1.

    Parameters
    ----------
    share : float in [0, 1]
    trials : float
        Need not be a whole number.
    quantile : float
        Standard errors on each side; the normal distribution's 1.96 by default.

    References
    ----------
    Wilson, J Am Stat Assoc 1927;22:209.
    """
    z = quantile
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def auc_interval(films: ScoredFilms) -> dict[str, float]:
    """The AUC with its interval over patients: DeLong's variance, on the logit scale, with t.

    A patient's films are added up before patients are compared (clusters). What a patient adds is
    measured against a mean that this patient has pulled towards itself, the more the larger its
    share h of the films; dividing by the square root of 1 - h undoes that, and the degrees of
    freedom of t count patients of unequal size as fewer (Bell & McCaffrey). On the logit scale the
    interval stays between 0 and 1.

    If the AUC is 1 or 0 the variance is 0, and an exact bound takes its place. Let k be the smaller
    number of patients of a class. Then k pairs share no patient, and all of them are in the right
    order with probability AUC^k: an AUC below 0.025^(1/k) would show this in fewer than 2.5 % of
    cohorts.

    Parameters
    ----------
    films : ScoredFilms

    Returns
    -------
    dict
        value, low, high; all NaN if one class is missing, low and high if it has one patient.

    References
    ----------
    Obuchowski, Biometrics 1997;53:567 (clusters); Qin & Hotilovac, Stat Methods Med Res
    2008;17:207 (logit scale); Bell & McCaffrey, Survey Methodology 2002;28:169 (few and unequal
    clusters). Coverage in simulated cohorts: docs/evaluation.md.

    Examples
    --------
    >>> from rahelpers.scores import ScoredFilms, auc_interval, interval_text
    >>> interval_text(auc_interval(ScoredFilms([0, 0, 0, 0, 1, 1, 1, 1], range(8))))
    '1.00 (0.40 to 1.00)'
    >>> interval_text(auc_interval(ScoredFilms([0, 0, 0, 1, 0, 1, 1, 1], range(8))))
    '0.94 (0.27 to 1.00)'
    """
    value = auc_of_arrays(films.labels, films.scores)
    if np.isnan(value):
        return dict.fromkeys(("value", "low", "high"), value)
    patients = [len(np.unique(films.patients[films.labels == c])) for c in (0, 1)]
    if min(patients) < 2:
        low = high = float("nan")
    elif value in (0.0, 1.0):
        bound = TAILS[0] ** (1 / min(patients))
        low, high = (bound, 1.0) if value else (0.0, 1 - bound)
    else:
        error, freedom = _auc_error(films)
        half = student.ppf(TAILS[1], freedom) * error / (value * (1 - value))
        low, high = (float(expit(logit(value) + side * half)) for side in (-1, 1))
    return {"value": value, "low": low, "high": high}


def _auc_error(films: ScoredFilms) -> tuple[float, float]:
    """Standard error of the AUC over patients, and its degrees of freedom."""
    names, of_film = np.unique(films.patients, return_inverse=True)
    added, variances, freedoms = [], [], []
    for label, placed in zip((1, 0), place_films(films.labels, films.scores), strict=True):
        owner = of_film[films.labels == label]
        share = np.bincount(owner, minlength=len(names)) / len(owner)
        pulled = np.bincount(owner, placed - placed.mean(), minlength=len(names)) / len(owner)
        added.append(pulled / np.sqrt(1 - share))
        variances.append(float(np.sum(added[-1] ** 2)))
        freedoms.append(degrees_of_freedom(share[share > 0]))
    # a patient with films of both classes is in both sums
    total = sum(variances) + 2 * float(np.sum(added[0] * added[1]))
    # Satterthwaite: of a sum of two variances
    spread = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    freedom = sum(variances) ** 2 / spread if spread > 0 else min(freedoms)
    return float(np.sqrt(max(total, 0.0))), max(freedom, 1.0)


def degrees_of_freedom(shares: np.ndarray) -> float:
    """Degrees of freedom of the variance of a mean over patients of unequal size.

    Parameters
    ----------
    shares : float array (k,)
        Each patient's share of the films; they add up to 1. k is at least 2.

    Returns
    -------
    float
        k - 1 for equal shares, fewer for unequal ones.

    References
    ----------
    Bell & McCaffrey, Survey Methodology 2002;28:169, eq. 12, with films of a patient that agree.

    Examples
    --------
    >>> import numpy as np
    >>> round(degrees_of_freedom(np.full(20, 1 / 20)), 6)
    19.0
    >>> round(degrees_of_freedom(np.array([40] + [2] * 15) / 70), 1)
    1.2
    """
    k = len(shares)
    residual = (np.eye(k) - np.outer(np.ones(k), shares)) * (shares / np.sqrt(1 - shares))[:, None]
    squares = residual @ residual.T
    return float(np.trace(squares) ** 2 / np.sum(squares**2))


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
    known = np.isfinite(high)
    return {
        "value": value,
        "low": low if known else float("nan"),
        "high": max(high, value) if known else float("nan"),
        "if_calibrated": float(chance.mean()),
    }


def gap_interval(one: ScoredFilms, other: ScoredFilms) -> dict[str, float]:
    """AUC of one split minus AUC of another, with an interval made from those of both.

    Parameters
    ----------
    one, other : ScoredFilms
        Two splits that share no patient.

    Returns
    -------
    dict
        value, low, high; NaN where one of the AUCs or its interval is not known.

    References
    ----------
    Zou & Donner, Stat Med 2008;27:1693 (MOVER: the distances from each value to its limits are
    added as squares).
    """
    a, b = auc_interval(one), auc_interval(other)
    value = a["value"] - b["value"]
    below = np.hypot(a["value"] - a["low"], b["high"] - b["value"])
    above = np.hypot(a["high"] - a["value"], b["value"] - b["low"])
    return {"value": value, "low": float(value - below), "high": float(value + above)}


def mean_interval(
    values: np.ndarray, patients: np.ndarray, least: float = -np.inf, most: float = np.inf
) -> dict[str, float]:
    """A mean over patients, each counted once, with its 95 % interval by t.

    Parameters
    ----------
    values : float array (m,)
        Of films. Those without a value (NaN) are left out.
    patients : array (m,)
    least, most : float
        What a value can be: the interval is cut there.

    Returns
    -------
    dict
        value, low, high, films, patients. The interval is NaN if there are fewer than
        `FEWEST_FOR_A_MEAN` patients: then the films do not show how much patients differ.

    References
    ----------
    Student, Biometrika 1908;6:1.
    """
    values, patients = np.asarray(values, dtype=float), np.asarray(patients)
    known = ~np.isnan(values)
    means = _patient_means(values[known], patients[known])
    value, low, high = float(means.mean()) if len(means) else np.nan, np.nan, np.nan
    if len(means) >= FEWEST_FOR_A_MEAN:
        half = student.ppf(TAILS[1], len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
        low, high = max(value - half, least), min(value + half, most)
    return {
        "value": value,
        "low": float(low),
        "high": float(high),
        "films": int(known.sum()),
        "patients": len(means),
    }
