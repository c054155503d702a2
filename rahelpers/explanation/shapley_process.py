"""A smooth game fitted to the worths of some coalitions, and its exact Shapley values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

REACH = (np.log(1e-4), np.log(3.0))  # bounds of the logarithm of a player's reach
# prior of the logarithm of the noise, as a share of the variance: mean and standard deviation
NOISE, NOISE_SPREAD = -7.0, 3.0
JITTER = 1e-8  # as a share of the variance: keeps a covariance invertible
STEPS = 40  # of the fit, at most: more would change values by less than their errors


@dataclass(frozen=True)
class GameProcess:
    """A Gaussian process over odd games, fitted to the worths of some coalitions.

    A game is odd if h(x) = -h(-x) for signs x (+1 in, -1 out). The covariance is sinh(sum of
    reach_j x_j y_j) up to a constant: the odd part of the product over players of
    1 + tanh(reach_j) x_j y_j. A player with a small reach changes little, alone and together with
    others.

    Attributes
    ----------
    signs : float array (n, p)
    reach : float array (p,)
    factor : tuple
        Cholesky factor of the covariance of the worths, at unit variance.
    alpha : float array (n,)
        Weights: the mean at x is the sum of alpha_k times the covariance of x and row k.
    variance : float
        Of a worth, in squared units of worth.
    missed : float array (n - 1,)
        Each worth, except that of the full coalition, minus its prediction from all others.
    fit : float
        The same as a share, at most 1: leave-one-out R². A game that jumps, such as a vote, is
        predicted badly, and the errors of `shapley` are too small for it.
    """

    signs: np.ndarray
    reach: np.ndarray
    factor: tuple
    alpha: np.ndarray
    variance: float
    missed: np.ndarray
    fit: float

    def mean(self, signs: np.ndarray) -> np.ndarray:
        """Expected worth, float (m,), of coalitions as signs (m, p)."""
        return np.sinh((signs * self.reach) @ self.signs.T) @ self.alpha / np.sinh(self.reach.sum())

    def shapley(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the Shapley values of the mean, and their standard errors, float (p,) each.

        A Shapley value is the integral of the slope of the multilinear extension of the game along
        the diagonal, from the empty to the full coalition (Owen 1972). Here that slope is a
        polynomial of degree p - 1, which Gauss-Legendre quadrature integrates exactly.
        """
        players = self.signs.shape[1]
        points, weights = np.polynomial.legendre.leggauss(players // 2 + 1)
        slope = np.tanh(self.reach)
        size = np.prod(np.cosh(self.reach)) / np.sinh(self.reach.sum())  # covariance over product

        # covariance of each value with each worth: the product without the player's own factor
        terms = 1 + slope * self.signs * points[:, None, None]
        others = np.einsum("q,qnp->np", weights, terms.prod(axis=2, keepdims=True) / terms)
        of_rows = size * (slope * self.signs * others).T

        # variance of each value before any worth was known, and what the worths explain of it
        both = 1 + slope * np.multiply.outer(points, points)[..., None]
        others = both.prod(axis=2, keepdims=True) / both
        before = size * slope * np.einsum("q,r,qrp->p", weights, weights, others)
        known = np.einsum("pn,np->p", of_rows, cho_solve(self.factor, of_rows.T))
        return of_rows @ self.alpha, np.sqrt(self.variance * np.maximum(before - known, 0))


def fit_process(signs: np.ndarray, worth: np.ndarray) -> GameProcess:
    """Fit the most likely reach of each player, and the noise, to the worths of coalitions.

    All players have a similar reach unless the worths say otherwise (a normal prior on the
    logarithms, around their mean). The noise is what a smooth game cannot explain: interactions of
    many players at once, and the rounding of a short number format.

    Parameters
    ----------
    signs : float array (n, p)
        +1 for a player who is in, -1 for one who is out. The last row is the full coalition, whose
        worth counts as exact.
    worth : float array (n,)
        Of each coalition minus that of its complement, halved.

    Returns
    -------
    GameProcess

    References
    ----------
    Rasmussen & Williams, Gaussian processes for machine learning, 2006, Eq. 2.25, 5.8 and 5.9 (type
    II maximum likelihood), 5.12 (leave-one-out prediction).
    """
    # the fit works in units of the typical worth; the full coalition has no noise
    n, players = signs.shape
    unit = max(float(np.sqrt(np.mean(worth**2))), 1e-30)
    scaled, noisy = worth / unit, np.append(np.ones(n - 1), 0.0)

    def covariance(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Reach, covariance without noise, its derivative in the exponent, and noise per worth."""
        reach = np.exp(parameters[:-1])
        power, largest = np.exp((signs * reach) @ signs.T), np.sinh(reach.sum())
        smooth = (power - 1 / power) / 2 / largest
        slope = (power + 1 / power) / 2 / largest
        return reach, smooth, slope, np.exp(parameters[-1]) * noisy

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """-log likelihood - log prior (up to constants), and its gradient."""
        # solve for the weights; the best variance is known in closed form
        reach, smooth, slope, noise = covariance(parameters)
        factor = cho_factor(smooth + np.diag(noise + JITTER), lower=True, check_finite=False)
        inverse = cho_solve(factor, np.eye(n), check_finite=False)
        alpha = inverse @ scaled
        variance = max(float(scaled @ alpha), 1e-30) / n  # 0 in a game that is worth nothing

        # derivative of the loss in each entry of the covariance, then in each reach
        pull = (inverse - np.outer(alpha, alpha) / variance) / 2
        by_reach = np.einsum("kj,kj->j", signs, (pull * slope) @ signs)
        by_reach -= (pull * smooth).sum() / np.tanh(reach.sum())

        # add the priors
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
    bounds = [REACH] * players + [(-16.0, 0.0)]
    options = {"maxiter": STEPS}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    reach, smooth, _, noise = covariance(found)
    factor = cho_factor(smooth + np.diag(noise + JITTER), lower=True)
    alpha = cho_solve(factor, worth)

    # each worth minus its prediction from the others; the full coalition has no noise to predict
    missed = (alpha / np.diag(cho_solve(factor, np.eye(n))))[:-1]
    total = float(worth[:-1] @ worth[:-1])
    fit = 1.0 - float(missed @ missed) / total if total > 0 else 1.0
    return GameProcess(signs, reach, factor, alpha, float(worth @ alpha) / n, missed, fit)
