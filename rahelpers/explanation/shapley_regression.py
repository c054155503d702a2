"""Shapley values by regression, which assumes nothing about the game, and their errors."""

from __future__ import annotations

import numpy as np


def fit_regression(shown: np.ndarray, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the additive game that is nearest to a game: its values are the Shapley values.

    Nearest means weighted least squares over all coalitions, under the condition that the values
    add up to the worth of the full coalition.

    Parameters
    ----------
    shown : bool array (n, p)
        Coalitions, each of which stands for itself and its complement; at least p of them. The last
        row is the full coalition. Of the coalitions of one size, all are equally likely to be
        drawn.
    worth : float array (n,)
        Of each coalition minus that of its complement, halved.

    Returns
    -------
    values, standard_error : float array (p,)

    References
    ----------
    Charnes et al., Extremal principle solutions of games in characteristic function form, 1988;
    Lundberg & Lee, NeurIPS 2017 (arXiv 1705.07874), theorem 2. Sampling by size: Musco & Witter,
    Leverage SHAP, ICLR 2025 (arXiv 2410.01917). Errors: HC3, MacKinnon & White, J Econometrics
    1985;29:305.
    """
    # equal shares of the total, and changes of them
    players = shown.shape[1]
    signs, effect = _least_squares(shown)
    equal = np.full(players, 2 * worth[-1] / players)
    rest = worth[:-1] - signs @ equal
    changes = effect @ rest

    # each coalition as if it had not been used
    leverage = np.einsum("ip,pi->i", signs, effect)
    missed = (rest - signs @ changes) / np.maximum(1 - leverage, 1e-3)
    return equal + changes, errors_from_missed(shown, missed)


def errors_from_missed(shown: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """Standard errors, float (p,), of values whose game misses each worth by so much.

    They do not assume that all coalitions are predicted equally well.

    Parameters
    ----------
    shown : bool array (n, p)
        As in `fit_regression`.
    missed : float array (n - 1,)
        Each worth, except the last, minus what the others predict for it.
    """
    return np.sqrt(((_least_squares(shown)[1] * missed) ** 2).sum(axis=1))


def _least_squares(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halved signs of coalitions (n - 1, p), and the effect of each on each value (p, n - 1)."""
    # The Shapley kernel of a size, 1 / (s (p - s)) for all its coalitions together, is shared among
    # those that were drawn. Half of the players and the other half are one pair, not two.
    players, signs = shown.shape[1], shown[:-1] - 0.5
    size = shown[:-1].sum(axis=1)
    smaller = np.minimum(size, players - size)
    drawn = np.bincount(smaller)[smaller]
    weight = np.where(2 * smaller == players, 0.5, 1.0) / (smaller * (players - smaller) * drawn)

    # changes that add up to 0: the last player loses what the others gain
    changes = np.vstack([np.eye(players - 1), -np.ones(players - 1)])
    rows = signs @ changes
    effect = changes @ np.linalg.solve(rows.T @ (weight[:, None] * rows), rows.T * weight)
    return signs, effect
