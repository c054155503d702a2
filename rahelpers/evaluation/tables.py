"""Read what step 03 wrote, and compare, pick and show from it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rahelpers.core.store import Run, read_table
from rahelpers.curation.splits import SPLITS
from rahelpers.evaluation.split_scores import RANKING, SCORE_NAMES
from rahelpers.scores.comparison import compute_delong
from rahelpers.scores.intervals import interval_text
from rahelpers.scores.metrics import ScoredFilms, say_few


def load_predictions(run: Run) -> pd.DataFrame:
    """Read `predictions.csv` of step 03: one row per film with label, split, logit, probability.

    Examples
    --------
    >>> from rahelpers.evaluation import evaluate, load_predictions
    >>> print("step 03"); metrics = evaluate(run)  # says so if an earlier result is reused
    step 03...
    >>> films = load_predictions(run)
    >>> len(films), films["probability"].between(0, 1).all().item()
    (80, True)
    """
    return read_table(run.file("evaluate", "predictions.csv"))


def load_table(run: Run, name: str) -> pd.DataFrame:
    """Read a table of step 03 on the test split.

    Parameters
    ----------
    run : Run
    name : str
        subgroups, calibration, calibrators, net_benefit, abstention, shortcuts_probes or strange.

    Examples
    --------
    >>> from rahelpers.evaluation import evaluate, load_table
    >>> print("step 03"); metrics = evaluate(run)  # says so if an earlier result is reused
    step 03...
    >>> load_table(run, "calibrators")[["calibrator", "fitted_films"]]
                        calibrator  fitted_films
    0  none (sigmoid of the logit)             0
    1       temperature and offset            16
    2                     isotonic            16
    """
    file = run.file("evaluate", f"{name}.csv")
    if name == "subgroups":  # a hospital may be named "NA" or "12": names are read as they are
        table = pd.read_csv(file, keep_default_na=False, dtype={"value": str})
        numbers = table.columns.difference(["group", "value", "warning"])
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
        return table
    table = pd.read_csv(file)
    return table.fillna({"few": ""}) if "few" in table else table


def compare_networks(one: pd.DataFrame, other: pd.DataFrame, split: str = "test") -> dict[str, Any]:
    """AUC of one network minus that of another on the same films.

    By DeLong's method with patients as clusters.

    Parameters
    ----------
    one, other : DataFrame
        Predictions of two runs, as `load_predictions` returns them; films are matched by image_id.
    split : str
        In both runs: a film that one of the networks was trained on cannot be compared.

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
    >>> import pandas as pd
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
            f"the two networks have no film of split {split} in common: expected runs on the same"
            " cohort with the same seed"
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
    """The films on which the network was wrong and most certain.

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

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.evaluation import find_worst_errors
    >>> films = pd.DataFrame({"split": "test", "label": [0, 0, 1], "probability": [0.7, 0.9, 0.2]})
    >>> find_worst_errors(films, threshold=0.5)[["probability", "error"]]
       probability           error
    1          0.9  false positive
    0          0.7  false positive
    2          0.2  false negative
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
    """A score as text; the counts instead if there are too few films.

    Parameters
    ----------
    score : dict, optional
        value, low, high.
    few : str
        Which class has too few films, as `say_few` returns it.
    digits : int
        After the decimal point.

    Examples
    --------
    >>> from rahelpers.evaluation import show_score
    >>> show_score({"value": 0.81, "low": 0.7, "high": 0.9})
    '0.81 (0.70 to 0.90)'
    >>> show_score({"value": 0.81, "low": 0.7, "high": 0.9}, few="6 positive films")
    'not shown: 6 positive films'
    """
    if few:
        return f"not shown: {few}"
    return "not known" if score is None else interval_text(score, digits=digits)


def metrics_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Scores of every split as text with interval and counts, for a notebook or the report.

    If a class has fewer than `FEW_FILMS` films, its count replaces AUC and average precision.

    Parameters
    ----------
    metrics : dict
        As `evaluate` returns it.

    Returns
    -------
    DataFrame of str
        One row per score, one column per split; the columns are named after the cohort.

    Examples
    --------
    >>> from rahelpers.evaluation import evaluate, metrics_table
    >>> print("step 03"); metrics = evaluate(run)  # says so if an earlier result is reused
    step 03...
    >>> table = metrics_table(metrics)
    >>> table.columns.tolist(), table.index[:3].tolist()
    (['train', 'validation', 'test'], ['AUC', 'average precision', 'sensitivity'])
    >>> table.loc["positive / negative patients", "test"]
    '6 / 4'
    """
    names = SCORE_NAMES | {
        name: f"{SCORE_NAMES[name]} at prevalence {metrics['prevalence']:g}"
        for name in ("ppv", "npv")
    }
    columns = {}
    for split in (s for s in SPLITS if s in metrics["splits"]):
        scores, counts = metrics["splits"][split], metrics["splits"][split]["counts"]
        cells = {
            words: show_score(scores[name], scores["few"] if name in RANKING else "")
            for name, words in names.items()
        }
        columns[split] = cells | {
            "positive / negative films": f"{counts['films_positive']} / {counts['films_negative']}",
            "positive / negative patients": (
                f"{counts['patients_positive']} / {counts['patients_negative']}"
            ),
        }
    return pd.DataFrame(columns).rename_axis(metrics["title"], axis="columns")
