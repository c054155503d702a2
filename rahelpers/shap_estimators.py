"""Shapley and Owen values of a game: by definition, by our estimator, and by those of the library `shap`.

A game is a function: coalitions, bool (n, p), True for a player who is in -> what each is worth, float (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
import shap
from scipy.linalg import cho_factor, cho_solve

from rahelpers.inference import predict_logits
from rahelpers.region_game import RegionGame, RegionMasker

Game = Callable[[np.ndarray], np.ndarray]
MOST_EXACT = 12  # players: 4096 coalitions
CLOSENESS = (0.6, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.985)  # correlation of two coalitions that differ in one player; the best fit is taken
JITTER = 1e-6  # of the prior variance: float32's rounding of a logit
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
        raise ValueError(f"{players} players: expected 1 to {MOST_EXACT}, or there are too many coalitions to try them all")
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
    """Distinct coalitions, bool (q, p), and weights, float (p, q), whose product with the worths gives Owen values."""
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
        """`contexts`: who may have come before a node, all equally likely: at every level its sibling is there, or not."""
        if node < players:
            for context in contexts:
                terms.extend([(node, column(context | members[node]), 1 / len(contexts)), (node, column(context), -1 / len(contexts))])
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
    """Owen values in a hierarchy, float (p,): the mean of what a player adds, over all orders in which no group is split up by others.

    Exact. In a flat tree few coalitions are needed, so that this is possible for far more players than Shapley values are.

    Parameters
    ----------
    game : callable
    tree : float array (p - 1, 4)
        Linkage matrix: two nodes a row, as scipy has it.

    References
    ----------
    Owen, Values of games with a priori unions, 1977; for groups within groups Winter, A value for cooperative games with levels structure of
    cooperation, Int J Game Theory 1989;18:227.
    """
    coalitions, weights = _owen_terms(np.ascontiguousarray(tree, dtype=float).tobytes(), len(tree) + 1)
    return weights @ game(coalitions)


def draw_coalitions(players: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct coalitions, bool (2 k, p), each with its opposite; all sizes alike often, small ones (which are few) all of them.

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
            drawn += [members for members in combinations(range(players), size) if not middle or 0 in members]
            continue
        found: set[tuple[int, ...]] = set()
        while len(found) < wanted:
            order = rng.permutation(players)
            for start in range(0, players - size + 1, size):  # disjoint pieces of one order: every player alike often
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


@lru_cache(maxsize=64)
def _kernel_shapley(players: int, closeness: float) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values, for each size n of a coalition x, in the game S -> closeness ** |S differs from x|: of a member of x, of another player."""

    def mean_power(members: int, others: int) -> float:
        """Mean of closeness ** differences over sets of the remaining players, all sizes alike likely: the Shapley weights."""
        total = 0.0
        for size in range(members + others + 1):
            inside = range(max(0, size - others), min(members, size) + 1)
            total += sum(comb(members, j) * comb(others, size - j) * closeness ** (members + size - 2 * j) for j in inside) / comb(members + others, size)
        return total / (members + others + 1)

    member = np.array([0.0] + [(1 - closeness) * mean_power(n - 1, players - n) for n in range(1, players + 1)])
    other = np.array([(closeness - 1) * mean_power(n, players - n - 1) for n in range(players)] + [0.0])
    return member, other


@lru_cache(maxsize=64)
def _prior_variance(players: int, closeness: float) -> float:
    """Variance of a Shapley value before anything is known.

    The process is a sum of parities of sets T with independent weights, of variance ((1 - c) / 2)**|T| ((1 + c) / 2)**(p - |T|); a parity with |T| odd
    gives each of its players 2 / |T|, up to the sign.
    """
    low, high = (1 - closeness) / 2, (1 + closeness) / 2
    return sum(4 / k**2 * comb(players - 1, k - 1) * low**k * high ** (players - k) for k in range(1, players + 1, 2))


