"""Net benefit: is it better to act on the network than to treat everyone, or no one?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import share_interval
from rahelpers.scores.metrics import ScoredFilms


def compute_net_benefit(
    films: ScoredFilms,
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
    prevalence : float, optional
        Where the network would be used; by default the share of positives among the films.
    thresholds : float array (k,), optional
        Probabilities t in (0, 1); 0.01 to 0.99 by default.

    Returns
    -------
    DataFrame
        threshold, network, low, high (95 %), treat_all, treat_none. Sensitivity and specificity
        count each patient once, as `share_interval` does.

    References
    ----------
    Vickers & Elkin, Med Decis Making 2006;26:565; Zou & Donner, Stat Med 2008;27:1693 (MOVER, the
    interval of a sum from those of its parts).

    Examples
    --------
    >>> from rahelpers.scores import ScoredFilms, compute_net_benefit
    >>> films = ScoredFilms([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    >>> curve = compute_net_benefit(films, thresholds=[0.5])
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
    odds, rows = t / (1 - t), []
    for threshold, exchange in zip(t, odds, strict=True):
        hits = films.scores >= threshold
        parts = []
        for label, right, weight in ((1, hits, share), (0, ~hits, (1 - share) * exchange)):
            own = films.labels == label
            found = share_interval(right[own], films.patients[own])
            parts.append({end: weight * found[end] for end in ("value", "low", "high")})
        benefit = sum(part["value"] for part in parts) - (1 - share) * exchange
        below = math.hypot(*(part["value"] - part["low"] for part in parts))
        above = math.hypot(*(part["high"] - part["value"] for part in parts))
        rows.append((threshold, benefit, benefit - below, benefit + above))
    curve = pd.DataFrame(rows, columns=["threshold", "network", "low", "high"])
    return curve.assign(treat_all=share - (1 - share) * odds, treat_none=0.0)
