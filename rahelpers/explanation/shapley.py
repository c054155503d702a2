"""Shapley and Owen values of a game: by definition, by our estimator, and by those of the library
`shap`.

A game is a function: coalitions, bool (n, p), True for a player who is in -> what each is worth,
float (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import shap
from threadpoolctl import threadpool_limits

from rahelpers.explanation.shapley_process import fit_process

Game = Callable[[np.ndarray], np.ndarray]
MOST_EXACT = 12  # players: 4096 coalitions
SHAP_METHODS = ("permutation", "kernel", "partition")


@dataclass(frozen=True)
class Values:
    """What each player is worth.

    Attributes
    ----------
    shapley, owen : float array (p,)
    standard_error : float array (p,)
        Of the Shapley values, as the fitted process has it; 0 where every coalition was asked for.
    base_value, full_value : float
        Worth of nobody and of everybody.
    """

    shapley: np.ndarray
    owen: np.ndarray
    standard_error: np.ndarray
    base_value: float
    full_value: float


def list_coalitions(players: int) -> np.ndarray:
    """Every coalition, bool (2**p, p), nobody first and everybody last.

    Raises
    ------
    ValueError
        For more than 12 players.
    """
    if not 1 <= players <= MOST_EXACT:
        raise ValueError(
            f"{players} players: expected 1 to {MOST_EXACT}, or there are too many coalitions to"
            " try them all"
        )
    return (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1


def compute_exact_shapley(game: Game, players: int) -> np.ndarray:
    """Shapley values by definition, float (p,), from every coalition: at most 12 players.

    References
    ----------
    Shapley, A value for n-person games, 1953: the mean of what a player adds, over all orders.
    """
    coalitions = list_coalitions(players)
    worth, size = game(coalitions), coalitions.sum(axis=1)
    weight = np.array([1 / (players * comb(players - 1, s)) for s in range(players)])
    values = np.empty(players)
    for player in range(players):
        without = np.flatnonzero(~coalitions[:, player])
        values[player] = weight[size[without]] @ (worth[without + 2**player] - worth[without])
    return values


@lru_cache(maxsize=32)
def _owen_terms(tree: bytes, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct coalitions, bool (q, p), and weights, float (p, q), whose product with the worths
    gives Owen values.
    """
    joined = np.frombuffer(tree).reshape(-1, 4)[:, :2].astype(int)
    members = np.eye(players, dtype=bool)
    for a, b in joined:
        members = np.vstack([members, members[a] | members[b]])
    columns: dict[bytes, int] = {}
    coalitions: list[np.ndarray] = []
    terms: list[tuple[int, int, float]] = []

    def column(coalition: np.ndarray) -> int:
        key = coalition.tobytes()
        if key not in columns:
            columns[key] = len(coalitions)
            coalitions.append(coalition)
        return columns[key]

    def descend(node: int, contexts: list[np.ndarray]) -> None:
        """`contexts`: who may have come before a node, all equally likely: at every level its
        sibling is there, or not.
        """
        if node < players:
            for context in contexts:
                terms.extend(
                    [
                        (node, column(context | members[node]), 1 / len(contexts)),
                        (node, column(context), -1 / len(contexts)),
                    ]
                )
            return
        first, second = joined[node - players]
        descend(first, contexts + [context | members[second] for context in contexts])
        descend(second, contexts + [context | members[first] for context in contexts])

    descend(len(members) - 1, [np.zeros(players, bool)])
    weights = np.zeros((players, len(coalitions)))
    for player, at, weight in terms:
        weights[player, at] += weight
    return np.array(coalitions), weights


def compute_owen(game: Game, tree: np.ndarray) -> np.ndarray:
    """Owen values in a hierarchy, float (p,): the mean of what a player adds, over all orders in
    which no group is split up by others.

    Exact. In a flat tree few coalitions are needed, so that this is possible for far more players
    than Shapley values are.

    Parameters
    ----------
    game : callable
    tree : float array (p - 1, 4)
        Linkage matrix: two nodes a row, as scipy has it.

    References
    ----------
    Owen, Values of games with a priori unions, 1977; for groups within groups Winter, A value for
    cooperative games with levels structure of cooperation, Int J Game Theory 1989;18:227.
    """
    coalitions, weights = _owen_terms(
        np.ascontiguousarray(tree, dtype=float).tobytes(), len(tree) + 1
    )
    return weights @ game(coalitions)


