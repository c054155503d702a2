"""Calibrated probabilities and the operating point, both fitted to validation films."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve

from rahelpers.scores.intervals import (
    Resampling,
    bootstrap_interval,
    ece_interval,
    wilson_interval,
)
from rahelpers.scores.metrics import ScoredFilms, compute_brier


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature T and offset b of the calibrated probability sigmoid(logit / T + b).

    They minimise the log loss. The temperature removes overconfidence; the offset restores how
    common the classes are, which class weights remove.

    Parameters
    ----------
    logits : float array (n,)
    labels : int array (n,)
        0 or 1.

    Returns
    -------
    temperature : float
        Never negative, so that the ranking of the films stays.
    offset : float

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999, with its smoothed targets; Guo
    et al. 2017, arXiv 1706.04599, sec. 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.scores import fit_calibration
    >>> logits, labels = np.repeat([-6.0, 6.0], 100), np.tile([0] * 4 + [1], 40)
    >>> labels[100:] = 1 - labels[100:]  # says 99.8 %, but is right in 80 %: a logit of 1.4, not 6
    >>> temperature, offset = fit_calibration(logits, labels)
    >>> round(temperature, 1), abs(round(offset, 1))
    (4.4, 0.0)
    """
    films = ScoredFilms(labels, logits)
    logits, positive = films.scores, films.labels == 1
    # Platt's smoothing: targets a little off 0 and 1, so that separable films do not diverge
    targets = np.where(
        positive, (positive.sum() + 1) / (positive.sum() + 2), 1 / ((~positive).sum() + 2)
    )

    def log_loss(parameters: np.ndarray) -> float:
        scaled = logits / np.exp(parameters[0]) + parameters[1]
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    # limits that no set of films reaches, whatever the scale of the logits: they stop the search
    # where films of one logit leave the temperature open
    scale = max(float(np.abs(logits).max(initial=0.0)), 1e-6)
    bounds = [(np.log(1e-3 * scale), np.log(1e3 * scale)), (-40, 40)]
    start = np.clip(0.0, *bounds[0])
    found = minimize(log_loss, [start, 0.0], bounds=bounds, method="L-BFGS-B")
    return float(np.exp(found.x[0])), float(found.x[1])


def choose_operating_point(
    labels: np.ndarray,
    probability: np.ndarray,
    rule: str,
    target_sensitivity: float,
    cost_ratio: float = 1.0,
    prevalence: float = 0.5,
) -> dict[str, Any]:
    """Choose the probability from which a film is classified as positive, by a stated rule.

    Give it validation data, never test data.

    Parameters
    ----------
    labels : int array (n,)
    probability : float array (n,) in [0, 1]
    rule : {'youden', 'sensitivity', 'cost'}
        'youden' maximises sensitivity + specificity - 1 (Youden 1950). 'sensitivity' takes the
        largest threshold that reaches `target_sensitivity`. 'cost' minimises cost_ratio x
        prevalence x (1 - sensitivity) + (1 - prevalence) x (1 - specificity) (Metz, Semin Nucl Med
        1978;8:283).
    target_sensitivity : float
    cost_ratio : float
        Cost of a missed positive, measured in false alarms.
    prevalence : float in (0, 1)
        Share of positives where the network would be used.

    Returns
    -------
    dict
        probability, rule, and on the data given: sensitivity, specificity and the counts of both
        classes.

    Raises
    ------
    ValueError
        If a class is missing, the rule is unknown, or a setting is out of range.

    Examples
    --------
    >>> from rahelpers.scores import choose_operating_point
    >>> labels, probability = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.7, 0.9]
    >>> point = choose_operating_point(labels, probability, "sensitivity", target_sensitivity=1.0)
    >>> round(point["probability"], 2), point["sensitivity"]
    (0.3, 1.0)
    """
    films = ScoredFilms(labels, probability)
    films.require_probabilities()
    labels, probability = films.labels, films.scores
    if len(np.unique(labels)) < 2:
        raise ValueError(f"labels hold {np.unique(labels)}: an operating point needs both classes")
    if not (0 < target_sensitivity <= 1 and cost_ratio > 0 and 0 < prevalence < 1):
        raise ValueError(
            f"target_sensitivity={target_sensitivity:g}, cost_ratio={cost_ratio:g},"
            f" prevalence={prevalence:g}: expected 0 to 1 (not 0), more than 0, and between 0 and 1"
        )
    false_positive, true_positive, thresholds = roc_curve(
        labels, probability, drop_intermediate=False
    )
    if rule == "youden":
        # rounded, so that the highest of several equally good thresholds is taken
        best = int(np.argmax(np.round(true_positive - false_positive, 9)))
    elif rule == "sensitivity":
        best = int(np.argmax(true_positive >= target_sensitivity))
    elif rule == "cost":
        cost = cost_ratio * prevalence * (1 - true_positive) + (1 - prevalence) * false_positive
        best = int(np.argmin(np.round(cost, 9)))
    else:
        raise ValueError(f"rule={rule!r}: expected youden, sensitivity or cost")
    # half way to the next lower score: the point itself would depend on the last digit of one film
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    threshold = float(np.clip((min(thresholds[best], 1.0) + below) / 2, 0, 1))
    called = probability >= threshold
    words = {
        "youden": rule,
        "sensitivity": f"sensitivity of at least {target_sensitivity}",
        "cost": (
            f"least cost, where a missed positive costs as much as {cost_ratio:g} false alarms, at"
            f" prevalence {prevalence:g}"
        ),
    }
    return {
        "probability": threshold,
        "rule": words[rule],
        "films_positive": int((labels == 1).sum()),
        "films_negative": int((labels == 0).sum()),
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
    }


