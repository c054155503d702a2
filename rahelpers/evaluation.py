"""Evaluation: scores with patient-bootstrap intervals and the counts of both classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from rahelpers.artifacts import Run, Step
from rahelpers.splits import SPLITS

CONFIG_KEYS = ("seed", "n_bootstrap")
Statistic = Callable[[np.ndarray, np.ndarray], float]


def bootstrap_interval(statistic: Statistic, labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, n: int, seed: int) -> tuple[float, float]:
    """Percentile 95 % interval over patients drawn with replacement, all films of a patient together.

    Patients are drawn within their class, so that every resample holds both.

    Parameters
    ----------
    statistic : callable
        `(labels, scores) -> float`.
    labels, scores : array (n,)
    patients : array (n,)
        Patient of each film.
    n : int
        Resamples.
    seed : int

    Returns
    -------
    (low, high)

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.
    """
    rng = np.random.default_rng(seed)
    names, of_film = np.unique(patients, return_inverse=True)
    films = [np.flatnonzero(of_film == i) for i in range(len(names))]
    positive = np.array([labels[f].max() for f in films])
    strata = [np.flatnonzero(positive == c) for c in (0, 1)]
    values = []
    for _ in range(n):
        drawn = np.concatenate([rng.choice(s, len(s)) for s in strata if len(s)])
        rows = np.concatenate([films[i] for i in drawn])
        values.append(statistic(labels[rows], scores[rows]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def rate_interval(hits: np.ndarray, patients: np.ndarray, n: int, seed: int) -> dict[str, float]:
    """A share of films with its 95 % interval: patient bootstrap, and the exact binomial one where every film is alike.

    Resampling films that are all hits (or all misses) gives an interval of no width, which would pass few patients off as certainty.

    Parameters
    ----------
    hits : bool or float array (m,)
        1 or 0 for each film.
    patients : array (m,)
    n, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    dict
        value, low, high.

    References
    ----------
    Clopper & Pearson, Biometrika 1934;26:404; with patients, not films, as the number of trials.
    """
    hits = np.asarray(hits, dtype=float)
    value, trials = float(hits.mean()), len(np.unique(patients))
    if value in (0.0, 1.0):
        exact = binomtest(round(value * trials), trials).proportion_ci(0.95, method="exact")
        return {"value": value, "low": float(exact.low), "high": float(exact.high)}
    low, high = bootstrap_interval(lambda _, h: float(h.mean()), np.ones(len(hits)), hits, patients, n, seed)
    return {"value": value, "low": low, "high": high}


def compute_scores(labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, threshold: float, n: int, seed: int) -> dict[str, Any]:
    """AUC, sensitivity, specificity and Brier score with intervals, the confusion matrix, and the counts.

    Parameters
    ----------
    labels : int array (n,)
    probability : float array (n,) in [0, 1]
    patients : array (n,)
    threshold : float
        The operating point, chosen elsewhere.
    n, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    dict
        Each score as {value, low, high}; `confusion` as {tn, fp, fn, tp}; `counts` of films and patients by class.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError(f"labels hold only {np.unique(labels).tolist()}: scores need both classes")
    statistics: dict[str, Statistic] = {
        "auc": lambda y, p: float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else np.nan,
        "brier": lambda y, p: float(brier_score_loss(y, p)),
    }
    scores: dict[str, Any] = {}
    for name, statistic in statistics.items():
        low, high = bootstrap_interval(statistic, labels, probability, patients, n, seed)
        scores[name] = {"value": statistic(labels, probability), "low": low, "high": high}
    called = probability >= threshold
    for name, hits, films in (("sensitivity", called, labels == 1), ("specificity", ~called, labels == 0)):
        scores[name] = rate_interval(hits[films], patients[films], n, seed)
    tn, fp, fn, tp = confusion_matrix(labels, probability >= threshold, labels=[0, 1]).ravel().tolist()
    scores["confusion"] = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    scores["counts"] = {
        "films_positive": int((labels == 1).sum()),
        "films_negative": int((labels == 0).sum()),
        "patients": len(np.unique(patients)),
    }
    return scores


def evaluate(run: Run) -> dict[str, Any]:
    """Step 03: score every split with the bundle. Returns the content of `metrics.json`.

    Raises
    ------
    MissingArtefact
        If step 01 or 02 has not been run.
    """
    config = run.config
    step = run.step("evaluate", config.subset(*CONFIG_KEYS))
    if not step.is_done():
        _evaluate(run, step)
    return json.loads(run.file("evaluate", "metrics.json").read_text())


