"""What steps 04 and 05 wrote, and the sanity table for people. Nothing here starts TensorFlow."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from rahelpers.core.store import Run, read_table
from rahelpers.scores.intervals import interval_text

# rank correlation above which two maps count as similar: a choice, the same for every method
SIMILAR = 0.5


def load_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Load the tables of step 04.

    Returns
    -------
    dict of DataFrame
        films, board, lesion_ranks, sanity, fall (of the logit), cascade, retrained, changes,
        counterfactuals; film by film: film_maps, film_ranks, film_curves.

    Raises
    ------
    MissingArtefactError
        If step 04 has not been run.

    Examples
    --------
    >>> from rahelpers.explanation import load_tables
    >>> tables = load_tables(run)  # doctest: +SKIP
    >>> sorted(tables["board"]["target"].unique())  # doctest: +SKIP
    ['hand', 'lesions', 'network', 'signs']
    """
    folder = run.file("gradcam", "scores.json").parent
    return {file.stem: read_table(file) for file in sorted(folder.glob("*.csv"))}


def load_maps(run: Run) -> dict[str, np.ndarray]:
    """Load the heat maps of step 04.

    Returns
    -------
    dict
        Method -> float32 array (m, S, S), in the order of the table `films`.

    Raises
    ------
    MissingArtefactError
        If step 04 has not been run.

    Examples
    --------
    >>> from rahelpers.explanation import load_maps
    >>> maps = load_maps(run)  # doctest: +SKIP
    >>> maps["gradcam"].shape  # doctest: +SKIP
    (8, 48, 48)
    """
    with np.load(run.file("gradcam", "maps.npz")) as saved:
        return {name: saved[name] for name in saved.files}


def load_values(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Load the tables of step 05.

    Returns
    -------
    films : DataFrame
        image_id, patient_id, label, condition, row, base, logit, error, fit, baseline (its kind),
        base_positive (whether the network calls the film with every region hidden positive).
    values : DataFrame
        One row per region and film: image_id, region, value, standard_error, owen.

    Raises
    ------
    MissingArtefactError
        If step 05 has not been run.

    Examples
    --------
    >>> from rahelpers import explain_shap
    >>> from rahelpers.explanation import load_values
    >>> scores = explain_shap(run)
    05_shap: reused, its inputs have not changed.
    >>> films, values = load_values(run)
    >>> len(films), list(values)
    (4, ['image_id', 'region', 'value', 'standard_error', 'owen'])
    """
    return read_table(run.file("shap", "films.csv")), read_table(run.file("shap", "values.csv"))


def show_sanity(summary: pd.DataFrame, title: str) -> pd.io.formats.style.Styler:
    """Show the sanity table for people: a row per method, a column per test.

    Each cell holds verdict and interval; the caption has the counts.

    Parameters
    ----------
    summary : DataFrame
        As `summarise_sanity` returns it.
    title : str
        Task and source.

    Returns
    -------
    pandas.io.formats.style.Styler

    Examples
    --------
    >>> from rahelpers.explanation import show_sanity
    >>> row = {"method": "edges", "test": "random network", "value": 1.0, "low": 1.0, "high": 1.0}
    >>> row |= {"films": 8, "patients": 8, "verdict": "fails"}
    >>> show_sanity(pd.DataFrame([row]), "an example").data.iloc[0].to_dict()
    {'random network (rank correlation, passes below 0.5)': 'fails: 1.00 (1.00 to 1.00)'}
    """

    def say(row: pd.Series) -> str:
        digits = 3 if row["test"] == "lesion removed" else 2
        return f"{row['verdict']}: {interval_text(row, digits=digits)}"

    # a row per method and a column per test, in the order of the summary
    text = summary.assign(text=summary.apply(say, axis=1))
    wide = text.pivot(index="method", columns="test", values="text")
    tests = list(summary["test"].unique())
    wide = wide.reindex(index=summary["method"].unique(), columns=tests).rename_axis(index=None)

    # the head of a column says what the test is about
    limits = {
        "random network": f"rank correlation, passes below {SIMILAR}",
        "shuffled labels": f"rank correlation, passes below {SIMILAR}",
        "another seed": f"rank correlation, passes above {SIMILAR}",
        "small changes": f"rank correlation, passes above {SIMILAR}",
        "lesion removed": "heat that leaves the lesions, passes above 0",
    }
    wide.columns = [f"{test} ({limits[test]})" for test in tests]
    caption = (
        f"{escape(title)} · {summary['films'].max()} films of {summary['patients'].max()}"
        " patients · mean over patients (95 %)"
    )
    return wide.fillna("not known").style.set_caption(caption).set_uuid("sanity")
