"""DeLong and permutation tests over patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from rahelpers.scores.intervals import LEVEL, Resampling, group_patients
from rahelpers.scores.metrics import ScoredFilms, auc_of_arrays, place_films


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
        """AUC i minus AUC j: value, low, high, z and two-sided p.

        Scores that rank the films in the same way differ by 0 with p = 1.
        """
        value, cov = float(self.auc[i] - self.auc[j]), self.covariance
        error = float(np.sqrt(max(cov[i, i] + cov[j, j] - 2 * cov[i, j], 0.0)))
        if error < 1e-12:
            return {"value": value, "low": value, "high": value, "z": 0.0, "p": float(value == 0)}
        half, z = float(norm.ppf((1 + LEVEL) / 2) * error), value / error
        p = float(2 * norm.sf(abs(z)))
        return {"value": value, "low": value - half, "high": value + half, "z": z, "p": p}


def compute_delong(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None
) -> DeLong:
    """AUCs and their covariance without resampling.

    Parameters
    ----------
    labels : int array (n,)
    scores : float array (k, n) or (n,)
        Scores of k networks on the same films.
    patients : array (n,), optional
        Films of one patient count as one cluster. Without it, films are taken as independent, which
        the two hands of a person are not.

    Raises
    ------
    ValueError
        If a class has fewer than two patients (or films), or the shapes do not fit.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837; Sun & Xu, IEEE Signal Process Lett 2014;21:1389 (midranks
    instead of pairs: n log n); Obuchowski, Biometrics 1997;53:567 (clusters).

    Examples
    --------
    >>> from rahelpers.scores import compute_delong
    >>> labels, scores = [0, 0, 0, 1, 1, 1], [[1, 2, 4, 3, 5, 6], [1, 4, 5, 2, 3, 6]]
    >>> found = compute_delong(labels, scores)
    >>> found.auc.round(2).tolist()
    [0.89, 0.56]
    >>> round(found.compare()["value"], 2)
    0.33
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    if scores.shape[1] != len(labels):
        raise ValueError(
            f"scores have shape {scores.shape}: expected (k, {len(labels)}), one score per film"
        )
    each = [ScoredFilms(labels, row, patients) for row in scores]  # checked as any other films
    positive = each[0].labels == 1
    names = np.unique(each[0].patients, return_inverse=True)[1]
    m, n = int(positive.sum()), int((~positive).sum())
    clusters = [len(np.unique(names[mask])) for mask in (positive, ~positive)]
    if min(clusters) < 2:
        raise ValueError(
            f"{clusters[0]} positive and {clusters[1]} negative patients: expected at least 2 of"
            " each"
        )
    above, below = place_films(each[0].labels, scores)
    auc = above.mean(axis=1)

    def sums(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        centred = values - auc[:, None]
        return np.stack([np.bincount(names[mask], v, minlength=names.max() + 1) for v in centred])

    # add up a patient's films first: patients are independent, their films are not
    of_positive, of_negative = sums(above, positive), sums(below, ~positive)
    total = len(np.unique(names))
    cross = of_positive @ of_negative.T * total / (total - 1)
    covariance = (
        of_positive @ of_positive.T * clusters[0] / (clusters[0] - 1) / m**2
        + of_negative @ of_negative.T * clusters[1] / (clusters[1] - 1) / n**2
        + (cross + cross.T) / (m * n)
    )
    return DeLong(auc, covariance)


def permutation_test(films: ScoredFilms, resampling: Resampling) -> float:
    """One-sided p of the AUC against chance: patients exchange their labels.

    The films of a patient stay together. Patients whose films have one label exchange it with each
    other, whatever their numbers of films. Patients with films of both labels exchange their
    pattern with patients who have as many films.

    Parameters
    ----------
    films : ScoredFilms
    resampling : Resampling
        Its `n` is the number of permutations; p is never below 1 / (n + 1).

    Returns
    -------
    float
        NaN if one class is missing.

    References
    ----------
    Phipson & Smyth, Stat Appl Genet Mol Biol 2010;9:39 (why p counts the cohort itself).

    Examples
    --------
    >>> from rahelpers.scores import Resampling, ScoredFilms, permutation_test
    >>> parted = ScoredFilms([0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8])
    >>> permutation_test(parted, Resampling(999, seed=7)) < 0.05  # 1 of 70 arrangements
    True
    """
    labels, scores = films.labels, films.scores
    rng, each = resampling.rng(), group_patients(films).films
    observed, reached = auc_of_arrays(labels, scores), 0
    if np.isnan(observed):
        return observed
    # blocks of patients who can exchange: rows of their films, and the labels that go round
    sizes = {len(rows) for rows in each}
    whole = [rows for rows in each if len(sizes) > 1 and len(set(labels[rows])) == 1]
    mixed = [rows for rows in each if len(sizes) == 1 or len(set(labels[rows])) == 2]
    patterns = [[rows for rows in mixed if len(rows) == size] for size in sorted(sizes)]
    shuffled = labels.copy()
    for _ in range(resampling.n):
        for block in filter(None, (whole, *patterns)):
            for rows, donor in zip(block, rng.permutation(len(block)), strict=True):
                given = labels[block[donor]]
                shuffled[rows] = given[0] if block is whole else given
        reached += auc_of_arrays(shuffled, scores) >= observed - 1e-12
    return (reached + 1) / (resampling.n + 1)
