"""Scores of every split, computed from the predictions of a run: the content of `metrics.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rahelpers.curation.splits import SPLITS
from rahelpers.evaluation.subgroups import compute_subgroups
from rahelpers.scores.calibration import adjust_prevalence, compute_calibration
from rahelpers.scores.comparison import permutation_test
from rahelpers.scores.conformal import compute_abstention_curve, score_sets
from rahelpers.scores.intervals import (
    Resampling,
    Statistic,
    auc_interval,
    bootstrap_intervals,
    ece_interval,
    gap_interval,
    share_interval,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
    compute_average_precision,
    compute_brier,
    predictive_values,
    say_few,
)
from rahelpers.scores.net_benefit import compute_net_benefit

SCORE_NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier score",
    "ece": "calibration error",
}
RANKING = ("auc", "average_precision")  # scores that mean nothing if a class has few films
ABOUT_FILMS = ["condition", "age", "sex", "laterality", "centre"]  # what subgroups are made from


def make_predictions(
    manifest: pd.DataFrame, logits: np.ndarray, features: np.ndarray, bundle: Any, known: Any
) -> pd.DataFrame:
    """`predictions.csv`: one row per film, with the columns that subgroups are made from.

    Parameters
    ----------
    manifest : DataFrame, n rows
    logits, features : float arrays (n,) and (n, F)
        Of the films, as `rahelpers.network.familiarity.extract_features` returns them.
    bundle : rahelpers.network.bundle.Bundle
        Its calibration turns logits into probabilities.
    known : rahelpers.network.familiarity.Familiarity
    """
    table = manifest[["image_id", "patient_id", "label", "split", *ABOUT_FILMS]]
    distance = known.gaussian.distance(features)
    return table.assign(
        logit=logits,
        probability=bundle.probability(logits),
        distance=distance,
        unlike=distance > known.threshold,
    )


def compute_scores(
    films: ScoredFilms, threshold: float, resampling: Resampling, prevalence: float = 0.1
) -> dict[str, Any]:
    """Every score of one split with its interval, the confusion matrix, and the counts.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    threshold : float
        The operating point, chosen on other films.
    resampling : Resampling
    prevalence : float in (0, 1)
        Share of positives where the network would be used, for PPV and NPV.

    Returns
    -------
    dict
        auc, average_precision, sensitivity, specificity, ppv, npv, brier, ece, each as {value, low,
        high}, or None if a class is missing; `auc_p` (permutation
        test against chance); `confusion` as {tn, fp,
        fn, tp}; `counts` of films and patients by class; `few`, which class has too few films for
        an AUC.

    Raises
    ------
    ValueError
        If there is no film.
    """
    if not len(films):
        raise ValueError("no film to score: expected at least one")
    labels, probability, patients = films.labels, films.scores, films.patients
    scores: dict[str, Any] = dict.fromkeys((*SCORE_NAMES, "auc_p"))
    both = len(np.unique(labels)) == 2

    # scores of the probabilities; they depend on the share of positives, so patients are drawn
    # whatever their class
    statistics: dict[str, Statistic] = {"brier": compute_brier}
    if both:
        statistics["average_precision"] = compute_average_precision
    intervals = bootstrap_intervals(statistics, films, resampling, "bca", by_class=False)
    for name, (low, high) in intervals.items():
        scores[name] = {"value": statistics[name](labels, probability), "low": low, "high": high}
    scores["ece"] = ece_interval(films, resampling)

    # scores of the decisions, each among the films of one class
    called = probability >= threshold
    for name, hits, rows in (
        ("sensitivity", called, labels == 1),
        ("specificity", ~called, labels == 0),
    ):
        if rows.any():
            scores[name] = share_interval(hits[rows], patients[rows])

    # scores that need both classes
    if both:
        scores["auc"] = auc_interval(films)
        scores["auc_p"] = permutation_test(films, resampling)
        scores |= score_predictive_values(prevalence, scores["sensitivity"], scores["specificity"])

    tn, fp, fn, tp = confusion_matrix(labels, called, labels=[0, 1]).ravel().tolist()
    scores["confusion"] = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    return scores | {"counts": films.counts(), "few": say_few(labels)}


def score_predictive_values(
    prevalence: float, sensitivity: dict[str, float], specificity: dict[str, float]
) -> dict[str, dict[str, float] | None]:
    """PPV and NPV at a stated prevalence, with intervals made from those of their parts.

    The odds of the disease after a result are the prevalence's odds times a ratio: sensitivity /
    (1 - specificity) for a positive result, (1 - sensitivity) / specificity for a negative one. On
    the logarithm of the ratio the distances from each part to its limits are added as squares.

    Parameters
    ----------
    prevalence : float in (0, 1)
    sensitivity, specificity : dict
        value, low, high, as `share_interval` returns them.

    Returns
    -------
    dict
        ppv and npv as {value, low, high}; None if no film is classified as positive, or as
        negative.

    References
    ----------
    Donner & Zou, Stat Methods Med Res 2012;21:347 (MOVER for ratios).
    """
    missed = {"value": 1 - sensitivity["value"], "low": 1 - sensitivity["high"]}
    missed["high"] = 1 - sensitivity["low"]
    alarms = {"value": 1 - specificity["value"], "low": 1 - specificity["high"]}
    alarms["high"] = 1 - specificity["low"]
    values = predictive_values(sensitivity["value"], specificity["value"], prevalence)
    found: dict[str, dict[str, float] | None] = {}
    for name, value, above, below, odds in (
        ("ppv", values[0], sensitivity, alarms, prevalence / (1 - prevalence)),
        ("npv", values[1], specificity, missed, (1 - prevalence) / prevalence),
    ):
        if np.isnan(value):
            found[name] = None
            continue
        low, high = (odds * ratio for ratio in _ratio_limits(above, below))
        ends = {"low": low / (1 + low), "high": high / (1 + high) if np.isfinite(high) else 1.0}
        found[name] = {"value": float(value)} | {k: float(v) for k, v in ends.items()}
    return found


def _ratio_limits(above: dict[str, float], below: dict[str, float]) -> tuple[float, float]:
    """Limits of the ratio of two shares; those of the corners where a share is 0."""
    if not (above["value"] > 0 and below["value"] > 0 and below["low"] > 0 and above["low"] > 0):
        most = above["high"] / below["low"] if below["low"] > 0 else np.inf
        return above["low"] / below["high"], most
    a, b = ({k: np.log(v) for k, v in part.items()} for part in (above, below))
    middle = a["value"] - b["value"]
    down = np.hypot(a["value"] - a["low"], b["high"] - b["value"])
    up = np.hypot(a["high"] - a["value"], b["value"] - b["low"])
    return float(np.exp(middle - down)), float(np.exp(middle + up))


def describe_run(
    title: str,
    source: str,
    info: dict[str, Any],
    table: pd.DataFrame,
    resampling: Resampling,
    prevalence: float,
) -> dict[str, Any]:
    """The content of `metrics.json`.

    Parameters
    ----------
    title, source : str
        Of the cohort; they are shown with every figure.
    info : dict
        The content of `bundle.json`.
    table : DataFrame
        As `make_predictions` returns it.
    resampling : Resampling
    prevalence : float in (0, 1)
        Share of positives where the network would be used, for PPV and NPV.
    """
    threshold, conformal = info["operating_point"]["probability"], info["conformal"]
    parts = {
        split: table[table["split"] == split] for split in SPLITS if (table["split"] == split).any()
    }
    films = {split: ScoredFilms.from_table(part) for split, part in parts.items()}
    splits = {
        split: compute_scores(part, threshold, resampling, prevalence)
        for split, part in films.items()
    }

    # what training did not see: coverage of the conformal sets, and how many films are unlike
    held_out = [split for split in ("test", "external") if split in parts]
    sets = {split: score_sets(films[split], conformal) for split in held_out}
    unlike = {
        split: share_interval(parts[split]["unlike"], parts[split]["patient_id"])
        for split in sorted(held_out)
    }

    gap = None
    if "train" in parts and "test" in parts:
        few = [f"{splits[s]['few']} in {s}" for s in ("train", "test") if splits[s]["few"]]
        gap = gap_interval(films["train"], films["test"]) | {"few": " and ".join(few)}
    return {
        "title": title,
        "source": source,
        "class_names": info["class_names"],
        "operating_point": info["operating_point"],
        "temperature": info["temperature"],
        "offset": info["offset"],
        "validation": info["validation"],
        "prevalence": prevalence,
        "interval": (
            "95 %, over patients: AUC by DeLong's variance on the logit scale; sensitivity,"
            " specificity and other shares by Wilson, each patient counted once; average precision,"
            f" Brier score and calibration error by the bootstrap, {resampling.n} resamples"
        ),
        "splits": splits,
        "conformal": conformal | {"splits": sets},
        "unlike": unlike,
        "gap": gap,
    }


def compute_tables(
    table: pd.DataFrame, split: str, metrics: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """Tables of one split: subgroups, calibration, abstention, and net_benefit if it can be had.

    Net benefit needs both classes.

    Parameters
    ----------
    table : DataFrame
        As `make_predictions` returns it.
    split : str
    metrics : dict
        As `describe_run` returns it: operating point and prevalence are taken from it.
    """
    part, point = table[table["split"] == split], metrics["operating_point"]
    films, threshold = ScoredFilms.from_table(part), point["probability"]
    strangeness = part["distance"].to_numpy()
    found = {
        "subgroups": compute_subgroups(part, threshold),
        "calibration": compute_calibration(films),
        "abstention": compute_abstention_curve(films, threshold, strangeness=strangeness),
    }
    if len(np.unique(films.labels)) == 2:
        # the calibration was fitted at the share of positives in the validation split
        share = point["films_positive"] / (point["films_positive"] + point["films_negative"])
        there = adjust_prevalence(films.scores, share, metrics["prevalence"])
        used_there = ScoredFilms(films.labels, there, films.patients)
        found["net_benefit"] = compute_net_benefit(used_there, metrics["prevalence"])
    return found
