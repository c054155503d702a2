"""The report: one HTML page of a run that needs no other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from markupsafe import Markup

from rahelpers.artifacts import NOTEBOOK_OF, STEPS, Run, library_versions, write_text
from rahelpers.evaluation import metrics_table, show_score
from rahelpers.pages import render_page


def collect_figures(notebook: Path) -> tuple[str, list[str]]:
    """Title and figures (HTML with alt text) of an executed notebook."""
    book = nbformat.read(notebook, as_version=4)
    title = next(
        (line.lstrip("# ") for c in book.cells if c.cell_type == "markdown" for line in c.source.splitlines() if line.startswith("# ")),
        notebook.stem,
    )
    figures = [
        "".join(output["data"]["text/html"])
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "<figure" in "".join(output.get("data", {}).get("text/html", ""))
    ]
    return title, figures


def write_report(run: Run) -> Path:
    """Write `report.html` into the run's folder.

    Raises
    ------
    MissingArtefact
        If a step has not been run.
    """
    metrics = json.loads(run.file("evaluate", "metrics.json").read_text())
    records = {step: run.read_record(step) for step in STEPS}
    files = [(f"{STEPS[s][0]}/{name}", digest) for s, record in records.items() for name, digest in record["files"].items()]
    sections = [
        collect_figures(run.folder / "notebooks" / f"{name}.ipynb") for name in NOTEBOOK_OF.values() if (run.folder / "notebooks" / f"{name}.ipynb").exists()
    ]
    html = render_page(
        "report.html.j2",
        title=metrics["title"],
        phantom=run.config.source == "phantom",
        name=run.folder.name,
        interval=metrics["interval"],
        operating_point=metrics["operating_point"],
        gap=show_score(metrics["gap"], metrics["gap"]["few"]),
        few={split: scores["few"] for split, scores in metrics["splits"].items() if scores["few"]},
        conformal=metrics["conformal"],
        show=show_score,
        metrics=Markup(metrics_table(metrics).to_html(border=0)),
        scores=_explanations(run),
        sections=[(title, [Markup(f) for f in figures]) for title, figures in sections],
        versions=library_versions(),
        settings=run.config.subset("profile", "source", "seed", "image_size", "architecture", "weights", "epochs", "n_bootstrap"),
        files=files,
    )
    write_text(run.folder / "report.html", html)
    return run.folder / "report.html"


def _explanations(run: Run) -> Markup:
    """Scores of the explanations beside chance, as a table; what the source cannot know is said."""

    def show(value: Any) -> str:
        if value is None:
            return "not known for this source"
        return f"{value['value']:.2f} ({value['low']:.2f}–{value['high']:.2f})" if isinstance(value, dict) else f"{value:.2g}"

    cam = json.loads(run.file("gradcam", "scores.json").read_text())
    shap = json.loads(run.file("shap", "scores.json").read_text())
    rows = []
    for name, words in (
        ("lesions", "a lesion (erosion, narrowed or fused joint)"),
        ("signs", "any sign of the disease (also swelling, bone loss, slipped joints)"),
    ):
        score = cam[name] or {"hit_rate": None, "chance": None, "energy": None, "films": 0}
        counts = f"{score['films']} films that have one"
        rows.append((f"Grad-CAM: hottest point lies in {words}", show(score["hit_rate"]), show(score["chance"]), counts))
        rows.append((f"Grad-CAM: share of the hand's heat inside {words}", show(score["energy"]), show(score["chance"]), counts))
    rows += [
        ("SHAP: strongest region is a diseased site", show(shap["top_site_diseased"]), show(shap["chance"]), f"{shap['films_with_scores']} films"),
        ("SHAP: largest additivity error, logits", show(shap["largest_additivity_error"]), "0", f"{shap['films']} films"),
    ]
    return Markup(pd.DataFrame(rows, columns=["question", "found", "chance", "counts"]).to_html(border=0, index=False))