def calibrate(logits: np.ndarray, temperature: float, offset: float) -> np.ndarray:
    """Calibrated probabilities: sigmoid(logit / temperature + offset), float64 (n,).

    Temperature and offset come from `fit_calibration`.

    Examples
    --------
    >>> from rahelpers.scores import calibrate
    >>> calibrate([-2.0, 0.0, 2.0], temperature=2.0, offset=0.0).round(2)
    array([0.27, 0.5 , 0.73])
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature + offset
    return 1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60)))


def adjust_prevalence(probability: np.ndarray, share: float, prevalence: float) -> np.ndarray:
    """Adjust probabilities to a place with another prevalence than that of the calibration films.

    The odds change by the ratio of the prior odds; the evidence in the film stays the same (Elkan,
    IJCAI 2001, theorem 2).

    Parameters
    ----------
    probability : float array (n,) in [0, 1]
    share : float in (0, 1)
        Share of positives among the calibration films.
    prevalence : float in (0, 1)

    Returns
    -------
    float array (n,) in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.scores import adjust_prevalence
    >>> adjust_prevalence(np.array([0.5, 0.9]), share=0.5, prevalence=0.1).round(2)
    array([0.1, 0.5])
    """
    for name, value in (("share", share), ("prevalence", prevalence)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value:g}: expected more than 0 and less than 1")
    ratio = prevalence / (1 - prevalence) * (1 - share) / share
    return probability * ratio / (probability * ratio + 1 - probability)


def compute_calibration(films: ScoredFilms, bins: int = 6) -> pd.DataFrame:
    """Predicted against observed share of positives, with intervals: a reliability diagram's data.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    bins : int
        Each holds about the same number of films.

    Returns
    -------
    DataFrame
        One row per bin: predicted, observed, low, high (Wilson, with patients as trials), films,
        patients.

    Examples
    --------
    >>> from rahelpers.scores import ScoredFilms, compute_calibration
    >>> films = ScoredFilms([0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> compute_calibration(films, bins=2)[["predicted", "observed", "films"]].round(2)
       predicted  observed  films
    0        0.2      0.33      3
    1        0.8      1.00      3
    """
    films.require_probabilities()
    edges = np.unique(np.quantile(films.scores, np.linspace(0, 1, bins + 1)))
    bin_of = np.clip(np.searchsorted(edges, films.scores, "right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for b in np.unique(bin_of):
        inside = films.take(bin_of == b)
        observed, people = float(inside.labels.mean()), len(np.unique(inside.patients))
        low, high = wilson_interval(observed, people)
        rows.append(
            {
                "predicted": float(inside.scores.mean()),
                "observed": observed,
                "low": low,
                "high": high,
                "films": len(inside),
                "patients": people,
            }
        )
    return pd.DataFrame(rows)


RAW = "none (sigmoid of the logit)"  # the name that stands for no calibrator


def calibrate_each(test: pd.DataFrame, validation: pd.DataFrame) -> dict[str, np.ndarray]:
    """Probabilities of the test films, uncalibrated and from two calibrators.

    The calibrators are the temperature and offset of the bundle, and isotonic regression. Both are
    fitted on the same validation films.

    Parameters
    ----------
    test : DataFrame
        logit and probability (from the bundle).
    validation : DataFrame
        logit and label.

    Returns
    -------
    dict of float array
        Name of the calibrator -> probabilities of the test films.

    References
    ----------
    Zadrozny & Elkan, KDD 2002 (isotonic regression); Niculescu-Mizil & Caruana, ICML 2005 (it needs
    many films: below a thousand it overfits).
    """
    logit = test["logit"].to_numpy()
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        validation["logit"], validation["label"]
    )
    return {
        RAW: 1 / (1 + np.exp(-logit)),
        "temperature and offset": test["probability"].to_numpy(),
        "isotonic": isotonic.predict(logit),
    }


def compare_calibrators(
    calibrated: dict[str, np.ndarray],
    labels: np.ndarray,
    patients: np.ndarray,
    fitted: int,
    resampling: Resampling,
) -> pd.DataFrame:
    """Brier score and calibration error of each calibrator.

    Parameters
    ----------
    calibrated : dict
        As `calibrate_each` returns it.
    labels, patients : array (k,)
        Of the same films.
    fitted : int
        Films that the calibrators were fitted on.
    resampling : Resampling

    Returns
    -------
    DataFrame
        One row per calibrator: calibrator, fitted_films, brier, brier_low, brier_high, ece,
        ece_low, ece_high, ece_if_calibrated, films.
    """
    rows = []
    for name, probability in calibrated.items():
        films = ScoredFilms(labels, probability, patients)
        low, high = bootstrap_interval(compute_brier, films, resampling, "bca", by_class=False)
        error = ece_interval(films, resampling)
        rows.append(
            {
                "calibrator": name,
                "fitted_films": 0 if name == RAW else fitted,
                "brier": compute_brier(films.labels, films.scores),
                "brier_low": low,
                "brier_high": high,
                "ece": error["value"],
                "ece_low": error["low"],
                "ece_high": error["high"],
                "ece_if_calibrated": error["if_calibrated"],
                "films": len(films),
            }
        )
    return pd.DataFrame(rows)
