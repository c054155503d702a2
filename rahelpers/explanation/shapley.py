"""Shapley and Owen values of a game: by definition, by our estimator, and by the library `shap`.

A game is a function: coalitions, bool (n, p), True for a player who takes part -> the worth of
each, float (n,).

Our estimator (`estimate_values`) rests on two ideas. Only the odd part of a game, half the
difference between a coalition and its complement, decides the values; and the values of a Gaussian
process fitted to it can be computed exactly. Both ideas are also in the library shapiq: OddSHAP
(arXiv 2602.01399) fits only the odd part, ShaplEIG (arXiv 2606.02247) fits a Gaussian process. They
need Python 3.12 and torch, which this project does without; that is why the estimator is written by
hand. A game that jumps, such as a vote, is not smooth: the process says so by itself, and the same
coalitions are then read by a regression that assumes nothing (`shapley_regression`).
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
from rahelpers.explanation.shapley_regression import errors_from_missed, fit_regression

Game = Callable[[np.ndarray], np.ndarray]
MOST_EXACT = 12  # players: 4096 coalitions
SMOOTH = 0.9  # leave-one-out R² of the smooth game; below, a regression comes closer
SHAP_METHODS = ("permutation", "kernel", "partition")


@dataclass(frozen=True)
class Values:
    """Shapley and Owen values of a game, as `estimate_values` returns them.

    Attributes
    ----------
    shapley, owen : float array (p,)
    standard_error : float array (p,)
        Of the Shapley values; 0 where every coalition was evaluated.
    base_value, full_value : float
        Worth of the empty and of the full coalition.
    fit : float
        Leave-one-out R² of the smooth game, at most 1; 1 where every coalition was evaluated.
    owen_is_exact : bool
        Whether every coalition was evaluated that the Owen values depend on.
    """

    shapley: np.ndarray
    owen: np.ndarray
    standard_error: np.ndarray
    base_value: float
    full_value: float
    fit: float
    owen_is_exact: bool


def list_coalitions(players: int) -> np.ndarray:
    """List every coalition, bool (2**p, p), from the empty one to the full one.

    Raises
    ------
    ValueError
        For more than 12 players.
    """
    if not 1 <= players <= MOST_EXACT:
        raise ValueError(
            f"{players} players: expected 1 to {MOST_EXACT}; with more, there are too many"
            " coalitions to try them all"
        )
    return (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1


def compute_exact_shapley(game: Game, players: int) -> np.ndarray:
    """Compute Shapley values by definition, float (p,), from every coalition.

    The value of a player is the mean, over all orders of the players, of what it adds to those
    before it. For at most 12 players.

    References
    ----------
    Shapley, A value for n-person games, 1953.
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
    """Distinct coalitions, bool (q, p), and the weights, float (p, q), of their worths.

    The weights times the worths are the Owen values.
    """
    # the players in each node of the tree: first the players themselves, then the groups
    joined = np.frombuffer(tree).reshape(-1, 4)[:, :2].astype(int)
    members = np.eye(players, dtype=bool)
    for a, b in joined:
        members = np.vstack([members, members[a] | members[b]])

    # what each player adds to each coalition that may precede it, as signed terms
    columns: dict[bytes, int] = {}
    coalitions: list[np.ndarray] = []
    terms: list[tuple[int, int, float]] = []

    def column(coalition: np.ndarray) -> int:
        """The number of a coalition, new or known."""
        key = coalition.tobytes()
        if key not in columns:
            columns[key] = len(coalitions)
            coalitions.append(coalition)
        return columns[key]

    def descend(node: int, contexts: list[np.ndarray]) -> None:
        """Go down the tree. `contexts` are the coalitions that may precede a node.

        All are equally likely: at every level the sibling of the node is in, or not.
        """
        if node < players:
            share = 1 / len(contexts)
            for context in contexts:
                terms.append((node, column(context | members[node]), share))
                terms.append((node, column(context), -share))
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
    """Compute the exact Owen values of a hierarchy, float (p,).

    The value of a player is the mean of what it adds to those before it, over all orders in which
    no group is interrupted by others. A shallow tree needs few coalitions, so that this is possible
    for far more players than exact Shapley values are.

    Parameters
    ----------
    game : callable
    tree : float array (p - 1, 4)
        Linkage matrix: two nodes per row, as scipy has it.

    References
    ----------
    Owen, Values of games with a priori unions, 1977; for groups within groups Winter, A value for
    cooperative games with levels structure of cooperation, Int J Game Theory 1989;18:227.

    Examples
    --------
    Two left gloves and a right one; a pair is worth 1. The left gloves form a group.

    >>> from rahelpers.explanation import compute_owen
    >>> def gloves(coalitions):
    ...     return (coalitions[:, :2].any(axis=1) & coalitions[:, 2]).astype(float)
    >>> tree = np.array([[0, 1, 1, 2], [2, 3, 2, 3]])
    >>> compute_owen(gloves, tree).tolist()
    [0.25, 0.25, 0.5]
    """
    coalitions, weights = _owen_terms(_tree_bytes(tree), len(tree) + 1)
    return weights @ game(coalitions)


