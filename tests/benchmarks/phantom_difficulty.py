"""How hard the phantom is: the test AUC of `quick` on each spectrum.

    .venv/bin/python -m tests.benchmarks.phantom_difficulty [SEED ...]

Also its ceiling, and the AUC that is left if the disease is removed. Three spectra and three seeds
take about half an hour on 2 cores. Finished runs are reused. The figures are in docs/phantom.md.
"""

import click
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation.cohort import Cohort
from rahelpers.curation.step import curate
from rahelpers.evaluation.step import evaluate
from rahelpers.films.normalisation import to_network_input
from rahelpers.films.radiograph import Radiograph
from rahelpers.network.bundle import predict_logits
from rahelpers.phantom import SPECTRA, Patient, count_features, draw_findings, make_patient, render
from rahelpers.scores.intervals import Resampling, bootstrap_interval
from rahelpers.scores.metrics import ScoredFilms
from rahelpers.training.step import train

RESAMPLES = 1000


def patients_of(cohort: Cohort, run: Run) -> list[Patient]:
    """List the phantom patient of each row of the manifest."""
    return [
        make_patient(run.config.seed, int(p.removeprefix("P")), run.config.spectrum)
        for p in cohort.manifest["patient_id"]
    ]


def auc_without_disease(run: Run, cohort: Cohort, model: object) -> np.ndarray:
    """Compute logits of the test films without disease: same patients, same pose, same noise."""
    patients, sides, films = patients_of(cohort, run), cohort.manifest["laterality"], []
    for row in cohort.split("test"):
        width = int(cohort.manifest["width"].iloc[row])
        film = render(patients[row], sides[row], width, disease=None)
        read = Radiograph(film.image, film.spacing_mm, film.laterality)
        films.append(to_network_input(read, run.config.image_size).image)
    return predict_logits(model, np.stack(films))


def ceiling(run: Run, cohort: Cohort) -> np.ndarray:
    """Score the test films by a logistic regression on the true findings of the training films."""
    found = [
        count_features(draw_findings(p, "LR".index(s)))
        for p, s in zip(patients_of(cohort, run), cohort.manifest["laterality"], strict=True)
    ]
    table, labels, rows = pd.DataFrame(found), cohort.manifest["label"], cohort.split("train")
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        table.iloc[rows], labels.iloc[rows]
    )
    return reader.decision_function(table.iloc[cohort.split("test")])


def measure(spectrum: str, seed: int) -> dict[str, object]:
    """Measure one run, as one row of the table."""
    run = Run(
        make_config(
            profile="quick",
            spectrum=spectrum,
            seed=seed,
            run_dir=f"runs/difficulty-{spectrum}-{seed}",
        )
    )
    cohort, bundle = curate(run), train(run)
    metrics = evaluate(run)["splits"]
    test = cohort.manifest.iloc[cohort.split("test")]
    labels, patients = test["label"].to_numpy(), test["patient_id"].to_numpy()

    def shown(scores: np.ndarray) -> str:
        low, high = bootstrap_interval(
            roc_auc_score, ScoredFilms(labels, scores, patients), Resampling(RESAMPLES, 0)
        )
        return f"{roc_auc_score(labels, scores):.2f} ({low:.2f} to {high:.2f})"

    auc = {
        split: "{value:.2f} ({low:.2f} to {high:.2f})".format(**metrics[split]["auc"])
        for split in ("train", "test")
    }
    return {
        "spectrum": spectrum,
        "seed": seed,
        "films": len(cohort.manifest),
        "test films, RA": f"{labels.sum()} of {len(labels)}",
        "train AUC": auc["train"],
        "test AUC": auc["test"],
        "true findings": shown(ceiling(run, cohort)),
        "disease removed": shown(auc_without_disease(run, cohort, bundle.model)),
        "value": metrics["test"]["auc"]["value"],
    }


@click.command(help=__doc__)
@click.argument("seeds", nargs=-1, type=int)
def main(seeds: tuple[int, ...]) -> None:
    rows = []
    for spectrum in SPECTRA:
        for seed in seeds or (101, 102, 103):
            rows.append(measure(spectrum, seed))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.drop(columns="value").to_string(index=False))
    auc = table.groupby("spectrum", sort=False)["value"].agg(["mean", "min", "max"])
    print(auc.round(3).to_string())


if __name__ == "__main__":
    main()
