"""Temperature, bias and operating point, fitted to validation films."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import roc_curve

from rahelpers.scores.metrics import as_films


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature T and offset b of the calibrated probability sigmoid(logit / T + b), by the least log loss.

    The temperature takes overconfidence out; the offset brings back how common the classes are, which class weights take away.

    Parameters
    ----------
    logits : float array (n,)
    labels : int array (n,)
        0 or 1.

    Returns
    -------
    temperature : float
        Between 0.05 and 20: never negative, so that the ranking of films stays.
    offset : float

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999, with its smoothed targets; Guo et al. 2017, arXiv 1706.04599, sec. 4.2.
    """
    labels, logits, _ = as_films(labels, logits)
    positive = labels == 1
    targets = np.where(positive, (positive.sum() + 1) / (positive.sum() + 2), 1 / ((~positive).sum() + 2))

    def log_loss(parameters: np.ndarray) -> float:
        scaled = logits / np.exp(parameters[0]) + parameters[1]
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    found = minimize(log_loss, [0.0, 0.0], bounds=[(np.log(0.05), np.log(20)), (-10, 10)], method="L-BFGS-B")
    return float(np.exp(found.x[0])), float(found.x[1])


def choose_operating_point(
    labels: np.ndarray, probability: np.ndarray, rule: str, target_sensitivity: float, cost_ratio: float = 1.0, prevalence: float = 0.5
) -> dict[str, Any]:
    """The probability from which a film is called positive, by a stated rule. Give it validation data, never test data.

    Parameters
    ----------
    labels : int array (n,)
    probability : float array (n,) in [0, 1]
    rule : {'youden', 'sensitivity', 'cost'}
        Youden: the largest sensitivity + specificity - 1 (Youden 1950). Sensitivity: the largest threshold that reaches
        `target_sensitivity`. Cost: the least cost_ratio x prevalence x (1 - sensitivity) + (1 - prevalence) x (1 - specificity)
        (Metz, Semin Nucl Med 1978;8:283).
    target_sensitivity : float
    cost_ratio : float
        Cost of a missed positive, in false alarms.
    prevalence : float in (0, 1)
        Share of positives where the network would be used.

    Returns
    -------
    dict
        probability, rule, and on the data given: sensitivity, specificity and the counts of both classes.
    """
    labels, probability, _ = as_films(labels, probability, probability=True)
    if len(np.unique(labels)) < 2:
        raise ValueError(f"labels hold {np.unique(labels)}: an operating point needs both classes")
    if not (0 < target_sensitivity <= 1 and cost_ratio > 0 and 0 < prevalence < 1):
        raise ValueError(
            f"target_sensitivity={target_sensitivity:g}, cost_ratio={cost_ratio:g}, prevalence={prevalence:g}: expected 0 to 1 (not 0), "
            "more than 0, and between 0 and 1"
        )
    false_positive, true_positive, thresholds = roc_curve(labels, probability, drop_intermediate=False)
    if rule == "youden":
        best = int(np.argmax(np.round(true_positive - false_positive, 9)))  # rounded: of equals, the highest threshold
    elif rule == "sensitivity":
        best = int(np.argmax(true_positive >= target_sensitivity))
    elif rule == "cost":
        cost = cost_ratio * prevalence * (1 - true_positive) + (1 - prevalence) * false_positive
        best = int(np.argmin(np.round(cost, 9)))
    else:
        raise ValueError(f"rule={rule!r}: expected youden, sensitivity or cost")
    # Half way to the next lower score: the point itself would hang on the last digit of one film.
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    threshold = float(np.clip((min(thresholds[best], 1.0) + below) / 2, 0, 1))
    called = probability >= threshold
    return {
        "probability": threshold,
        "rule": {"youden": rule, "sensitivity": f"sensitivity of at least {target_sensitivity}",
                 "cost": f"least cost, a missed positive weighing {cost_ratio:g} false alarms, prevalence {prevalence:g}"}[rule],
        "films_positive": int((labels == 1).sum()),
        "films_negative": int((labels == 0).sum()),
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
    }  # fmt: skip
