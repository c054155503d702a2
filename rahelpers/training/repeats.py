"""Step 02, second part: train again, to learn how much one training says.

Cross-validation, other seeds, fewer patients, smaller films, shuffled labels: each training is a
job of its own, on this machine or on a cluster.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from rahelpers.core.config import RunConfig
from rahelpers.core.store import (
    STEPS,
    Run,
    Step,
    read_table,
    weights_fingerprint,
    write_atomically,
    write_json,
)
from rahelpers.core.workers import map_in_order
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.curation.splits import check_folds, check_share
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits
from rahelpers.network.vgg import change_precision
from rahelpers.scores.calibration import calibrate, fit_calibration
from rahelpers.scores.intervals import auc_interval, gap_interval
from rahelpers.scores.metrics import FEW_FILMS, ScoredFilms, compute_auc
from rahelpers.training.fitting import FEWEST_TO_CHOOSE, TRAINING_KEYS, fit_network
from rahelpers.training.step import count_patients, features_folder, load_outputs

KEPT = ("seed", "shuffled")  # kinds of jobs whose networks the sanity tests of step 04 need
REPEAT_KEYS = ("folds", "seeds", "learning_curve", "resolutions", "shuffled_labels")
RERUN_KEYS = (
    "seed",
    "test_fraction",
    "validation_fraction",
    *TRAINING_KEYS,
    *REPEAT_KEYS,
)
SCORE_COLUMNS = [
    *("kind", "value", "patients", "train_auc", "validation_auc"),
    *("test_auc", "test_low", "test_high", "gap", "gap_low", "gap_high"),
    *("films_positive", "films_negative"),
]
HELD_OUT_COLUMNS = ["image_id", "patient_id", "label", "fold", "logit", "probability"]


@dataclass(frozen=True)
class RepeatJob:
    """One of the trainings to repeat.

    Attributes
    ----------
    kind : {'fold', 'seed', 'share', 'resolution', 'shuffled'}
    value : float
        Number of the fold or seed, share of the training patients, or side of the input in pixels;
        0 for shuffled labels.
    """

    kind: str
    value: float

    @property
    def name(self) -> str:
        """Kind and value, as in the names of the job's files."""
        return f"{self.kind}-{self.value:g}"


def list_jobs(config: RunConfig) -> list[RepeatJob]:
    """List the trainings that a configuration asks for, in the order in which they are done."""
    return [
        *(RepeatJob("fold", k) for k in range(1, config.folds + 1)),
        *(RepeatJob("seed", s) for s in range(2, config.seeds + 1)),
        *(RepeatJob("share", s) for s in config.number_list("learning_curve", float, 0.01, 1.0)),
        *(
            RepeatJob("resolution", r)
            for r in config.number_list("resolutions", int, 32, 512)
            if r < config.image_size
        ),
        *([RepeatJob("shuffled", 0)] if config.shuffled_labels else []),
    ]


