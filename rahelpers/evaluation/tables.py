"""The tables of the evaluation: scores, predictions, calibrators, comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rahelpers.core.store import Run, read_table
from rahelpers.curation.splits import SPLITS
from rahelpers.evaluation.strange_films import make_strange
from rahelpers.evaluation.subgroups import compute_subgroups
from rahelpers.scores.calibration import adjust_prevalence, compute_calibration
from rahelpers.scores.comparison import compute_delong, permutation_test
from rahelpers.scores.conformal import compute_abstention_curve, score_sets
from rahelpers.scores.intervals import (
    TAILS,
    Resampling,
    auc_interval,
    bootstrap_intervals,
    ece_interval,
    gap_interval,
    group_patients,
    interval_text,
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
RANKING = ("auc", "average_precision")  # scores that mean nothing where a class has few films


def compute_scores(
    films: ScoredFilms,
    threshold: float,
    resampling: Resampling,
    prevalence: float = 0.1,
) -> dict[str, Any]:
    """Every score of one split with its interval, the confusion matrix, and the counts.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    threshold : float
        The operating point, chosen elsewhere.
    resampling : Resampling
    prevalence : float in (0, 1)
        Share of positives where the network would be used, for PPV and NPV.

    Returns
    -------
    dict
        auc, average_precision, sensitivity, specificity, ppv, npv, brier, ece, each as {value, low,
        high}, or None where a class is missing; `auc_delong` (low, high of DeLong's method with
        patients as clusters) and `auc_p` (permutation test against chance); `confusion` as {tn, fp,
        fn, tp}; `counts` of films and patients by class; `few`, which class has too few films for
        an AUC.
    """
    if not len(films):
        raise ValueError("no film to score: expected at least one")
    labels, probability, patients = films.labels, films.scores, films.patients
    scores: dict[str, Any] = dict.fromkeys((*SCORE_NAMES, "auc_delong", "auc_p"))
    both = len(np.unique(labels)) == 2
    # these hang on how many are positive, so patients are drawn whatever their class
    statistics = {"brier": compute_brier} | (
        {"average_precision": compute_average_precision} if both else {}
    )
    for name, (low, high) in bootstrap_intervals(
        statistics, films, resampling, "bca", by_class=False
    ).items():
        scores[name] = {"value": statistics[name](labels, probability), "low": low, "high": high}
    scores["ece"] = ece_interval(films, resampling)
    called = probability >= threshold
    for name, hits, rows in (
        ("sensitivity", called, labels == 1),
        ("specificity", ~called, labels == 0),
    ):
        if rows.any():
            scores[name] = share_interval(hits[rows], patients[rows])
    if both:
        scores["auc"] = auc_interval(films, resampling)
        if min(len(np.unique(patients[labels == c])) for c in (0, 1)) > 1:
            low, high = compute_delong(labels, probability, patients).interval()
            scores["auc_delong"] = {"low": low, "high": high}
        scores["auc_p"] = permutation_test(films, resampling)
        scores |= score_predictive_values(
            films, threshold, prevalence, scores["sensitivity"], scores["specificity"], resampling
        )
    tn, fp, fn, tp = confusion_matrix(labels, called, labels=[0, 1]).ravel().tolist()
    scores["confusion"] = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    scores |= {"counts": films.counts(), "few": say_few(labels)}
    return scores


def score_predictive_values(
    films: ScoredFilms,
    threshold: float,
    prevalence: float,
    sensitivity: dict[str, float],
    specificity: dict[str, float],
    resampling: Resampling,
) -> dict[str, dict[str, float] | None]:
    """PPV and NPV at a stated prevalence, with percentile intervals from patients.

    Where sensitivity or specificity is 0 or 1 the resamples say too little; there the limits of
    both are put into Bayes' rule, which is on the safe side.

    Parameters
    ----------
    films : ScoredFilms
        Scores are probabilities.
    threshold : float
        The operating point.
    prevalence : float in (0, 1)
    sensitivity, specificity : dict
        value, low, high.
    resampling : Resampling

    Returns
    -------
    dict
        ppv and npv as {value, low, high}; None where nobody is called, or nobody is left alone.
    """
    values = predictive_values(sensitivity["value"], specificity["value"], prevalence)
    if {sensitivity["value"], specificity["value"]} & {0.0, 1.0}:
        limits = np.array(
            [
                predictive_values(sensitivity[end], specificity[end], prevalence)
                for end in ("low", "high")
            ]
        )
    else:
        called, drawn = films.scores >= threshold, []
        for rows in group_patients(films).resample(resampling.n, resampling.rng()):
            positive, hit = films.labels[rows] == 1, called[rows]
            drawn.append(
                predictive_values(hit[positive].mean(), (~hit[~positive]).mean(), prevalence)
            )
        limits = np.nanquantile(drawn, TAILS, axis=0)
    limits = np.where(np.isnan(limits), [[0.0], [1.0]], limits)
    return {
        name: (
            None
            if np.isnan(values[i])
            else {
                "value": float(values[i]),
                "low": float(limits[0, i]),
                "high": float(limits[1, i]),
            }
        )
        for i, name in enumerate(("ppv", "npv"))
    }


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for a JSON file, which knows no NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def make_predictions(
    manifest: pd.DataFrame, logits: np.ndarray, features: np.ndarray, bundle: Any, known: Any
) -> pd.DataFrame:
    """`predictions.csv`, one film a row, with what subgroups are made from.

    Parameters
    ----------
    manifest : DataFrame, n rows
    logits, features : float arrays (n,) and (n, F)
        Of the films, as `rahelpers.network.familiarity.extract_features` gives them.
    bundle : rahelpers.network.bundle.Bundle
        Its calibration turns logits into probabilities.
    known : rahelpers.network.familiarity.Familiarity
    """
    columns = [
        "image_id",
        "patient_id",
        "label",
        "split",
        "condition",
        "age",
        "sex",
        "laterality",
        "centre",
    ]
    table = manifest[columns].assign(logit=logits, probability=bundle.probability(logits))
    distance = known.gaussian.distance(features)
    return table.assign(distance=distance, unlike=distance > known.threshold)


def compute_strange(
    known: Any,
    films: np.ndarray,
    features: np.ndarray,
    logits: np.ndarray,
    patients: np.ndarray,
    resampling: Resampling,
) -> pd.DataFrame:
    """How well three scores tell pictures that do not belong (`rahelpers.evaluation.strange_films`) from films
    that do.

    Parameters
    ----------
    known : rahelpers.network.familiarity.Familiarity
    films : uint8 array (k, S, S)
        Films that the network did not learn from.
    features, logits, patients : array (k, ...)
        Of these films.
    resampling : Resampling
        Its seed also makes the pictures.

    Returns
    -------
    DataFrame
        One kind and score a row: kind, score (distance: Mahalanobis, what the bundle uses;
        neighbours: distance to the fifth nearest training film; certainty: minus the absolute
        logit), auc, low, high, warned (share of these pictures that the bundle's limit catches;
        distance alone), pictures, films.
    """
    from rahelpers.network.familiarity import extract_features

    rows = []
    for kind, pictures in make_strange(films, resampling.seed).items():
        other_logits, other = extract_features(known.model, pictures)
        distance = known.gaussian.distance(other)
        scores = {
            "distance": (known.gaussian.distance(features), distance),
            "neighbours": (known.neighbour_distance(features), known.neighbour_distance(other)),
            "certainty": (-np.abs(logits), -np.abs(other_logits)),
        }
        strange = np.repeat([0, 1], [len(films), len(pictures)])
        people = np.concatenate(
            [patients.astype(str), [f"strange {i}" for i in range(len(pictures))]]
        )
        for score, both in scores.items():
            scored = ScoredFilms(strange, np.concatenate(both), people)
            found = auc_interval(scored, resampling, "percentile")
            rows.append(
                {
                    "kind": kind,
                    "score": score,
                    "auc": found["value"],
                    "low": found["low"],
                    "high": found["high"],
                    "warned": (
                        float((distance > known.threshold).mean())
                        if score == "distance"
                        else np.nan
                    ),
                    "pictures": len(pictures),
                    "films": len(films),
                }
            )
    return pd.DataFrame(
        rows, columns=["kind", "score", "auc", "low", "high", "warned", "pictures", "films"]
    )


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
        Of the cohort: they stand beside every figure.
    info : dict
        The content of `bundle.json`.
    table : DataFrame
        As `make_predictions` returns it.
    resampling : Resampling
    prevalence : float
    """
    threshold = info["operating_point"]["probability"]
    parts = {
        split: ScoredFilms.from_table(table[table["split"] == split])
        for split in SPLITS
        if split in set(table["split"])
    }
    metrics: dict[str, Any] = {
        "title": title,
        "source": source,
        "class_names": info["class_names"],
        "operating_point": info["operating_point"],
        "temperature": info["temperature"],
        "offset": info["offset"],
        "prevalence": prevalence,
        "interval": (
            f"95 %; patient bootstrap, {resampling.n} resamples (BCa; percentile for PPV, NPV, calibration"
            " error); for shares Wilson's, with patients as clusters"
        ),
        "splits": {
            split: compute_scores(part, threshold, resampling, prevalence)
            for split, part in parts.items()
        },
        "conformal": info["conformal"],
        "unlike": None,
        "gap": None,
    }
    if "train" in parts and "test" in parts:
        few = " and ".join(
            f"{metrics['splits'][s]['few']} in {s}"
            for s in ("train", "test")
            if metrics["splits"][s]["few"]
        )
        metrics["gap"] = gap_interval(parts["train"], parts["test"], resampling) | {"few": few}
    held_out = {split: part for split, part in parts.items() if split in ("test", "external")}
    metrics["conformal"] |= {
        "splits": {
            split: score_sets(part, metrics["conformal"]) for split, part in held_out.items()
        }
    }
    films = table[table["split"].isin(held_out)].groupby("split")
    metrics["unlike"] = {
        split: share_interval(part["unlike"].to_numpy(), part["patient_id"].to_numpy())
        for split, part in films
    }
    return metrics


