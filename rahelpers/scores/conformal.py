"""Abstention: split-conformal sets by class, and accuracy against the share of films on which the
network keeps silent.

By hand, not with MAPIE: the method is ten lines, and MAPIE counts films where films of one patient
must count as one. With one film a patient the sets are MAPIE's (tests/test_abstention.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import share_interval
from rahelpers.scores.metrics import ScoredFilms

ALPHA = 0.1  # of each class, at most this share of patients' films may lie outside its set


def fit_conformal(films: ScoredFilms, alpha: float = ALPHA) -> dict[str, Any]:
    """For each class, how badly its films may fit before they are called strange. Give it
    validation data, never test or training data.

    A film's misfit with a class is 1 - the probability of that class. The threshold of a class is
    the value that a share of (k + 1) (1 - alpha) / k of its k patients' films do not exceed, each
    patient counting once however many films there are. With fewer than 1 / alpha - 1 patients no
    value is large enough: the threshold is 1, and the class stands in every set.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities of the positive class.
    alpha : float in (0, 1)
        The largest share of films of a class whose set may lack it.

    Returns
    -------
    dict
        alpha, fitted_on, threshold_negative, threshold_positive, patients_negative,
        patients_positive.

    References
    ----------
    Vovk et al., Algorithmic Learning in a Random World, 2005, sec. 4.5 (by class); Dunn, Wasserman
    & Ramdas, J Am Stat Assoc 2023;118:2491 (films in groups: pooled distribution functions).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: expected more than 0 and less than 1")
    films.require_probabilities()
    found: dict[str, Any] = {"alpha": alpha, "fitted_on": "validation"}
    for label, name in ((0, "negative"), (1, "positive")):
        part = films.take(films.labels == label)
        misfit = part.scores if label == 0 else 1 - part.scores
        found[f"threshold_{name}"] = min(rank_threshold(misfit, part.patients, alpha), 1.0)
        found[f"patients_{name}"] = len(np.unique(part.patients))
    return found


def rank_threshold(misfit: np.ndarray, patients: np.ndarray, alpha: float) -> float:
    """What a share alpha of new patients' films exceeds at most: a rank among held-out films, each
    patient counting once.

    Parameters
    ----------
    misfit : float array (n,)
    patients : array (n,)
    alpha : float in (0, 1)

    Returns
    -------
    float
        Infinite where there are fewer than 1 / alpha - 1 patients.
    """
    names, of_film, films = np.unique(patients, return_inverse=True, return_counts=True)
    k, order = len(names), np.argsort(misfit, kind="stable")
    wanted = np.ceil((k + 1) * (1 - alpha) - 1e-9)
    if wanted > k:
        return float("inf")
    weight = np.cumsum(1 / films[of_film][order])  # patients whose films lie at or below each value
    return float(misfit[order][np.searchsorted(weight, wanted - 1e-9)])


def predict_sets(probability: np.ndarray, conformal: dict[str, Any]) -> np.ndarray:
    """Which classes fit each film.

    Parameters
    ----------
    probability : float array (n,) in [0, 1]
    conformal : dict
        As `fit_conformal` returns it.

    Returns
    -------
    bool array (n, 2)
        Whether class 0 and class 1 stand in the film's set. Both: the network cannot tell. None:
        the film is like neither class.
    """
    probability = np.asarray(probability, dtype=float)
    return np.stack(
        [
            probability <= conformal["threshold_negative"],
            1 - probability <= conformal["threshold_positive"],
        ],
        axis=1,
    )


def score_sets(films: ScoredFilms, conformal: dict[str, Any]) -> dict[str, Any]:
    """Measured coverage by class, set sizes, and accuracy where the network speaks (exactly one
    class in the set).

    Returns
    -------
    dict
        coverage_negative, coverage_positive, abstained, accuracy_spoken as {value, low, high} (None
        where there is no such film); counts of films by set: negative, positive, both, none; and
        spoken, films.
    """
    films.require_probabilities()
    labels, sets = films.labels, predict_sets(films.scores, conformal)
    size, right = sets.sum(axis=1), sets[np.arange(len(films)), labels]

    def rate(hits: np.ndarray, rows: np.ndarray) -> dict[str, float] | None:
        return share_interval(hits[rows], films.patients[rows]) if rows.any() else None

    everything = np.ones(len(films), bool)
    return {
        "coverage_negative": rate(right, labels == 0),
        "coverage_positive": rate(right, labels == 1),
        "abstained": rate(size != 1, everything),
        "accuracy_spoken": rate(right, size == 1),
        "sets": {
            "negative": int((sets[:, 0] & ~sets[:, 1]).sum()),
            "positive": int((~sets[:, 0] & sets[:, 1]).sum()),
            "both": int((size == 2).sum()),
            "none": int((size == 0).sum()),
        },
        "spoken": int((size == 1).sum()),
        "films": len(films),
    }


def compute_abstention_curve(
    films: ScoredFilms,
    threshold: float,
    shares: np.ndarray | None = None,
    strangeness: np.ndarray | None = None,
) -> pd.DataFrame:
    """Accuracy on the films that are left when the least certain ones, or the strangest ones, go to
    a person.

    A film's certainty is the distance of its log odds from those of the operating point.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities; m films.
    threshold : float
        The operating point.
    shares : float array, optional
        Shares abstained, in [0, 1); 0 to 0.8 in steps of 0.1 by default.
    strangeness : float array (m,), optional
        Distance from the training films: makes a second curve.

    Returns
    -------
    DataFrame
        by ('certainty' or 'distance'), abstained (measured share), accuracy, low, high, films
        (left), patients (left).
    """
    films.require_probabilities()
    shares = np.arange(0, 0.81, 0.1) if shares is None else np.asarray(shares, dtype=float)
    if ((shares < 0) | (shares >= 1)).any():
        raise ValueError(
            f"shares from {shares.min():g} to {shares.max():g}: expected 0 up to, not including, 1"
        )

    def log_odds(p: np.ndarray | float) -> np.ndarray:
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return np.log(p / (1 - p))

    first = {"certainty": -np.abs(log_odds(films.scores) - log_odds(threshold))} | (
        {} if strangeness is None else {"distance": strangeness}
    )
    right, rows = (films.scores >= threshold) == (films.labels == 1), []
    for by, reason in first.items():
        order = np.argsort(reason, kind="stable")  # those with the greatest reason to go stand last
        for share in shares:
            kept = order[: max(round(len(films) * (1 - share)), 1)]
            found = share_interval(right[kept], films.patients[kept])
            rows.append(
                {
                    "by": by,
                    "abstained": 1 - len(kept) / len(films),
                    "accuracy": found["value"],
                    "low": found["low"],
                    "high": found["high"],
                    "films": len(kept),
                    "patients": len(np.unique(films.patients[kept])),
                }
            )
    return pd.DataFrame(rows)
