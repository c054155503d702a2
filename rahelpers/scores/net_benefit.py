"""Net benefit: is it better to act on the network than to treat everyone, or no one?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import TAILS, Resampling, group_patients
from rahelpers.scores.metrics import ScoredFilms


def compute_net_benefit(
    films: ScoredFilms,
    resampling: Resampling,
    prevalence: float | None = None,
    thresholds: np.ndarray | None = None,
) -> pd.DataFrame:
    """Decision curve: net benefit of acting on the network, of treating everyone and no one.

    Net benefit = sensitivity x prevalence - (1 - specificity) x (1 - prevalence) x t / (1 - t):
    true positives per person, minus false positives at the exchange rate that the threshold t
    implies.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    resampling : Resampling
        Of the interval.
    prevalence : float, optional
        Where the network would be used; by default the share of positives among the films.
    thresholds : float array (k,), optional
        Probabilities t in (0, 1); 0.01 to 0.99 by default.

    Returns
    -------
    DataFrame
        threshold, network, low, high (95 %, patient bootstrap, percentile), treat_all, treat_none.

    References
    ----------
    Vickers & Elkin, Med Decis Making 2006;26:565.

    Examples
    --------
    >>> from rahelpers.scores import Resampling, ScoredFilms, compute_net_benefit
    >>> films = ScoredFilms([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    >>> curve = compute_net_benefit(films, Resampling(50, seed=7), thresholds=[0.5])
    >>> round(float(curve["network"][0]), 3)  # two true and one false positive: 2/6 - 1/6
    0.167
    """
    films.require_probabilities()
    t = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, dtype=float)
    if ((t <= 0) | (t >= 1)).any():
        raise ValueError(
            f"thresholds from {t.min():g} to {t.max():g}: expected more than 0 and less than 1"
        )
    share = float(np.mean(films.labels)) if prevalence is None else prevalence
    called, odds = films.scores[:, None] >= t[None, :], t / (1 - t)

    def benefit(rows: np.ndarray) -> np.ndarray:
        positive = films.labels[rows] == 1
        return (
            called[rows[positive]].mean(axis=0) * share
            - called[rows[~positive]].mean(axis=0) * (1 - share) * odds
        )

    resamples = group_patients(films).resample(resampling.n, resampling.rng())
    low, high = np.quantile([benefit(rows) for rows in resamples], TAILS, axis=0)
    return pd.DataFrame(
        {
            "threshold": t,
            "network": benefit(np.arange(len(films))),
            "low": low,
            "high": high,
            "treat_all": share - (1 - share) * odds,
            "treat_none": 0.0,
        }
    )