def repeat(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the second part of step 02: train again, as the configuration asks.

    After a kill it resumes with the job and the epoch where it was. The networks of other seeds and
    of shuffled labels are kept (`load_networks`).

    Returns
    -------
    scores : DataFrame
        One row per training, first the run's own (kind 'run'): kind, value, patients (of train),
        train_auc, validation_auc, test_auc with test_low and test_high (95 %, over patients),
        gap (train minus test) with gap_low and gap_high, films_positive and films_negative (of
        test). An AUC is missing if a class has fewer films than FEW_FILMS in
        `rahelpers.scores.metrics`, the gap if either AUC is. Shuffled labels have no validation:
        the epoch with the best AUC of their own training films is kept.
    held_out : DataFrame
        Cross-validation, one row per film: image_id, patient_id, label, fold, logit, probability
        (calibrated within the fold). Empty without folds.

    Raises
    ------
    MissingArtefactError
        If steps 01 and 02 have not been run.
    ValueError
        If a share or a fold would leave too few patients of a class.

    Examples
    --------
    >>> from rahelpers import Run
    >>> from rahelpers.training import repeat
    >>> scores, held_out = repeat(Run(run.config.replace(folds=40)))
    Traceback (most recent call last):
    ValueError: folds=40: the rarer class has ... patients; expected at least 80, two per fold
    """
    config = run.config
    step = run.step("repeat", config.subset(*RERUN_KEYS), weights_fingerprint(config))
    if not step.is_done():
        _repeat(run, step)
    return read_table(step.folder / "scores.csv"), read_table(step.folder / "held_out.csv")


def _repeat(run: Run, step: Step) -> None:
    cohort, jobs = load_cohort(run), list_jobs(run.config)
    for job in jobs:
        choose_rows(cohort, job, run.config)  # an impossible job is an error before any training

    # each job's result is a file, so that a resumed run repeats no finished job
    folder = step.partial()
    waiting = [job for job in jobs if not _is_done(folder, job)]
    config = run.config.replace(run_dir=str(run.folder.resolve()))
    function = partial(do_job, config=config, folder=folder.resolve())
    done = map_in_order(function, waiting, config.dask, STEPS["repeat"].packages)
    for job, found in zip(waiting, done, strict=True):
        write_json(_file(folder, job), found)
    results = [(job, _read(_file(folder, job))) for job in jobs]

    # keep networks, but not those of an earlier configuration
    shutil.rmtree(step.folder / "networks", ignore_errors=True)
    for job in jobs:
        if job.kind in KEPT:
            copy = partial(shutil.copyfile, _network_file(folder, job))
            step.write(f"networks/{job.name}.keras", copy)

    scores, held_out = _score(run, cohort, results), _held_out(cohort, results)
    step.write("scores.csv", lambda p: scores.to_csv(p, index=False))
    step.write("held_out.csv", lambda p: held_out.to_csv(p, index=False))
    step.finish()


def _file(folder: Path, job: RepeatJob) -> Path:
    return folder / f"{job.name}.json"


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _is_done(folder: Path, job: RepeatJob) -> bool:
    """Whether the files of a finished job are there and can be read."""
    try:
        _read(_file(folder, job))
        return job.kind not in KEPT or zipfile.is_zipfile(_network_file(folder, job))
    except (FileNotFoundError, ValueError):
        return False


def _network_file(folder: Path, job: RepeatJob) -> Path:
    return folder / job.name / "network.keras"


def load_networks(run: Run) -> dict[RepeatJob, keras.Model]:
    """Load the networks that were trained with other seeds, or on shuffled labels.

    Raises
    ------
    MissingArtefactError
        If `repeat` has not been run.
    """
    files = {
        job: run.file("repeat", f"networks/{job.name}.keras")
        for job in list_jobs(run.config)
        if job.kind in KEPT
    }
    return {
        job: keras.models.load_model(file, compile=False, safe_mode=True)
        for job, file in files.items()
    }


def do_job(job: RepeatJob, config: RunConfig, folder: Path) -> dict[str, Any]:
    """Train and score one job.

    The result does not depend on where it runs, up to rounding; with `deterministic`, to the bit.

    Parameters
    ----------
    job : RepeatJob
    config : RunConfig
        Of a run whose step 01 is done, in a folder that this process sees.
    folder : Path
        For the state after each epoch.

    Returns
    -------
    dict
        Plain numbers and lists: rows (of the training films, then of the films scored), and for
        each row labels, logits and probability; trained (number of training films), patients (that
        trained), validation_auc.
    """
    print(f"training again: {job.kind} {job.value:g}")

    # what this job changes: films, labels, seed or size
    cohort = load_cohort(Run(config))
    train, validation, scored = choose_rows(cohort, job, config)
    seed = config.seed + 1000 * int(job.value - 1) if job.kind == "seed" else config.seed
    if job.kind == "shuffled":
        cohort = dataclasses.replace(cohort, manifest=shuffle_labels(cohort.manifest, config.seed))
        # The network shall memorise its films (Zhang et al. 2017, arXiv 1611.03530): it always sees
        # them as they are, and the epoch that knows them best is kept.
        validation, config = train, config.replace(augment=False)
    if job.kind == "resolution":
        cohort = dataclasses.replace(cohort, images=_shrink(cohort.images, int(job.value)))
        config = config.replace(image_size=int(job.value), resolutions="")

    labels = cohort.manifest["label"].to_numpy()
    cache = features_folder(Run(config))
    # memorising is judged on the films themselves, however few they are
    enough = min(count_patients(cohort.manifest, validation)) >= FEWEST_TO_CHOOSE
    fit = fit_network(
        cohort.images,
        labels,
        train,
        validation,
        config,
        seed,
        folder / job.name,
        cache,
        choose=enough or job.kind == "shuffled",
    )
    if job.kind in KEPT:
        write_atomically(_network_file(folder, job), fit.model.save)

    # logits of the films that trained and of those to be scored, calibrated on the validation films
    fast = change_precision(fit.model, config.precision)
    seen = np.concatenate([train, scored])
    found = predict_logits(fast, cohort.images[seen])
    temperature, offset = fit_calibration(
        predict_logits(fast, cohort.images[validation]), labels[validation]
    )
    return {
        "rows": seen.tolist(),
        "labels": labels[seen].tolist(),
        "logits": found.tolist(),
        "probability": calibrate(found, temperature, offset).tolist(),
        "trained": len(train),
        "patients": int(cohort.manifest["patient_id"].iloc[train].nunique()),
        "validation_auc": (None if job.kind == "shuffled" else _kept_auc(fit.history)),
    }


def choose_rows(
    cohort: Cohort, job: RepeatJob, config: RunConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the rows that train, validate, and are scored.

    No patient is in two of them, and the split `external` is not used.

    Raises
    ------
    ValueError
        If a share or a fold would leave too few patients of a class.
    """
    train, validation, test = (cohort.split(name) for name in ("train", "validation", "test"))
    labels, patients = cohort.manifest["label"].to_numpy(), cohort.manifest["patient_id"].to_numpy()
    if job.kind == "share":
        return _take_share(train, labels, patients, job.value, config.seed), validation, test
    if job.kind != "fold":
        return train, validation, test

    # a fold holds out its share of all patients
    everyone = np.sort(np.concatenate([train, validation, test]))
    check_folds(cohort.manifest.iloc[everyone], config.folds)
    rest, held = _divide(everyone, labels, patients, config.folds, config.seed)[int(job.value) - 1]

    # the others train and validate, in the proportions of the run's own split; with few patients a
    # part may lack a class, and the next one is tried
    rarest = min(len(set(patients[rest][labels[rest] == c])) for c in (0, 1))
    inner = min(max(round((1 - config.test_fraction) / config.validation_fraction), 2), rarest)
    for learn, check in _divide(rest, labels, patients, inner, config.seed) if inner > 1 else []:
        if len(set(labels[learn])) == len(set(labels[check])) == 2:
            return learn, check, held
    raise ValueError(
        f"fold {job.value:g} of {config.folds}: {rarest} patients of the rarer class are left for"
        " train and validation, which is too few; use fewer folds"
    )


def _divide(
    rows: np.ndarray, labels: np.ndarray, patients: np.ndarray, parts: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide films by patient, stratified by class: for each part, the rows outside and inside."""
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed % 2**32)
    divided = folds.split(rows, labels[rows], patients[rows])
    return [(rows[outside], rows[inside]) for outside, inside in divided]


def _take_share(
    rows: np.ndarray, labels: np.ndarray, patients: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Take the films of the first patients of each class, in one random order.

    So a smaller share is part of a larger one.
    """
    ill = pd.Series(labels[rows]).groupby(patients[rows]).max().sort_index()
    order = ill.sample(frac=1, random_state=seed % 2**32)
    taken: set[str] = set()
    for label, group in order.groupby(order):
        taken |= set(group.index[: check_share(share, label, len(group))])
    return rows[np.isin(patients[rows], list(taken))]


def shuffle_labels(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shuffle the labels of a manifest among its patients; films of a patient share a label."""
    ill = manifest.groupby("patient_id")["label"].max()
    shuffled = pd.Series(np.random.default_rng(seed).permutation(ill.to_numpy()), index=ill.index)
    return manifest.assign(label=manifest["patient_id"].map(shuffled).to_numpy())


def _shrink(images: np.ndarray, side: int) -> np.ndarray:
    size, area = (side, side), cv2.INTER_AREA
    return np.stack([cv2.resize(np.asarray(i), size, interpolation=area) for i in images])


def _kept_auc(history: pd.DataFrame) -> float:
    """Validation AUC of the epoch whose weights were kept."""
    return float(history.loc[history["kept"], "validation_auc"].iloc[0])


def _score(run: Run, cohort: Cohort, results: list[tuple[RepeatJob, dict]]) -> pd.DataFrame:
    """The table of scores, with the run's own network first."""
    manifest = cohort.manifest
    patients, labels = manifest["patient_id"].to_numpy(), manifest["label"].to_numpy()
    own = np.concatenate([cohort.split("train"), cohort.split("test")])
    history = pd.read_csv(run.file("train", "history.csv"))
    first = {
        "rows": own,
        "labels": labels[own],
        "logits": load_outputs(run)[0][own],
        "trained": len(cohort.split("train")),
        "patients": manifest["patient_id"].iloc[cohort.split("train")].nunique(),
        "validation_auc": _kept_auc(history),
    }
    rows = []
    for job, found in [(RepeatJob("run", 0), first), *results]:
        films = ScoredFilms(found["labels"], found["logits"], patients[found["rows"]])
        is_train = np.arange(len(films)) < found["trained"]
        ours, theirs = films.take(is_train), films.take(~is_train)
        row: dict[str, Any] = {
            "kind": job.kind,
            "value": job.value,
            "patients": found["patients"],
            "validation_auc": found["validation_auc"],
        }
        enough = [
            min(np.bincount(part, minlength=2)) >= FEW_FILMS
            for part in (ours.labels, theirs.labels)
        ]
        if enough[0]:
            row["train_auc"] = compute_auc(ours.labels, ours.scores)
        if enough[1]:
            test = auc_interval(theirs)
            row |= {"test_auc": test["value"], "test_low": test["low"], "test_high": test["high"]}
        if all(enough):
            gap = gap_interval(ours, theirs)
            row |= {"gap": gap["value"], "gap_low": gap["low"], "gap_high": gap["high"]}
        rows.append(row | {k: v for k, v in theirs.counts().items() if k.startswith("films")})
    return pd.DataFrame(rows).reindex(columns=SCORE_COLUMNS)


def _held_out(cohort: Cohort, results: list[tuple[RepeatJob, dict]]) -> pd.DataFrame:
    """Each film's logit and probability, from the fold's network that did not train on it."""
    tables = []
    for job, found in results:
        if job.kind == "fold":
            rows = found["rows"][found["trained"] :]
            part = cohort.manifest.iloc[rows][["image_id", "patient_id", "label"]]
            tables.append(
                part.assign(
                    fold=int(job.value),
                    logit=found["logits"][found["trained"] :],
                    probability=found["probability"][found["trained"] :],
                )
            )
    empty = pd.DataFrame(columns=HELD_OUT_COLUMNS)
    return pd.concat(tables, ignore_index=True) if tables else empty