def _tree_bytes(tree: np.ndarray) -> bytes:
    """A tree in the form in which `_owen_terms` can remember it."""
    return np.ascontiguousarray(tree, dtype=float).tobytes()


def draw_coalitions(players: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distinct coalitions, each with its complement.

    Every size gets the same number of coalitions; of the small sizes, where fewer exist, all are
    taken.

    Parameters
    ----------
    players : int
    pairs : int
        Number of coalitions, without the complements.
    rng : numpy.random.Generator

    Returns
    -------
    bool array (2 k, p)
        The complements are the second half. k is `pairs`, or fewer where no more exist.
    """
    drawn: list[tuple[int, ...]] = []
    sizes = range(1, players // 2 + 1)
    for size in sizes:
        # This size's share of the pairs that are left. The complement of half of the players is of
        # the same size: of such pairs only the coalition with player 0 is drawn.
        middle = 2 * size == players
        exist = comb(players, size) // (2 if middle else 1)
        weights = [0.5 if 2 * s == players else 1.0 for s in sizes if s >= size]
        wanted = min(exist, round((pairs - len(drawn)) * weights[0] / sum(weights)))

        # all of them, where the share allows it
        if wanted == exist:
            every = combinations(range(players), size)
            drawn += [members for members in every if not middle or 0 in members]
            continue

        # otherwise disjoint pieces of random orders, so that every player occurs equally often
        found: set[tuple[int, ...]] = set()
        while len(found) < wanted:
            order = rng.permutation(players)
            for start in range(0, players - size + 1, size):
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
    """Estimate Shapley and Owen values from one set of coalitions.

    A smooth game is fitted to the worths of the coalitions, and its values are computed exactly.
    Every coalition is evaluated together with its complement, and half the difference of the two is
    kept: both kinds of value depend on nothing else, because every order of the players can be read
    backwards. A Gaussian process is fitted to these differences and learns which players matter
    (`rahelpers.explanation.shapley_process`). How badly it predicts each difference from the others
    says how large the errors are. Where that is very badly (`SMOOTH`), the Shapley values come from
    a regression on the same differences (`rahelpers.explanation.shapley_regression`).

    Where `evaluations` allows every coalition, all are evaluated and nothing is estimated. Owen
    values depend on few coalitions: where these need at most half of the evaluations, the Owen
    values are exact.

    Parameters
    ----------
    game : callable
        Deterministic.
    tree : float array (p - 1, 4)
        Linkage matrix, as scipy has it.
    evaluations : int
        At most this many distinct coalitions.
    rng : numpy.random.Generator

    Returns
    -------
    Values
        The sum of either kind is full_value - base_value.

    Raises
    ------
    ValueError
        For fewer than 4 evaluations: the empty and the full coalition, and one pair between them.

    References
    ----------
    Owen, Multilinear extensions of games, Management Science 1972;18:64. Paired coalitions: Covert
    & Lee, Improving KernelSHAP, AISTATS 2021 (arXiv 2012.01536). Equal numbers of every size: Musco
    & Witter, Leverage SHAP, ICLR 2025 (arXiv 2410.01917). The same two ideas: OddSHAP (arXiv
    2602.01399) and ShaplEIG (arXiv 2606.02247).
    """
    if evaluations < 4:
        raise ValueError(
            f"evaluations={evaluations}: expected at least 4, for the empty and the full coalition"
            " and one coalition with its complement"
        )
    players = len(tree) + 1

    # few players: every coalition, by definition
    if players <= MOST_EXACT and 2**players <= evaluations:
        base, full = game(list_coalitions(players)[[0, -1]])
        shapley, owen = compute_exact_shapley(game, players), compute_owen(game, tree)
        return Values(shapley, owen, np.zeros(players), float(base), float(full), 1.0, True)

    # the coalitions of the Owen values, where there are evaluations enough for them
    needed, weights = _owen_terms(_tree_bytes(tree), players)
    owen_is_exact = 2 * len(needed) <= evaluations
    left = evaluations - len(needed) if owen_is_exact else evaluations

    # the worths of coalitions and their complements; the full coalition comes last
    drawn = draw_coalitions(players, left // 2 - 1, rng)
    asked = np.concatenate([drawn[: len(drawn) // 2], np.ones((1, players), bool)])
    worth, opposite = np.split(game(np.concatenate([asked, ~asked])), 2)
    base, full = float(opposite[-1]), float(worth[-1])
    difference = (worth - opposite) / 2

    # The smooth game. Its matrices are small: on a busy machine the threads of BLAS would wait for
    # each other a hundred times longer than they work.
    with threadpool_limits(1):
        process = fit_process(2.0 * asked - 1, difference)
        shapley, error = process.shapley()
        # a regression needs more differences than players
        if len(asked) > 2 * players:
            error = np.maximum(error, errors_from_missed(asked, process.missed))
            if process.fit < SMOOTH:
                shapley, error = fit_regression(asked, difference)

    # both kinds of value
    owen = weights @ (game(needed) if owen_is_exact else process.mean(2.0 * needed - 1))
    total = full - base
    shapley, owen = _add_up(shapley, total), _add_up(owen, total)
    return Values(shapley, owen, error, base, full, process.fit, owen_is_exact)


def _add_up(values: np.ndarray, total: float) -> np.ndarray:
    """Make values add up to the total: what rounding left over is shared equally."""
    return values + (total - values.sum()) / len(values)


class _CoalitionMasker:
    """A masker for shap that masks the coalition itself."""

    def __init__(self, players: int, tree: np.ndarray | None) -> None:
        self.shape, self.clustering = (1, players), tree

    def __call__(self, mask: np.ndarray, _: np.ndarray) -> tuple[np.ndarray]:
        return (np.atleast_2d(mask),)

    def mask_shapes(self, _: np.ndarray) -> list[tuple[int]]:
        """Shape of a mask, in the form in which shap asks for it."""
        return [(self.shape[1],)]


def explain_with_shap(
    game: Game, tree: np.ndarray, method: str, evaluations: int, seed: int
) -> np.ndarray:
    """Compute the values of the same game with the library `shap`, float (p,).

    Parameters
    ----------
    game : callable
    tree : float array (p - 1, 4)
        Linkage matrix, as scipy has it; only the Owen values depend on it.
    method : {'permutation', 'kernel', 'partition'}
        Shapley values by PermutationExplainer or KernelExplainer (with every player in its
        regression), or Owen values by PartitionExplainer.
    evaluations : int
        The number that shap is allowed, which it may exceed a little. The permutation explainer
        gets at least the 2 p + 1 that one order of the players and its reverse need.
    seed : int

    References
    ----------
    Lundberg & Lee, A unified approach to interpreting model predictions, NeurIPS 2017 (arXiv
    1705.07874).

    Examples
    --------
    Two left gloves and a right one; a pair is worth 1. The left gloves form a group.

    >>> from rahelpers.explanation import explain_with_shap
    >>> def gloves(coalitions):
    ...     x = np.asarray(coalitions, dtype=bool)
    ...     return (x[:, :2].any(axis=1) & x[:, 2]).astype(float)
    >>> tree = np.array([[0, 1, 1, 2], [2, 3, 2, 3.0]])
    >>> explain_with_shap(gloves, tree, "partition", evaluations=100, seed=0).round(3).tolist()
    [0.25, 0.25, 0.5]
    >>> explain_with_shap(gloves, tree, "kernel", evaluations=100, seed=0).round(3).tolist()
    [0.167, 0.167, 0.667]
    """
    players = len(tree) + 1
    everyone = np.ones((1, players))
    if method == "kernel":
        # KernelExplainer draws from NumPy's global generator, and accepts no other
        np.random.seed(seed)  # noqa: NPY002
        explainer = shap.KernelExplainer(game, np.zeros((1, players)))
        options = {"nsamples": evaluations, "l1_reg": False, "silent": True}
        return np.asarray(explainer.shap_values(everyone, **options))[0]
    if method == "permutation":
        # given the tree, it would silently draw only orders that keep groups together, and the
        # values would not be Shapley values
        explainer = shap.PermutationExplainer(game, _CoalitionMasker(players, None), seed=seed)
        allowed = max(evaluations, 2 * players + 1)
        return explainer(everyone, max_evals=allowed, silent=True).values[0]
    if method == "partition":
        explainer = shap.PartitionExplainer(game, _CoalitionMasker(players, tree))
        return explainer(everyone, max_evals=evaluations, batch_size=32, silent=True).values[0]
    raise ValueError(f"method={method!r}: expected one of {', '.join(SHAP_METHODS)}")


def compare_estimators(
    game: Game, tree: np.ndarray, budgets: Sequence[int], seeds: int = 3
) -> pd.DataFrame:
    """Compare estimators of Shapley values with the exact ones, by number of evaluations.

    For games of at most 12 players.

    Parameters
    ----------
    game : callable
        Asked for every coalition, several times; `RegionGame` remembers its answers.
    tree : float array (p - 1, 4)
    budgets : sequence of int
        Numbers of evaluations.
    seeds : int
        Draws of each estimator at each budget.

    Returns
    -------
    DataFrame
        estimator; budget; evaluations: distinct coalitions that it asked for, mean of the draws
        (shap's permutation explainer uses less than it is allowed); error: root mean square over
        players and draws, as a share of the root mean square of the exact values (NaN where these
        are all 0).

    Examples
    --------
    >>> from rahelpers.explanation import compare_estimators
    >>> def pairs(coalitions):  # each player is worth 1, and neighbours are worth more together
    ...     x = np.asarray(coalitions, dtype=float)
    ...     return x.sum(axis=1) + (x[:, 1:] * x[:, :-1]).sum(axis=1)
    >>> tree = np.array([[0, 1, 1, 2], [2, 3, 2, 2], [4, 5, 3, 4.0]])
    >>> errors = compare_estimators(pairs, tree, budgets=(16,), seeds=1)
    >>> errors["estimator"].tolist()
    ['ours', 'shap permutation', 'shap kernel']
    >>> bool((errors["error"] < 1e-6).all())  # 16 evaluations are all coalitions of four players
    True
    """
    exact = compute_exact_shapley(game, len(tree) + 1)
    estimators = {
        "ours": lambda g, n, seed: estimate_values(g, tree, n, np.random.default_rng(seed)).shapley,
        "shap permutation": lambda g, n, seed: explain_with_shap(g, tree, "permutation", n, seed),
        "shap kernel": lambda g, n, seed: explain_with_shap(g, tree, "kernel", n, seed),
    }
    scale = np.sqrt(np.mean(exact**2)) or np.nan
    rows = []
    for n in budgets:
        for name, estimate in estimators.items():
            squared, used = [], []
            for seed in range(seeds):
                counted = _Counted(game)
                squared.append((estimate(counted, n, seed) - exact) ** 2)
                used.append(len(counted.asked))
            rows.append((name, n, np.mean(used), np.sqrt(np.mean(squared)) / scale))
    return pd.DataFrame(rows, columns=["estimator", "budget", "evaluations", "error"])


class _Counted:
    """A game that remembers which coalitions it was asked for."""

    def __init__(self, game: Game) -> None:
        self.game, self.asked = game, set[bytes]()

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        shown = np.asarray(coalitions, dtype=bool)
        self.asked.update(row.tobytes() for row in np.packbits(shown, axis=1))
        return self.game(shown)
