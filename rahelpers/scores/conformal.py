"""Abstention: split-conformal sets by class, and accuracy against the share of films left out.

Written by hand, not with MAPIE: the method is ten lines, and MAPIE counts films although the films
of one patient must count as one. With one film per patient the sets are those of MAPIE
(tests/scores/test_conformal.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import share_interval
from rahelpers.scores.metrics import ScoredFilms

ALPHA = 0.1  # of each class, the set of at most this share of patients' films may lack it


def fit_conformal(films: ScoredFilms, alpha: float = ALPHA) -> dict[str, Any]:
    """Fit, for each class, how badly a film may fit the class and still have it in its set.

    Give it validation data, never test or training data. The misfit of a film with a class is 1 -
    the probability of that class. The threshold of a class is the value that a share of (k + 1) (1
    - alpha) / k of its k patients' films do not exceed; each patient counts once, however many
    films there are. With fewer than 1 / alpha - 1 patients no value is large enough: the threshold
    is 1, and the class is in every set.

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

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.scores import ScoredFilms, fit_conformal
    >>> probability = np.concatenate([np.arange(1, 20) / 100, 1 - np.arange(1, 20) / 100])
    >>> found = fit_conformal(ScoredFilms(np.repeat([0, 1], 19), probability), alpha=0.1)
    >>> round(found["threshold_positive"], 2)  # the 18th of 19 misfits, as 20 x 0.9 = 18
    0.18
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
    """The misfit that at most a share alpha of the films of new patients exceeds.

    It is a rank among held-out films, where each patient counts once.

    Parameters
    ----------
    misfit : float array (n,)
    patients : array (n,)
    alpha : float in (0, 1)

    Returns
    -------
    float
        Infinite if there are fewer than 1 / alpha - 1 patients.
    """
    names, of_film, films = np.unique(patients, return_inverse=True, return_counts=True)
    k, order = len(names), np.argsort(misfit, kind="stable")
    wanted = np.ceil((k + 1) * (1 - alpha) - 1e-9)
    if wanted > k:
        return float("inf")
    # patients up to each value, where each of a patient's k films counts 1 / k
    weight = np.cumsum(1 / films[of_film][order])
    return float(misfit[order][np.searchsorted(weight, wanted - 1e-9)])


def predict_sets(probability: np.ndarray, conformal: dict[str, Any]) -> np.ndarray:
    """The classes that fit each film.

    Parameters
    ----------
    probability : float array (n,) in [0, 1]
    conformal : dict
        As `fit_conformal` returns it.

    Returns
    -------
    bool array (n, 2)
        Whether class 0 and class 1 are in the film's set. Both: the network cannot tell. Neither:
        the film resembles neither class.

    Examples
    --------
    >>> from rahelpers.scores import predict_sets
    >>> conformal = {"threshold_negative": 0.3, "threshold_positive": 0.3}
    >>> predict_sets([0.1, 0.5, 0.9], conformal)  # negative, neither, positive
    array([[ True, False],
           [False, False],
           [False,  True]])
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
    """Measured coverage by class, set sizes, and accuracy when the network answers.

    It answers if exactly one class is in the set, and abstains otherwise.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    conformal : dict
        As `fit_conformal` returns it.

    Returns
    -------
    dict
        coverage_negative, coverage_positive, abstained, accuracy_spoken as {value, low, high,
        of_films} (None if there is no such film): each patient counts once, as in the promise;
        of_films is the plain share of the films, which is lower where hard patients have more of
        them. `sets`, the films by set: negative, positive, both, none; and
        `spoken` (films with an answer), `films`.
    """
    films.require_probabilities()
    labels, sets = films.labels, predict_sets(films.scores, conformal)
    size, right = sets.sum(axis=1), sets[np.arange(len(films)), labels]

    def rate(hits: np.ndarray, rows: np.ndarray) -> dict[str, float] | None:
        if not rows.any():
            return None
        return share_interval(hits[rows], films.patients[rows]) | {
            "of_films": float(hits[rows].mean())
        }

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
    """Accuracy on the rest when the least certain films, or the strangest ones, go to a person.

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
        Distance from the training films; gives a second curve.

    Returns
    -------
    DataFrame
        by ('certainty' or 'distance'), abstained (measured share), accuracy, low, high, films
        (remaining), patients (remaining).
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
        order = np.argsort(reason, kind="stable")  # the films with the best reason to go are last
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
