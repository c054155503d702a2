"""Do facts about the file, the person or the picture as a whole give the label away?

The question is asked of a curated cohort, before any network is trained.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rahelpers.scores.intervals import auc_interval, interval_text
from rahelpers.scores.metrics import ScoredFilms

KINDS = 3  # how many hospitals and file formats count as facts: the most common ones


def compute_shortcuts(manifest: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Measure how well single facts about file, person and whole picture predict the label.

    Parameters
    ----------
    manifest : DataFrame, n rows
    images : uint8 array (n, S, S)

    Returns
    -------
    DataFrame
        One row per fact: its AUC with interval (below 0.5: a low value goes with a positive label),
        whether the interval contains 0.5, and the number of films for which the fact is known.
        Facts that are the same for every film, or known for one class only, are left out.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> from rahelpers.curation import compute_shortcuts
    >>> cohort = load_cohort(run)
    >>> table = compute_shortcuts(cohort.manifest, cohort.images)
    >>> list(table.columns), table.loc["age", "films"]
    (['AUC', 'interval contains 0.5', 'films'], 80)
    """
    # one value per film, of each fact
    border = np.concatenate(
        [images[:, :4].reshape(len(images), -1), images[:, -4:].reshape(len(images), -1)], axis=1
    )
    facts = {
        "film width": manifest["width"],
        "film height": manifest["height"],
        "pixel spacing": manifest["spacing_mm"],
        "bits stored": manifest["bits_stored"],
        "stored in colour": manifest["stored_colour"] != "",
        "area of markers": manifest["marker"],
        "area of border and empty air": manifest["border"],
        "right hand": (manifest["laterality"] == "R").where(manifest["laterality"] != ""),
        "age": manifest["age"],
        "male": (manifest["sex"] == "M").where(manifest["sex"] != ""),
        "mean intensity": images.reshape(len(images), -1).mean(axis=1),
        "intensity above and below the hand": border.mean(axis=1),
    }
    for column, what in (("centre", "hospital"), ("file_format", "format")):
        common = manifest[column].value_counts()
        facts |= {
            f"{what} is {value or 'not known'}": manifest[column] == value
            for value in (common.index[:KINDS] if len(common) > 1 else [])
        }

    # how well each predicts the label
    labels, patients = manifest["label"].to_numpy(), manifest["patient_id"].to_numpy()
    rows = {}
    for name, values in facts.items():
        values = pd.Series(values, dtype=float).to_numpy()
        known = ~np.isnan(values)
        if len(np.unique(labels[known])) < 2 or np.ptp(values[known]) == 0:
            continue
        found = auc_interval(ScoredFilms(labels[known], values[known], patients[known]))
        contains = "yes" if found["low"] <= 0.5 <= found["high"] else "NO"
        rows[name] = {
            "AUC": interval_text(found),
            "interval contains 0.5": "not known" if np.isnan(found["low"]) else contains,
            "films": int(known.sum()),
        }
    return pd.DataFrame(rows).T
