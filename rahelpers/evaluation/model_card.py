"""A model card and a reporting checklist of a run, written by step 03.

Their words are in `display/templates`. What the run knows is filled in; what only a person can
answer is visibly left open, as in the datasheet of step 01.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.datasheet import OPEN
from rahelpers.display.pages import render_text
from rahelpers.evaluation.tables import metrics_table, show_score
from rahelpers.scores.intervals import interval_text
from rahelpers.scores.metrics import say_few_validation

STARTS = {"none": "random weights", "imagenet": "weights trained on ImageNet"}


def describe_model(
    config: RunConfig, info: dict[str, Any], metrics: dict[str, Any], subgroups: pd.DataFrame
) -> str:
    """Write the model card as Markdown.

    Parameters
    ----------
    config : RunConfig
    info : dict
        The content of `bundle.json`.
    metrics : dict
        The content of `metrics.json`.
    subgroups : DataFrame
        As `compute_subgroups` returns it, for the test split.

    References
    ----------
    Mitchell et al., Model cards for model reporting, FAT* 2019, arXiv 1810.03993.
    """
    strange = [row for row in metrics["strange"] if row["score"] == "distance"]
    few = subgroups[(subgroups["warning"] != "") & (subgroups["group"] != "all")]
    return render_text(
        "model_card.md.j2",
        **_shared(config, info, metrics),
        interval=interval_text,
        versions=[f"{name} {version}" for name, version in sorted(info["versions"].items())],
        scores=metrics_table(metrics),
        subgroups=subgroups.to_dict("records"),
        few_groups=few["value"].tolist(),
        few_validation=say_few_validation(info["validation"]),
        caught=[f"{row['kind']} {row['warned']:.0%}" for row in strange],
        probes=metrics["probes"],
    )


def fill_checklist(
    config: RunConfig, info: dict[str, Any], metrics: dict[str, Any], manifest: pd.DataFrame
) -> str:
    """Write a checklist for reporting the study, in the order of TRIPOD+AI and CLAIM.

    It is a short form in our own words and does not replace the published lists. Items are answered
    as far as the run knows the answer.

    Parameters
    ----------
    config : RunConfig
    info : dict
        The content of `bundle.json`.
    metrics : dict
        The content of `metrics.json`.
    manifest : DataFrame
        The curated cohort.

    References
    ----------
    Collins et al., TRIPOD+AI, BMJ 2024;385:e078378; Tejani et al., CLAIM 2024 update, Radiol Artif
    Intell 2024;6(4):e240300.
    """
    columns = {"age": "age", "sex": "sex", "side": "laterality", "hospital": "centre"}
    facts = manifest[list(columns.values())]
    unknown = (facts.isna() | (facts == "")).sum()
    return render_text(
        "checklist.md.j2",
        **_shared(config, info, metrics),
        missing=[
            f"{name} not known for {unknown[column]} of {len(manifest)} films"
            for name, column in columns.items()
        ],
        sizes=[f"{split}: {_counts(scores)}" for split, scores in metrics["splits"].items()],
    )


def _shared(config: RunConfig, info: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """What both templates need."""
    return {
        "config": config,
        "info": info,
        "metrics": metrics,
        "start": STARTS.get(config.weights, "weights from a file"),
        "counts": _counts,
        "show": show_score,
        "open": OPEN,
    }


def _counts(scores: dict[str, Any]) -> str:
    c = scores["counts"]
    return (
        f"{c['films_positive']} positive films of {c['patients_positive']} patients,"
        f" {c['films_negative']} negative films of {c['patients_negative']}"
    )
