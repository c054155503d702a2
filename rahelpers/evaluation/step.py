"""Evaluation: scores of each split with intervals and the counts of both classes, and what they
rest on.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.store import Run, Step
from rahelpers.evaluation.model_card import describe_model, fill_checklist
from rahelpers.evaluation.probes import compute_probes
from rahelpers.evaluation.tables import (
    as_records,
    compute_strange,
    compute_tables,
    describe_run,
    make_predictions,
)
from rahelpers.scores.calibration import (
    RAW,
    calibrate_each,
    compare_calibrators,
    compute_calibration,
)
from rahelpers.scores.intervals import Resampling
from rahelpers.scores.metrics import ScoredFilms

EVALUATE_KEYS = ("seed", "n_bootstrap", "prevalence")


def evaluate(run: Run) -> dict[str, Any]:
    """Step 03: score every split with the bundle. Returns the content of `metrics.json`.

    Raises
    ------
    MissingArtefactError
        If step 01 or 02 has not been run.
    """
    config = run.config
    step = run.step("evaluate", config.subset(*EVALUATE_KEYS))
    if not step.is_done():
        _evaluate(run, step)
    return json.loads(run.file("evaluate", "metrics.json").read_text())


def _evaluate(run: Run, step: Step) -> None:
    # imported here, so that bootstrap and tables work without starting TensorFlow
    from rahelpers.curation.cohort import load_cohort
    from rahelpers.network.bundle import load_bundle, predict_logits
    from rahelpers.network.familiarity import load_familiarity
    from rahelpers.training.step import load_outputs

    config, cohort = run.config, load_cohort(run)
    resampling = Resampling(config.n_bootstrap, config.seed)
    bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    known = load_familiarity(bundle)
    logits, features = load_outputs(run)
    table = make_predictions(cohort.manifest, logits, features, bundle, known)
    metrics = describe_run(
        config.title, config.source, bundle.info, table, resampling, config.prevalence
    )
    rows = cohort.split("test")
    films, test = np.asarray(cohort.images[rows]), ScoredFilms.from_table(table.iloc[rows])
    tables = compute_tables(table, "test", metrics, resampling)
    validation = table[table["split"] == "validation"]
    calibrated = calibrate_each(table[table["split"] == "test"], validation)
    tables["calibrators"] = compare_calibrators(
        calibrated, test.labels, test.patients, len(validation), resampling
    )
    parts = [
        compute_calibration(ScoredFilms(test.labels, p, test.patients)).assign(calibrator=name)
        for name, p in calibrated.items()
        if name != RAW
    ]
    tables["calibration"] = pd.concat(parts, ignore_index=True)
    tables["shortcuts_probes"] = compute_probes(
        lambda x: bundle.probability(predict_logits(bundle.fast, x)),
        films,
        test.labels,
        test.patients,
        metrics["operating_point"]["probability"],
        resampling,
    )
    tables["strange"] = compute_strange(
        known, films, features[rows], logits[rows], test.patients, resampling
    )
    step.write("predictions.csv", lambda p: table.to_csv(p, index=False))
    for name, part in tables.items():
        step.write(f"{name}.csv", lambda p, t=part: t.to_csv(p, index=False))
    metrics |= {
        "probes": as_records(tables["shortcuts_probes"]),
        "strange": as_records(tables["strange"]),
        "calibrators": as_records(tables["calibrators"]),
    }
    subgroups = pd.read_csv(step.folder / "subgroups.csv", keep_default_na=False)
    for name, text in (
        ("model_card.md", describe_model(config, bundle.info, metrics, subgroups)),
        ("checklist.md", fill_checklist(config, bundle.info, metrics, cohort.manifest)),
    ):
        step.write(name, lambda p, t=text: p.write_text(t, encoding="utf-8"))
    step.write_json("metrics.json", metrics)
    step.finish()
