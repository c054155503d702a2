"""The fitted game: its values and their errors by definition, and what it learns about players."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from rahelpers.explanation.shapley import compare_estimators, compute_exact_shapley, list_coalitions
from rahelpers.explanation.shapley_process import JITTER, fit_process

PLAYERS = 7


def sample(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Draw signs and worths of an odd game in which almost only the first three players matter."""
    rng = np.random.default_rng(0)
    signs = np.concatenate(
        [np.where(rng.random((n, PLAYERS)) < 0.5, -1.0, 1.0), np.ones((1, PLAYERS))]
    )
    return signs, odd_game(signs)


def odd_game(signs: np.ndarray) -> np.ndarray:
    return signs @ np.array([2.0, -1.0, 0.5, 0.02, 0.01, 0, 0]) + 0.6 * signs[:, :3].prod(axis=1)


def shapley_rows() -> np.ndarray:
    """The matrix (p, 2**p) from worths to Shapley values, by definition."""
    coalitions = list_coalitions(PLAYERS)
    size = coalitions.sum(axis=1)
    rows = np.zeros((PLAYERS, len(coalitions)))
    for k, (coalition, s) in enumerate(zip(coalitions, size, strict=True)):
        for player in range(PLAYERS):
            rows[player, k] = (
                1 / (PLAYERS * comb(PLAYERS - 1, s - 1))
                if coalition[player]
                else -1 / (PLAYERS * comb(PLAYERS - 1, s))
            )
    return rows


def test_the_values_of_the_fitted_game_are_those_by_definition():
    process = fit_process(*sample())
    values, _ = process.shapley()
    np.testing.assert_allclose(
        values, compute_exact_shapley(lambda c: process.mean(2.0 * c - 1), PLAYERS), atol=1e-9
    )
    full = np.ones((1, PLAYERS))  # its worth is exact
    np.testing.assert_allclose(process.mean(full), odd_game(full), rtol=1e-4)


def test_standard_errors_are_those_of_the_conditioned_process():
    """By enumeration, from the covariance of all 128 worths given those that are known.

    Rasmussen & Williams, Eq. 2.24; the definition turns it into that of the values.
    """
    signs, worth = sample()
    process = fit_process(signs, worth)
    every = 2.0 * list_coalitions(PLAYERS) - 1

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sinh((a * process.reach) @ b.T) / np.sinh(process.reach.sum())

    lower = np.tril(process.factor[0])
    known = lower @ lower.T
    assert np.diag(known - covariance(signs, signs))[-1] == pytest.approx(JITTER, rel=1e-3)
    left = covariance(every, every) - covariance(every, signs) @ np.linalg.solve(
        known, covariance(signs, every)
    )
    rows = shapley_rows()
    expected = np.sqrt(process.variance * np.maximum(np.einsum("pn,nm,pm->p", rows, left, rows), 0))
    np.testing.assert_allclose(process.shapley()[1], expected, rtol=1e-3, atol=1e-6)


def test_players_that_matter_reach_further():
    process = fit_process(*sample())
    assert process.reach[:3].min() > 5 * process.reach[5:].max()
    values, error = process.shapley()
    # by hand: twice a player's own part, and a third of twice what three do together
    exact = np.array([2 * 2 + 0.4, -2 + 0.4, 1 + 0.4, 0.04, 0.02, 0, 0])
    assert (np.abs(values - exact) < 3 * error + 1e-3).all() and error.max() < 0.2


@pytest.mark.parametrize("worth", [0.0, 1e-12])
def test_a_game_worth_nothing_has_values_of_nothing(worth):
    signs, _ = sample()
    values, error = fit_process(signs, np.full(len(signs), worth)).shapley()
    assert np.isfinite(values).all() and np.isfinite(error).all() and np.abs(values).max() < 1e-6


def test_every_estimator_is_compared_with_the_exact_values():
    tree = np.array(
        [[0, 1, 1, 2], [2, 3, 2, 2], [4, 5, 3, 2], [7, 8, 4, 4], [9, 6, 5, 3], [10, 11, 6, 7.0]]
    )
    table = compare_estimators(
        lambda c: odd_game(2.0 * np.asarray(c) - 1), tree, (32, 128), seeds=2
    )
    errors = table.pivot(index="estimator", columns="budget", values="error")
    assert set(errors.index) == {"ours", "shap permutation", "shap kernel"}
    assert errors.loc["ours", 128] < 1e-9 and (errors[128] <= errors[32] + 1e-9).all()
    # shap's permutation explainer takes whole orders, forwards and backwards: less than it may use
    used = table.pivot(index="estimator", columns="budget", values="evaluations")
    assert (used <= pd.Series({32: 32, 128: 128}) + 2).all(axis=None)
    assert used.loc["shap permutation", 32] < 32


def test_leave_one_out_fit_is_that_of_fitting_without_each_coalition():
    """The closed form against the definition, with the reach of each player as it was fitted."""
    signs, worth = sample()
    worth = (
        worth
        + 0.3 * np.sign(signs.sum(axis=1))
        + 0.1 * np.random.default_rng(0).normal(size=len(worth))
    )
    process = fit_process(signs, worth)
    lower = np.tril(process.factor[0])
    covariance, n = lower @ lower.T, len(worth)
    missed = []
    for k in range(n - 1):
        rest = np.delete(np.arange(n), k)
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], worth[rest])
        missed.append(worth[k] - covariance[k, rest] @ weights)
    assert process.fit == pytest.approx(1 - np.sum(np.square(missed)) / np.sum(worth[:-1] ** 2))
    assert process.fit < 0.999 < fit_process(*sample()).fit