def compute_tables(
    table: pd.DataFrame, split: str, metrics: dict[str, Any], resampling: Resampling
) -> dict[str, pd.DataFrame]:
    """Tables of one split beside its scores: subgroups, calibration, net_benefit (where both
    classes are there), abstention.

    Parameters
    ----------
    table : DataFrame
        As `make_predictions` returns it.
    split : str
    metrics : dict
        As `describe_run` returns it: operating point and prevalence are taken from it.
    resampling : Resampling
    """
    part, point = table[table["split"] == split], metrics["operating_point"]
    threshold = point["probability"]
    films = ScoredFilms.from_table(part)
    found = {
        "subgroups": compute_subgroups(part, threshold, resampling),
        "calibration": compute_calibration(films),
        "abstention": compute_abstention_curve(
            films, threshold, strangeness=part["distance"].to_numpy()
        ),
    }
    if len(np.unique(films.labels)) == 2:
        # the calibration was fitted where the share of positives is that of the validation split
        share = point["films_positive"] / (point["films_positive"] + point["films_negative"])
        there = adjust_prevalence(films.scores, share, metrics["prevalence"])
        found["net_benefit"] = compute_net_benefit(
            ScoredFilms(films.labels, there, films.patients), resampling, metrics["prevalence"]
        )
    return found


