"""Step 03: scores of each split with intervals and counts, and what supports them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.store import Run, Step
from rahelpers.evaluation.model_card import describe_model, fill_checklist
from rahelpers.evaluation.probes import compute_probes
from rahelpers.evaluation.split_scores import compute_tables, describe_run, make_predictions
from rahelpers.evaluation.strange_films import compute_strange
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
    """Step 03: score every split with the bundle.

    Returns
    -------
    dict
        The content of `metrics.json`. `load_predictions` and `load_table` read the rest.

    Raises
    ------
    MissingArtefactError
        If step 01 or 02 has not been run.

    Examples
    --------
    >>> from rahelpers import evaluate
    >>> print("step 03"); metrics = evaluate(run)  # says so if an earlier result is reused
    step 03...
    >>> sorted(metrics["splits"]), metrics["splits"]["test"]["counts"]["patients"]
    (['test', 'train', 'validation'], 10)
    """
    step = run.step("evaluate", run.config.subset(*EVALUATE_KEYS))
    if not step.is_done():
        _evaluate(run, step)
    return json.loads(run.file("evaluate", "metrics.json").read_text())


def _evaluate(run: Run, step: Step) -> None:
    # imported here, so that bootstrap and tables work without starting TensorFlow
    from rahelpers.curation.cohort import load_cohort
    from rahelpers.network.bundle import load_bundle, predict_logits
    from rahelpers.network.familiarity import load_familiarity
    from rahelpers.training.step import load_outputs

    # what every film got from the network, and the scores of every split
    config, cohort = run.config, load_cohort(run)
    resampling = Resampling(config.n_bootstrap, config.seed)
    bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    known = load_familiarity(bundle)
    logits, features = load_outputs(run)
    predictions = make_predictions(cohort.manifest, logits, features, bundle, known)
    metrics = describe_run(
        config.title, config.source, bundle.info, predictions, resampling, config.prevalence
    )
    tables = compute_tables(predictions, "test", metrics)

    # calibrators, fitted on validation and compared on test
    validation = predictions[predictions["split"] == "validation"]
    calibrated = calibrate_each(predictions[predictions["split"] == "test"], validation)
    rows = cohort.split("test")
    test = ScoredFilms.from_table(predictions.iloc[rows])
    tables["calibrators"] = compare_calibrators(
        calibrated, test.labels, test.patients, len(validation), resampling
    )
    curves = {
        name: compute_calibration(ScoredFilms(test.labels, probability, test.patients))
        for name, probability in calibrated.items()
        if name != RAW
    }
    tables["calibration"] = pd.concat(
        [curve.assign(calibrator=name) for name, curve in curves.items()], ignore_index=True
    )

    # what the network does with changed films, and with pictures that are not such films
    films = np.asarray(cohort.images[rows])
    tables["shortcuts_probes"] = compute_probes(
        lambda images: bundle.probability(predict_logits(bundle.fast, images)),
        films,
        test.labels,
        test.patients,
        metrics["operating_point"]["probability"],
        resampling,
    )
    tables["strange"] = compute_strange(
        known, films, features[rows], logits[rows], test.patients, config.seed
    )

    # the files: tables, the card and the checklist, then all scores
    step.write("predictions.csv", partial(predictions.to_csv, index=False))
    for name, table in tables.items():
        step.write(f"{name}.csv", partial(table.to_csv, index=False))
    metrics |= {
        "probes": _as_records(tables["shortcuts_probes"]),
        "strange": _as_records(tables["strange"]),
        "calibrators": _as_records(tables["calibrators"]),
    }
    card = describe_model(config, bundle.info, metrics, tables["subgroups"])
    checklist = fill_checklist(config, bundle.info, metrics, cohort.manifest)
    step.write("model_card.md", lambda path: path.write_text(card, encoding="utf-8"))
    step.write("checklist.md", lambda path: path.write_text(checklist, encoding="utf-8"))
    step.write_json("metrics.json", metrics)
    step.finish()


def _as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for a JSON file, which cannot hold NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
