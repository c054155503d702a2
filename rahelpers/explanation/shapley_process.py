"""A smooth game fitted to what some coalitions are worth, and its Shapley values without error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

REACH = (np.log(1e-4), np.log(3.0))  # bounds of the logarithm of a player's reach
NOISE, NOISE_SPREAD = -7.0, 3.0  # prior of the logarithm of the noise's share of the variance
JITTER = 1e-8  # of the variance: keeps a covariance invertible
STEPS = 40  # of the fit, at most: more change values by less than their errors


@dataclass(frozen=True)
class GameProcess:
    """A Gaussian process of odd games, h(x) = -h(-x) for signs x (+1 in, -1 out), fitted to some
    worths.

    Its covariance is sinh(sum of reach_j x_j y_j), but for a constant: the odd part of the product
    over players of 1 + tanh(reach_j) x_j y_j. A player of small reach changes little, alone and
    together with others.

    Attributes
    ----------
    signs : float array (n, p)
    reach : float array (p,)
    factor : tuple
        Cholesky factor of the worths' covariance, of unit variance.
    alpha : float array (n,)
        Weights: the mean at x is the sum of alpha_k times the covariance of x and row k.
    variance : float
        Of a worth, in its unit squared.
    """

    signs: np.ndarray
    reach: np.ndarray
    factor: tuple
    alpha: np.ndarray
    variance: float

    def mean(self, signs: np.ndarray) -> np.ndarray:
        """Expected worth, float (m,), of coalitions as signs (m, p)."""
        return np.sinh((signs * self.reach) @ self.signs.T) @ self.alpha / np.sinh(self.reach.sum())

    def shapley(self) -> tuple[np.ndarray, np.ndarray]:
        """Shapley values and their standard errors, float (p,) each.

        A Shapley value is the integral along the diagonal, from nobody to everybody, of the slope
        of the game's multilinear extension (Owen 1972). Here that is a polynomial of degree p - 1,
        which Gauss and Legendre's points integrate without error.
        """
        players = self.signs.shape[1]
        points, weights = np.polynomial.legendre.leggauss(players // 2 + 1)
        slope = np.tanh(self.reach)
        size = np.prod(np.cosh(self.reach)) / np.sinh(
            self.reach.sum()
        )  # the product's share in the covariance
        terms = 1 + slope * self.signs * points[:, None, None]
        of_rows = (
            size
            * (
                slope
                * self.signs
                * np.einsum("q,qnp->np", weights, terms.prod(axis=2, keepdims=True) / terms)
            ).T
        )
        both = 1 + slope * np.multiply.outer(points, points)[..., None]
        before = (
            size
            * slope
            * np.einsum("q,r,qrp->p", weights, weights, both.prod(axis=2, keepdims=True) / both)
        )
        known = np.einsum("pn,np->p", of_rows, cho_solve(self.factor, of_rows.T))
        return of_rows @ self.alpha, np.sqrt(self.variance * np.maximum(before - known, 0))


def fit_process(signs: np.ndarray, worth: np.ndarray) -> GameProcess:
    """The most likely reach of each player, and noise, given what coalitions are worth. The last
    row is everybody, whose worth is taken as exact.

    Reaches are alike until the worths say otherwise (a normal prior on their logarithms around
    their mean). The noise is what no smooth game explains: many players at once, and the rounding
    of a short number format.

    Parameters
    ----------
    signs : float array (n, p)
        +1 for a player who is in, -1 for one who is out.
    worth : float array (n,)
        Of each coalition, less its opposite's, halved.

    References
    ----------
    Rasmussen & Williams, Gaussian processes for machine learning, 2006, Eq. 2.25, 5.8 and 5.9 (type
    II maximum likelihood).
    """
    n, players = signs.shape
    unit = max(float(np.sqrt(np.mean(worth**2))), 1e-30)
    scaled, noisy = worth / unit, np.append(np.ones(n - 1), 0.0)

    def covariance(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Reach of each player, covariance without noise, its slope along the sum over players, and
        each worth's noise.
        """
        reach = np.exp(parameters[:-1])
        smooth, whole = np.exp((signs * reach) @ signs.T), np.sinh(reach.sum())
        return (
            reach,
            (smooth - 1 / smooth) / 2 / whole,
            (smooth + 1 / smooth) / 2 / whole,
            np.exp(parameters[-1]) * noisy,
        )

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """-log likelihood - log prior (but for constants), and its gradient."""
        reach, smooth, slope, noise = covariance(parameters)
        factor = cho_factor(smooth + np.diag(noise + JITTER), lower=True, check_finite=False)
        inverse = cho_solve(factor, np.eye(n), check_finite=False)
        alpha = inverse @ scaled
        variance = max(float(scaled @ alpha), 1e-30) / n  # 0 in a game that is worth nothing
        pull = (
            inverse - np.outer(alpha, alpha) / variance
        ) / 2  # the loss's slope in each entry of the covariance
        by_reach = np.einsum("kj,kj->j", signs, (pull * slope) @ signs) - (
            pull * smooth
        ).sum() / np.tanh(reach.sum())
        off = parameters[:-1] - parameters[:-1].mean()
        value = (
            n / 2 * np.log(variance)
            + np.log(np.diag(factor[0])).sum()
            + (off @ off) / 2
            + ((parameters[-1] - NOISE) / NOISE_SPREAD) ** 2 / 2
        )
        gradient = np.append(
            reach * by_reach + off,
            np.diag(pull) @ noise + (parameters[-1] - NOISE) / NOISE_SPREAD**2,
        )
        return float(value), gradient

    start = np.append(np.full(players, np.log(1 / players)), NOISE)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[REACH] * players + [(-16.0, 0.0)],
        options={"maxiter": STEPS},
    ).x
    reach, smooth, _, noise = covariance(found)
    factor = cho_factor(smooth + np.diag(noise + JITTER), lower=True)
    alpha = cho_solve(factor, worth)
    return GameProcess(signs, reach, factor, alpha, float(worth @ alpha) / n)