def load_predictions(run: Run) -> pd.DataFrame:
    """`predictions.csv` of step 03: one film a row with label, split, logit and probability."""
    return read_table(run.file("evaluate", "predictions.csv"))


def load_table(run: Run, name: str) -> pd.DataFrame:
    """A table of step 03 on the test split: subgroups, calibration, calibrators, net_benefit,
    abstention, shortcuts_probes or strange.
    """
    file = run.file("evaluate", f"{name}.csv")
    table = pd.read_csv(
        file,
        keep_default_na=name != "subgroups",
        dtype={"value": str} if name == "subgroups" else None,
    )
    return table.fillna({"few": ""}) if "few" in table else table


def compare_networks(one: pd.DataFrame, other: pd.DataFrame, split: str = "test") -> dict[str, Any]:
    """AUC of one network less that of another on the same films, by DeLong's method with patients
    as clusters.

    Parameters
    ----------
    one, other : DataFrame
        Predictions of two runs, as `load_predictions` returns them; films are matched by image_id.
    split : str
        In both: a film that one of them trained on compares nothing.

    Returns
    -------
    dict
        value, low, high, z, p; auc of both; counts; few, which class has too few films.

    Raises
    ------
    ValueError
        If the two have no film in common, or disagree on a label.

    Examples
    --------
    >>> from rahelpers.evaluation import compare_networks
    >>> one = pd.DataFrame({"image_id": list("abcd"), "patient_id": list("1234"), "split": "test"})
    >>> one = one.assign(label=[0, 0, 1, 1], logit=[0.1, 0.6, 0.4, 0.9])
    >>> found = compare_networks(one, one.assign(logit=[0.1, 0.3, 0.4, 0.9]))
    >>> found["auc"], found["value"]
    ([0.75, 1.0], -0.25)
    """
    parts = [
        table.loc[table["split"] == split, ["image_id", "patient_id", "label", "logit"]]
        for table in (one, other)
    ]
    both = parts[0].merge(parts[1], on="image_id", suffixes=("", "_other"))
    if both.empty:
        raise ValueError(
            f"the two networks have no film of split {split} in common: expected runs on one cohort"
            " with one seed"
        )
    unlike = both.loc[both["label"] != both["label_other"], "image_id"].tolist()
    if unlike:
        raise ValueError(
            f"film {unlike[0]} has label {both.loc[both['image_id'] == unlike[0], 'label'].iloc[0]}"
            " in one run and another in the other"
        )
    films = ScoredFilms.from_table(both, "logit")
    scores = both[["logit", "logit_other"]].to_numpy().T
    found = compute_delong(films.labels, scores, films.patients)
    return found.compare() | {
        "auc": found.auc.tolist(),
        "counts": films.counts(),
        "few": say_few(films.labels),
    }


