"""Scores by sex, age band, side, hospital and condition: where a good network may still fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import auc_interval, share_interval
from rahelpers.scores.metrics import ScoredFilms, say_few

AGE_EDGES = (0, 45, 65, 200)
AGE_BANDS = ("under 45", "45 to 64", "65 and over")


def compute_subgroups(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """AUC, sensitivity and specificity of each subgroup of one split, with intervals and counts.

    All films of a condition usually have the same label. They are then scored against all films of
    the other class.

    Parameters
    ----------
    predictions : DataFrame
        Films of one split: patient_id, label, probability, sex, age, laterality, centre, condition.
    threshold : float
        The operating point.

    Returns
    -------
    DataFrame
        One row per subgroup, 'all' first: group, value, films_positive, films_negative, patients,
        then auc, sensitivity and specificity, each with _low and _high (NaN if not known), and
        `warning`: which class has fewer films than `FEW_FILMS` ('' if none). A subgroup with too
        few films has no AUC.
    """
    groups = {
        "sex": predictions["sex"].fillna("").replace({"F": "women", "M": "men"}),
        "age band": (
            pd.cut(predictions["age"], AGE_EDGES, labels=AGE_BANDS, right=False)
            .astype(object)
            .where(predictions["age"].notna(), "")
        ),
        "side": predictions["laterality"].fillna("").replace({"L": "left", "R": "right"}),
        "hospital": predictions["centre"].fillna(""),
        "condition": predictions["condition"].fillna(""),
    }
    rows = [_score("all", "all", predictions, threshold)]
    for group, values in groups.items():
        known = sorted(
            set(values) - {""}, key=lambda v: (AGE_BANDS.index(v) if v in AGE_BANDS else 0, v)
        )
        for value in known:
            part = predictions[values == value]
            if group == "condition" and part["label"].nunique() == 1:
                part = predictions[
                    (values == value) | (predictions["label"] != part["label"].iloc[0])
                ]
            if len(part) < len(predictions):
                rows.append(_score(group, value, part, threshold))
    return pd.DataFrame(rows)


def _score(group: str, value: str, part: pd.DataFrame, threshold: float) -> dict[str, Any]:
    films = ScoredFilms.from_table(part)
    few, counts = say_few(films.labels), films.counts()
    row: dict[str, Any] = {"group": group, "value": value}
    row |= {name: counts[name] for name in ("films_positive", "films_negative", "patients")}
    found = {"auc": None if few else auc_interval(films)}
    for name, hits, rows in (
        ("sensitivity", films.scores >= threshold, films.labels == 1),
        ("specificity", films.scores < threshold, films.labels == 0),
    ):
        found[name] = share_interval(hits[rows], films.patients[rows]) if rows.any() else None
    for name, score in found.items():
        score = score or {"value": np.nan, "low": np.nan, "high": np.nan}
        row |= {name: score["value"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
    return row | {"warning": f"few: {few}" if few else ""}
