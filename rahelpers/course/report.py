"""The report: a run on one HTML page that needs no other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from markupsafe import Markup

from rahelpers.core.store import NOTEBOOK_OF, STEPS, Run, library_versions, read_table, write_text
from rahelpers.display.pages import render_page
from rahelpers.evaluation.tables import load_table, metrics_table, show_score
from rahelpers.explanation.scoreboard import show_board
from rahelpers.explanation.tables import load_tables, show_sanity
from rahelpers.scores.intervals import interval_text
from rahelpers.scores.metrics import say_few_validation
from rahelpers.training.folds import score_folds

SETTINGS = (
    "profile",
    "source",
    "seed",
    "image_size",
    "architecture",
    "weights",
    "train_from",
    "precision",
    "epochs",
    "n_bootstrap",
)
# what a heat map is compared with, in words
TARGETS = {
    "lesions": "lesions (erosions, narrowed or fused joints)",
    "signs": "all signs of the disease",
    "hand": "the hand",
    "network": "the network's answer",
}


def collect_figures(notebook: Path) -> tuple[str, list[str]]:
    """Title and figures (HTML with alt text) of an executed notebook."""
    book = nbformat.read(notebook, as_version=4)
    prose = (c.source for c in book.cells if c.cell_type == "markdown")
    titles = (line for source in prose for line in source.splitlines() if line.startswith("# "))
    title = next(titles, notebook.stem).lstrip("# ")
    outputs = (output for cell in book.cells for output in cell.get("outputs", []))
    html = ("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    return title, [one for one in html if "<figure" in one]


def write_report(run: Run) -> Path:
    """Write `report.html` into the run's folder.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    MissingArtefactError
        If a step has not been run.

    Examples
    --------
    >>> from rahelpers import Run, course, make_config
    >>> course.write_report(Run(make_config(run_dir="runs/new")))
    Traceback (most recent call last):
        ...
    rahelpers.core.store.MissingArtefactError: 03_evaluate/record.json is missing from run 'new'...
    """
    # what the steps wrote
    metrics = json.loads(run.file("evaluate", "metrics.json").read_text())
    title, tables = metrics["title"], load_tables(run)
    board = tables["board"]
    records = {step: run.read_record(step) for step in STEPS}
    files = [
        (f"{STEPS[s].folder}/{name}", digest)
        for s, record in records.items()
        for name, digest in record["files"].items()
    ]

    # what the executed notebooks drew
    notebooks = [
        run.folder / "notebooks" / f"{name}.ipynb" for name in dict.fromkeys(NOTEBOOK_OF.values())
    ]
    sections = [collect_figures(notebook) for notebook in notebooks if notebook.exists()]

    html = render_page(
        "report.html.j2",
        title=title,
        phantom=run.config.source == "phantom",
        name=run.folder.name,
        interval=metrics["interval"],
        operating_point=metrics["operating_point"],
        gap=show_score(metrics["gap"], metrics["gap"]["few"]),
        few={split: scores["few"] for split, scores in metrics["splits"].items() if scores["few"]},
        few_validation=say_few_validation(metrics["validation"]),
        conformal=metrics["conformal"],
        show=show_score,
        metrics=Markup(metrics_table(metrics).to_html(border=0)),
        trainings=_to_html(show_trainings(pd.read_csv(run.file("repeat", "scores.csv")))),
        folds=_say_folds(run),
        calibrators=_to_html(show_calibrators(load_table(run, "calibrators"))),
        probes=_to_html(show_probes(load_table(run, "shortcuts_probes"))),
        strange=_to_html(show_strange(load_table(run, "strange"))),
        explanations=_explanations(run),
        boards=[
            (TARGETS[t], Markup(show_board(board, t, title).to_html()))
            for t in TARGETS
            if t in set(board["target"])
        ],
        sanity=Markup(show_sanity(tables["sanity"], title).to_html()),
        sections=[
            (heading, [Markup(f) for f in figures]) for heading, figures in sections if figures
        ],
        versions=library_versions(),
        settings=run.config.subset(*SETTINGS),
        files=files,
    )
    write_text(run.folder / "report.html", html)
    return run.folder / "report.html"


def _to_html(table: pd.DataFrame) -> Markup:
    return Markup(table.to_html(border=0, index=False))


def _range(row: Any, name: str, low: str, high: str) -> str:
    """A value with its interval; a dash if it is missing."""
    found = {"value": getattr(row, name), "low": getattr(row, low), "high": getattr(row, high)}
    return "–" if pd.isna(found["value"]) else interval_text(found)


def show_trainings(scores: pd.DataFrame) -> pd.DataFrame:
    """The run's own training and every repeated one, in words: one row per training.

    Parameters
    ----------
    scores : DataFrame
        `scores.csv` of step `repeat` (`rahelpers.training.repeat`).
    """
    words = {
        "run": "this run",
        "fold": "cross-validation, fold {:g}",
        "seed": "seed {:g}",
        "share": "{:.0%} of the training patients",
        "resolution": "{:g} px",
        "shuffled": "labels shuffled",
    }
    rows = [
        {
            "training": words[row.kind].format(row.value),
            "training patients": row.patients,
            "AUC train": "–" if pd.isna(row.train_auc) else f"{row.train_auc:.2f}",
            "AUC validation": "–" if pd.isna(row.validation_auc) else f"{row.validation_auc:.2f}",
            "AUC on held-out films": _range(row, "test_auc", "test_low", "test_high"),
            "train minus held out": _range(row, "gap", "gap_low", "gap_high"),
            "positive / negative held-out films": f"{row.films_positive} / {row.films_negative}",
        }
        for row in scores.itertuples()
    ]
    return pd.DataFrame(rows)


def _say_folds(run: Run) -> str:
    """AUC of the cross-validation in words; '' if there was none."""
    held_out = read_table(run.file("repeat", "held_out.csv"))
    if held_out.empty:
        return ""
    found = score_folds(held_out)
    counts = found["counts"]
    return (
        "Cross-validated by patient: each film was scored by a network that saw no patient of its"
        f" fold. AUC {show_score(found['auc'])}, {counts['films_positive']} positive and"
        f" {counts['films_negative']} negative films."
    )


def show_calibrators(table: pd.DataFrame) -> pd.DataFrame:
    """`calibrators.csv` in words."""
    rows = [
        {
            "calibration": row.calibrator,
            "fitted on films": row.fitted_films,
            "Brier score": _range(row, "brier", "brier_low", "brier_high"),
            "calibration error": _range(row, "ece", "ece_low", "ece_high"),
            "error if perfectly calibrated": f"{row.ece_if_calibrated:.2f}",
            "test films": row.films,
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows)


def show_probes(table: pd.DataFrame) -> pd.DataFrame:
    """`shortcuts_probes.csv` in words."""
    rows = [
        {
            "removed or swapped": f"{row.part}, {row.done}",
            "AUC then": f"not shown: {row.few}" if row.few else f"{row.auc:.2f}",
            "AUC lost": _range(row, "less", "low", "high"),
            "classifications that change": _range(row, "changed", "changed_low", "changed_high"),
            "test films": row.films,
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows)


def show_strange(table: pd.DataFrame) -> pd.DataFrame:
    """`strange.csv` in words: the score that the bundle uses, one row per kind of picture."""
    rows = [
        {
            "pictures": row.kind,
            "AUC against test films": _range(row, "auc", "low", "high"),
            "beyond the bundle's limit": f"{row.warned:.0%}",
            "pictures / test films": f"{row.pictures} / {row.films}",
        }
        for row in table[table["score"] == "distance"].itertuples()
    ]
    return pd.DataFrame(rows)


def _explanations(run: Run) -> Markup:
    """Scores of the explanations next to chance, as a table."""

    def show(value: Any) -> str:
        if value is None:
            return "not known for this source"
        return interval_text(value) if isinstance(value, dict) else f"{value:.2g}"

    cam = json.loads(run.file("gradcam", "scores.json").read_text())
    shap = json.loads(run.file("shap", "scores.json").read_text())
    nothing = dict.fromkeys(("hit_rate", "chance_of_hit", "energy", "chance")) | {"films": 0}
    rows = []
    for name, words in (
        ("lesions", "a lesion (erosion, narrowed or fused joint)"),
        ("signs", "any sign of the disease (also swelling, bone loss, slipped joints)"),
    ):
        score = cam[name] or nothing
        of_hit, share = show(score["chance_of_hit"]), show(score["chance"])
        counts = f"{score['films']} films that have one"
        hit, inside = show(score["hit_rate"]), show(score["energy"])
        rows += [
            (f"Grad-CAM: hottest point is in {words}", hit, of_hit, counts),
            (f"Grad-CAM: share of the hand's heat inside {words}", inside, share, counts),
        ]
    site, films = show(shap["top_site_diseased"]), f"{shap['films_with_scores']} films"
    error = show(shap["largest_additivity_error"])
    rows += [
        ("SHAP: strongest site is a diseased one", site, show(shap["chance"]), films),
        ("SHAP: baselines that the network calls positive", *_judge_baselines(shap)),
        ("SHAP: largest additivity error, logits", error, "0", f"{shap['films']} films"),
    ]
    return _to_html(pd.DataFrame(rows, columns=["question", "found", "chance", "counts"]))


def _judge_baselines(shap: dict[str, Any]) -> tuple[str, str, str]:
    """What the network says of the films with every region hidden: found, wanted, counts."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in shap["baselines"].items())
    return f"{shap['positive_baselines']} of {shap['films']}", "0", kinds