def _evaluate(run: Run, step: Step) -> None:
    # imported here, so that bootstrap and tables work without starting TensorFlow
    from rahelpers.curation import load_cohort
    from rahelpers.inference import load_bundle, predict_logits

    config, cohort = run.config, load_cohort(run)
    bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    table = cohort.manifest[["image_id", "patient_id", "label", "split", "condition", "age", "sex", "laterality"]].copy()
    table["logit"] = predict_logits(bundle.model, cohort.images)
    table["probability"] = bundle.probability(table["logit"].to_numpy())
    metrics: dict[str, Any] = {
        "title": config.title,
        "class_names": list(config.class_names),
        "operating_point": bundle.info["operating_point"],
        "temperature": bundle.info["temperature"],
        "offset": bundle.info["offset"],
        "interval": f"95 % patient bootstrap, percentile, {config.n_bootstrap} resamples",
        "splits": {},
    }
    for split, part in table.groupby("split"):
        metrics["splits"][split] = compute_scores(
            part["label"].to_numpy(), part["probability"].to_numpy(), part["patient_id"].to_numpy(),
            bundle.info["operating_point"]["probability"], config.n_bootstrap, config.seed,
        )  # fmt: skip
    step.write("predictions.csv", lambda p: table.to_csv(p, index=False))
    step.write_json("metrics.json", metrics)
    step.finish()


def load_predictions(run: Run) -> pd.DataFrame:
    """`predictions.csv` of step 03: one film a row with label, split, logit and probability."""
    return pd.read_csv(run.file("evaluate", "predictions.csv"), dtype={"image_id": str, "patient_id": str})


def metrics_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Scores of every split as text with interval and counts, for a notebook or the report."""
    rows = {}
    for split in (s for s in SPLITS if s in metrics["splits"]):
        scores = metrics["splits"][split]
        cells = {k: f"{scores[k]['value']:.2f} ({scores[k]['low']:.2f}–{scores[k]['high']:.2f})" for k in ("auc", "sensitivity", "specificity", "brier")}
        counts = scores["counts"]
        rows[split] = cells | {
            "positive / negative films": f"{counts['films_positive']} / {counts['films_negative']}",
            "patients": counts["patients"],
        }
    return pd.DataFrame(rows).T.rename(columns={"auc": "AUC", "brier": "Brier score"})


def compute_calibration(labels: np.ndarray, probability: np.ndarray, bins: int = 6) -> pd.DataFrame:
    """Predicted against observed share of positives in bins of equal count.

    Returns
    -------
    DataFrame
        Columns predicted, observed.
    """
    observed, predicted = calibration_curve(labels, probability, n_bins=bins, strategy="quantile")
    return pd.DataFrame({"predicted": predicted, "observed": observed})


def compute_shortcuts(manifest: pd.DataFrame, images: np.ndarray, n: int, seed: int) -> pd.DataFrame:
    """How well facts of the file, the person and the picture as a whole predict the label, each alone.

    Parameters
    ----------
    manifest : DataFrame, n rows
    images : uint8 array (n, S, S)
    n, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    DataFrame
        One fact a row: its AUC with interval (below 0.5: a low value goes with a positive label), and whether the interval
        contains 0.5, and how many films are known. Facts that are the same in every film, or known in one class only, are left out.
    """
    border = np.concatenate([images[:, :4].reshape(len(images), -1), images[:, -4:].reshape(len(images), -1)], axis=1)
    facts = {
        "film width": manifest["width"],
        "film height": manifest["height"],
        "pixel spacing": manifest["spacing_mm"],
        "bits stored": manifest["bits_stored"],
        "stored in colour": manifest["stored_colour"] != "",
        "area of markers": manifest["marker"],
        "area of the border": manifest["border"],
        "right hand": (manifest["laterality"] == "R").where(manifest["laterality"] != ""),
        "age": manifest["age"],
        "male": (manifest["sex"] == "M").where(manifest["sex"] != ""),
        "mean intensity": images.reshape(len(images), -1).mean(axis=1),
        "intensity above and below the hand": border.mean(axis=1),
    }
    labels, patients = manifest["label"].to_numpy(), manifest["patient_id"].to_numpy()
    rows = {}
    for name, values in facts.items():
        values = pd.Series(values, dtype=float).to_numpy()
        known = ~np.isnan(values)
        if len(np.unique(labels[known])) < 2 or np.ptp(values[known]) == 0:
            continue
        low, high = bootstrap_interval(lambda y, s: float(roc_auc_score(y, s)), labels[known], values[known], patients[known], n, seed)
        auc = float(roc_auc_score(labels[known], values[known]))
        rows[name] = {"AUC": f"{auc:.2f} ({low:.2f}–{high:.2f})", "interval contains 0.5": "yes" if low <= 0.5 <= high else "NO", "films": int(known.sum())}
    return pd.DataFrame(rows).T