def estimate_values(game: Game, tree: np.ndarray, evaluations: int, rng: np.random.Generator) -> Values:
    """Shapley and Owen values from one set of coalitions: a Gaussian process is fitted to what they are worth, and its values are taken exactly.

    Coalitions that differ in few players are worth nearly the same: their correlation is c to the power of the number of differences, with c chosen by
    likelihood. Of that process the Shapley values have a closed form. Where every coalition fits into `evaluations`, all are asked for and nothing is
    estimated; so are Owen values where the hierarchy's coalitions fit.

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

    References
    ----------
    Rasmussen & Williams, Gaussian processes for machine learning, 2006, Eq. 2.25 and 5.8. Paired coalitions: Covert & Lee, Improving KernelSHAP,
    AISTATS 2021 (arXiv 2012.01536). Sizes alike often: Musco & Witter, Leverage SHAP, ICLR 2025 (arXiv 2410.01917).
    """
    players = len(tree) + 1
    if players <= MOST_EXACT and 2**players <= evaluations:
        base, full = game(list_coalitions(players)[[0, -1]])
        return Values(compute_exact_shapley(game, players), compute_owen(game, tree), np.zeros(players), float(base), float(full))
    ends = np.stack([np.zeros(players, bool), np.ones(players, bool)])
    asked = np.concatenate([draw_coalitions(players, max(1, evaluations // 2 - 1), rng), ends])
    worth = game(asked)
    base, full = float(worth[-2]), float(worth[-1])
    signs = 2.0 * asked - 1
    differences = (players - signs @ signs.T) / 2
    closeness, factor, alpha, scale = max((_fit(worth, differences, c) for c in CLOSENESS), key=lambda fit: fit[0])[1:]
    member, other = _kernel_shapley(players, closeness)
    sizes = asked.sum(axis=1)
    functional = np.where(asked.T, member[sizes], other[sizes])
    variance = _prior_variance(players, closeness) - np.einsum("pn,np->p", functional, cho_solve(factor, functional.T))
    coalitions, weights = _owen_terms(np.ascontiguousarray(tree, dtype=float).tobytes(), players)
    between = (players - (2.0 * coalitions - 1) @ signs.T) / 2
    return Values(
        _add_up(functional @ alpha, full - base), _add_up(weights @ (closeness**between @ alpha), full - base),
        np.sqrt(np.maximum(scale * variance, 0)), base, full,
    )  # fmt: skip


def _fit(worth: np.ndarray, differences: np.ndarray, closeness: float) -> tuple[float, float, tuple, np.ndarray, float]:
    """Log likelihood (but for a constant) of a process of unknown mean and scale; closeness, Cholesky factor, weights and scale."""
    factor = cho_factor(closeness**differences + JITTER * np.eye(len(worth)), lower=True)
    ones = np.ones(len(worth))
    solved = cho_solve(factor, np.stack([worth, ones], axis=1))
    alpha = solved[:, 0] - solved[:, 1] * (ones @ solved[:, 0]) / (ones @ solved[:, 1])
    scale = max(float(worth @ alpha) / len(worth), 1e-30)
    return -0.5 * len(worth) * np.log(scale) - np.log(np.diag(factor[0])).sum(), closeness, factor, alpha, scale


def _add_up(values: np.ndarray, total: float) -> np.ndarray:
    """Values that add up exactly: what rounding left is shared out evenly."""
    return values + (total - values.sum()) / len(values)


def explain_with_shap(game: RegionGame, method: str, evaluations: int, seed: int) -> np.ndarray:
    """Values of the same game by the library `shap`, float (p,), called as its documentation does: the network sees every film that shap asks for.

    Parameters
    ----------
    game : RegionGame
    method : {'permutation', 'kernel', 'partition'}
        Shapley values by PermutationExplainer or KernelExplainer (with every player in its regression), Owen values by PartitionExplainer.
    evaluations : int
        What shap is given. The permutation explainer needs 2 p + 1; shap may overstep it a little.
    seed : int

    References
    ----------
    Lundberg & Lee, A unified approach to interpreting model predictions, NeurIPS 2017 (arXiv 1705.07874).
    """
    players, film = game.players, game.image[None]
    if method == "kernel":
        np.random.seed(seed)  # noqa: NPY002 # KernelExplainer draws from NumPy's global generator, and takes no other

        def predict_coalitions(coalitions: np.ndarray) -> np.ndarray:
            return predict_logits(game.model, game.masker.compose(coalitions, game.image))

        explainer = shap.KernelExplainer(predict_coalitions, np.zeros((1, players)))
        return np.asarray(explainer.shap_values(np.ones((1, players)), nsamples=evaluations, l1_reg=False, silent=True))[0]

    def predict(films: np.ndarray) -> np.ndarray:
        return predict_logits(game.model, films)

    if method == "permutation":
        masker = RegionMasker(game.masker.regions, game.masker.hidden, hierarchy=False)
        return shap.PermutationExplainer(predict, masker, seed=seed)(film, max_evals=evaluations, silent=True).values[0]
    if method == "partition":
        return shap.PartitionExplainer(predict, game.masker)(film, max_evals=evaluations, batch_size=32, silent=True).values[0]
    raise ValueError(f"method={method!r}: expected one of {', '.join(SHAP_METHODS)}")