def draw_coalitions(players: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct coalitions, bool (2 k, p), each with its opposite; all sizes alike often, small ones
    (which are few) all of them.

    Parameters
    ----------
    players : int
    pairs : int
        k is this number, or fewer where no more exist.
    rng : numpy.random.Generator
    """
    drawn: list[tuple[int, ...]] = []
    sizes = range(1, players // 2 + 1)
    for size in sizes:
        middle = 2 * size == players  # its opposite has the same size
        exist = comb(players, size) // (2 if middle else 1)
        weights = [0.5 if 2 * s == players else 1.0 for s in sizes if s >= size]
        wanted = min(exist, round((pairs - len(drawn)) * weights[0] / sum(weights)))
        if wanted == exist:
            drawn += [
                members
                for members in combinations(range(players), size)
                if not middle or 0 in members
            ]
            continue
        found: set[tuple[int, ...]] = set()
        while len(found) < wanted:
            order = rng.permutation(players)
            for start in range(
                0, players - size + 1, size
            ):  # disjoint pieces of one order: every player alike often
                members = tuple(sorted(order[start : start + size].tolist()))
                if middle and 0 not in members:
                    members = tuple(sorted(set(range(players)) - set(members)))
                if len(found) < wanted:
                    found.add(members)
        drawn += sorted(found)
    shown = np.zeros((len(drawn), players), bool)
    for row, members in zip(shown, drawn, strict=True):
        row[list(members)] = True
    return np.concatenate([shown, ~shown])


def estimate_values(
    game: Game, tree: np.ndarray, evaluations: int, rng: np.random.Generator
) -> Values:
    """Shapley and Owen values from one set of coalitions: a smooth game is fitted to what they are
    worth, and its values are taken exactly.

    Every coalition is asked for with its opposite, and half the difference of the two is kept: both
    kinds of value depend on nothing else, because every order of the players may be read backwards.
    A Gaussian process is fitted to these; it learns which players matter
    (`rahelpers.explanation.shapley_process`). Where every coalition fits into `evaluations`, all are asked for and
    nothing is estimated.

    Parameters
    ----------
    game : callable
        Deterministic.
    tree : float array (p - 1, 4)
    evaluations : int
        At most so many distinct coalitions (but for Owen values where all coalitions fit).
    rng : numpy.random.Generator

    Returns
    -------
    Values
        The sum of either kind is full_value - base_value.

    Raises
    ------
    ValueError
        Below 4 evaluations: nobody, everybody, and one pair between them.

    References
    ----------
    Owen, Multilinear extensions of games, Management Science 1972;18:64. Paired coalitions: Covert
    & Lee, Improving KernelSHAP, AISTATS 2021 (arXiv 2012.01536). Sizes alike often: Musco & Witter,
    Leverage SHAP, ICLR 2025 (arXiv 2410.01917).
    """
    if evaluations < 4:
        raise ValueError(
            f"evaluations={evaluations}: expected at least 4, nobody, everybody, and one coalition"
            " with its opposite"
        )
    players = len(tree) + 1
    if players <= MOST_EXACT and 2**players <= evaluations:
        base, full = game(list_coalitions(players)[[0, -1]])
        return Values(
            compute_exact_shapley(game, players),
            compute_owen(game, tree),
            np.zeros(players),
            float(base),
            float(full),
        )
    drawn = draw_coalitions(players, evaluations // 2 - 1, rng)
    asked = np.concatenate([drawn[: len(drawn) // 2], np.ones((1, players), bool)])
    worth, opposite = np.split(game(np.concatenate([asked, ~asked])), 2)
    base, full = float(opposite[-1]), float(worth[-1])
    coalitions, weights = _owen_terms(np.ascontiguousarray(tree, dtype=float).tobytes(), players)
    with threadpool_limits(
        1
        # matrices are small: on a busy machine the threads of BLAS wait for each other, a hundred
        # times longer than they work
    ):
        process = fit_process(2.0 * asked - 1, (worth - opposite) / 2)
        shapley, error = process.shapley()
    return Values(
        _add_up(shapley, full - base),
        _add_up(weights @ process.mean(2.0 * coalitions - 1), full - base),
        error,
        base,
        full,
    )


def _add_up(values: np.ndarray, total: float) -> np.ndarray:
    """Values that add up exactly: what rounding left is shared out evenly."""
    return values + (total - values.sum()) / len(values)


class _CoalitionMasker:
    """A masker of shap for a game: what it masks is the coalition itself."""

    def __init__(self, players: int, tree: np.ndarray | None) -> None:
        self.shape, self.clustering = (1, players), tree

    def __call__(self, mask: np.ndarray, _: np.ndarray) -> tuple[np.ndarray]:
        return (np.atleast_2d(mask),)

    def mask_shapes(self, _: np.ndarray) -> list[tuple[int]]:
        return [(self.shape[1],)]


def explain_with_shap(
    game: Game, tree: np.ndarray, method: str, evaluations: int, seed: int
) -> np.ndarray:
    """Values of the same game by the library `shap`, float (p,).

    Parameters
    ----------
    game : callable
    tree : float array (p - 1, 4)
    method : {'permutation', 'kernel', 'partition'}
        Shapley values by PermutationExplainer or KernelExplainer (with every player in its
        regression), Owen values by PartitionExplainer.
    evaluations : int
        What shap is given. The permutation explainer needs 2 p + 1; shap may overstep it a little.
    seed : int

    References
    ----------
    Lundberg & Lee, A unified approach to interpreting model predictions, NeurIPS 2017 (arXiv
    1705.07874).
    """
    players = len(tree) + 1
    everybody = np.ones((1, players))
    if method == "kernel":
        np.random.seed(seed)  # noqa: NPY002 # KernelExplainer draws from NumPy's global generator, and takes no other
        explainer = shap.KernelExplainer(game, np.zeros((1, players)))
        return np.asarray(
            explainer.shap_values(everybody, nsamples=evaluations, l1_reg=False, silent=True)
        )[0]
    if (
        method == "permutation"
        # with the tree it would silently draw only orders that keep groups together, which are not
        # Shapley's
    ):
        return shap.PermutationExplainer(game, _CoalitionMasker(players, None), seed=seed)(
            everybody, max_evals=evaluations, silent=True
        ).values[0]
    if method == "partition":
        return shap.PartitionExplainer(game, _CoalitionMasker(players, tree))(
            everybody, max_evals=evaluations, batch_size=32, silent=True
        ).values[0]
    raise ValueError(f"method={method!r}: expected one of {', '.join(SHAP_METHODS)}")


def compare_estimators(
    game: Game, tree: np.ndarray, budgets: Sequence[int], seeds: int = 3
) -> pd.DataFrame:
    """Error of each estimator of Shapley values against the exact ones, by number of evaluations.
    For games of at most 12 players.

    Parameters
    ----------
    game : callable
        Asked for every coalition; one that remembers answers is asked once.
    tree : float array (p - 1, 4)
    budgets : sequence of int
        Evaluations; at least 2 p + 1 for shap's permutation explainer.
    seeds : int
        Draws of each estimator at each budget.

    Returns
    -------
    DataFrame
        estimator, evaluations, error: root of the mean squared error over players and draws, as a
        share of the exact values' root mean square (not a number where these are all 0).
    """
    exact = compute_exact_shapley(game, len(tree) + 1)
    estimators = {
        "ours": lambda n, seed: estimate_values(game, tree, n, np.random.default_rng(seed)).shapley,
        "shap permutation": lambda n, seed: explain_with_shap(game, tree, "permutation", n, seed),
        "shap kernel": lambda n, seed: explain_with_shap(game, tree, "kernel", n, seed),
    }
    scale = np.sqrt(np.mean(exact**2)) or np.nan
    rows = [
        (
            name,
            n,
            np.sqrt(np.mean([(estimate(n, seed) - exact) ** 2 for seed in range(seeds)])) / scale,
        )
        for n in budgets
        for name, estimate in estimators.items()
    ]
    return pd.DataFrame(rows, columns=["estimator", "evaluations", "error"])