def find_worst_errors(
    predictions: pd.DataFrame, threshold: float, split: str = "test", most: int = 4
) -> pd.DataFrame:
    """The films on which the network was wrong and surest.

    Parameters
    ----------
    predictions : DataFrame
        As `load_predictions` returns it, with its index: row numbers of the cohort.
    threshold : float
        The operating point.
    split : str
    most : int
        Of each kind.

    Returns
    -------
    DataFrame
        Rows of `predictions` with a column `error`: 'false positive' (highest probability first),
        then 'false negative' (lowest first).
    """
    part = predictions[predictions["split"] == split]
    called = part["probability"] >= threshold
    wrong = (
        (called & (part["label"] == 0), "false positive", False),
        (~called & (part["label"] == 1), "false negative", True),
    )
    return pd.concat(
        [
            part[mask]
            .sort_values("probability", ascending=up, kind="stable")
            .head(most)
            .assign(error=name)
            for mask, name, up in wrong
        ]
    )


def show_score(score: dict[str, float] | None, few: str = "", digits: int = 2) -> str:
    """A score as text: '0.81 (0.70 to 0.90)'; the counts instead where there are too few films."""
    if few:
        return f"not shown: {few}"
    return "not known" if score is None else interval_text(score, digits=digits)


def metrics_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Scores of every split as text with interval and counts, for a notebook or the report: one
    score a row, one split a column.

    Where a class has fewer than `FEW_FILMS` films, its counts stand in place of AUC and average
    precision.
    """
    columns = {}
    for split in (s for s in SPLITS if s in metrics["splits"]):
        scores, counts = metrics["splits"][split], metrics["splits"][split]["counts"]
        cells = {
            words: show_score(scores[name], scores["few"] if name in RANKING else "")
            for name, words in SCORE_NAMES.items()
        }
        cells = {
            (
                f"{words} at prevalence {metrics['prevalence']:g}"
                if words in ("PPV", "NPV")
                else words
            ): cell
            for words, cell in cells.items()
        }
        columns[split] = cells | {
            "positive / negative films": f"{counts['films_positive']} / {counts['films_negative']}",
            "positive / negative patients": (
                f"{counts['patients_positive']} / {counts['patients_negative']}"
            ),
        }
    return pd.DataFrame(columns).rename_axis(metrics["title"], axis="columns")
