"""A datasheet of a curated cohort, after Gebru et al., Datasheets for datasets, Commun ACM
2021;64(12):86.

Its words are in `display/templates/datasheet.md.j2`. What the data can answer is filled in; what
only a person can answer is visibly left open.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.duplicates import SAME
from rahelpers.curation.splits import find_leaks, splits_of, warn_about_splits
from rahelpers.data.sources.words import show_cell
from rahelpers.display.pages import as_code, render_text

MOST_VALUES = 12  # of a label column that are listed one by one
MOST_EXCLUDED = 50  # films that are listed with their reasons
OPEN = "**TO BE WRITTEN BY A PERSON:**"


def describe_cohort(
    config: RunConfig,
    tables: dict[str, pd.DataFrame],
    values: pd.Series,
    notes: Sequence[str] = (),
) -> str:
    """Write the datasheet as Markdown.

    Parameters
    ----------
    config : RunConfig
    tables : dict
        manifest, excluded, quality and pairs, as step 01 writes them.
    values : Series, n rows
        What the label of each film in the manifest was made from, as the source has it; None where
        the source knows only the label.
    notes : sequence of str
        How the source's tables were read, as `describe_source` says it.
    """
    manifest, pairs = tables["manifest"], tables["pairs"]
    splits = manifest.groupby("split").agg(
        films=("label", "size"), patients=("patient_id", "nunique"), positive=("label", "sum")
    )
    return render_text(
        "datasheet.md.j2",
        config=config,
        open=OPEN,
        span=_span,
        tally=_tally,
        manifest=manifest,
        films_of_patient=manifest.groupby("patient_id").size(),
        label_rule=_label_rule(config),
        label_values=describe_values(values),
        notes=notes,
        findings=tables["quality"].groupby(["check", "action"])["image_id"].nunique(),
        excluded=tables["excluded"],
        most_excluded=MOST_EXCLUDED,
        pairs=pairs,
        n_same=int(pairs["verdict"].isin(SAME).sum()),
        splits=splits.loc[splits_of(manifest)],
        n_leaks=len(find_leaks(manifest)),
        warnings=warn_about_splits(manifest),
    )


def _span(values: pd.Series, unit: str = "") -> str:
    """Range and median of a column."""
    known = pd.to_numeric(values, errors="coerce").dropna()
    if known.empty:
        return "not known for any film"
    n_missing = len(values) - len(known)
    missing = f"; not known for {n_missing} films" if n_missing else ""
    return f"{known.min():g} to {known.max():g}{unit}, median {known.median():g}{missing}"


def _tally(values: pd.Series) -> str:
    """How many films have each value of a column."""
    counts = values.astype(str).value_counts()
    return ", ".join(f"{name or 'not known'} {n}" for name, n in counts.items())


def _label_rule(config: RunConfig) -> str:
    if config.source == "phantom":
        return "the disease of the phantom patient"
    is_threshold = config.positive[:1] in "<>="
    rule = config.positive if is_threshold else f"= {config.positive}"
    return f"column {as_code(config.label_column)}, rule {as_code(rule)}"


def describe_values(values: pd.Series) -> str:
    """What labels were made from: each value and its number of films; of many numbers the range.

    Parameters
    ----------
    values : Series
        As `describe_cohort` takes them.
    """
    known = values.dropna()
    if known.empty:
        return "the label itself"
    numbers = pd.to_numeric(known, errors="coerce")
    if known.nunique() > MOST_VALUES and numbers.notna().all():
        return f"{known.nunique()} values, {_span(numbers)}"
    counts = known.map(show_cell).value_counts()
    more = f", and {len(counts) - MOST_VALUES} more values" if len(counts) > MOST_VALUES else ""
    return ", ".join(f"{value} {n}" for value, n in counts.iloc[:MOST_VALUES].items()) + more
