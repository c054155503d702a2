"""The score of a cross-validation. Nothing here starts TensorFlow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rahelpers.scores.intervals import auc_interval
from rahelpers.scores.metrics import ScoredFilms, compute_auc


def score_folds(held_out: pd.DataFrame) -> dict[str, Any]:
    """Compute the AUC of cross-validation, of all films together and of each fold.

    Films of different folds are compared by calibrated probability. Their networks have different
    scales, so the pooled AUC may be a little below the mean of the folds. Its interval says how the
    AUC of these networks would differ on other patients. The spread of the folds shows what another
    training would change (Bengio & Grandvalet 2004: its variance has no unbiased estimate).

    Parameters
    ----------
    held_out : DataFrame
        From `repeat`.

    Returns
    -------
    dict
        auc (value, low, high), counts, folds (a list of AUCs).

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.training import score_folds
    >>> table = pd.DataFrame({"patient_id": list("abcdefgh"), "label": [0, 1] * 4})
    >>> table["fold"], table["logit"] = [1, 1, 1, 1, 2, 2, 2, 2], [-2, 3, 1, 0, -1, 1, -1, 1]
    >>> table["probability"] = 1 / (1 + 2.718 ** -table["logit"])
    >>> found = score_folds(table)
    >>> found["folds"], found["counts"]["films_positive"]
    ([0.75, 1.0], 4)
    """
    films = ScoredFilms.from_table(held_out)
    return {
        "auc": auc_interval(films),
        "counts": films.counts(),
        "folds": [compute_auc(f["label"], f["logit"]) for _, f in held_out.groupby("fold")],
    }
