"""Training: from a curated cohort to a bundle. A killed training continues at its last epoch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rahelpers.core.store import (
    Run,
    Step,
    library_versions,
    sha256_of,
    weights_fingerprint,
    write_json,
)
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.network.backend import keras
from rahelpers.network.bundle import FAMILIARITY_FILE, Bundle, load_bundle
from rahelpers.network.familiarity import extract_features, write_familiarity
from rahelpers.network.precision import choose_precision
from rahelpers.network.vgg import change_precision, gradcam_layer
from rahelpers.scores.calibration import calibrate, choose_operating_point, fit_calibration
from rahelpers.scores.conformal import fit_conformal
from rahelpers.scores.metrics import ScoredFilms
from rahelpers.training.fitting import TRAINING_KEYS, fit_network

TRAIN_KEYS = ("seed", *TRAINING_KEYS, "operating_rule", "target_sensitivity")
OUTPUTS = "outputs.npz"
# shape a bundle only where operating_rule=cost: no network is trained again for another PPV
COST_KEYS = (
    "cost_ratio",
    "prevalence",
)


def train(run: Run) -> Bundle:
    """Step 02: train, choose the operating point and the calibration on films that did not train,
    write the bundle.

    Raises
    ------
    MissingArtefactError
        If step 01 has not been run.
    ValueError
        If mirroring is asked for where laterality is not known, or the weights cannot be had.
    """
    config = run.config
    keys = TRAIN_KEYS + (COST_KEYS if config.operating_rule == "cost" else ())
    step = run.step("train", config.subset(*keys), weights_fingerprint(config))
    if not step.is_done():
        _train(run, step, load_cohort(run))
    return load_bundle(step.folder / "bundle")


def _train(run: Run, step: Step, cohort: Cohort) -> None:
    config = run.config
    if config.mirror and not cohort.manifest["laterality"].isin(["L", "R"]).all():
        raise ValueError(
            "mirror=True: expected every film's laterality to be known; set laterality_column, or"
            " leave mirror off"
        )
    callbacks = [_tensorboard(run)] if config.tensorboard else []
    labels = cohort.manifest["label"].to_numpy()
    fit = fit_network(
        cohort.images,
        labels,
        cohort.split("train"),
        cohort.split("validation"),
        config,
        config.seed,
        step.partial(),
        features_folder(run),
        callbacks,
    )
    write_bundle(run, step, fit.model, cohort)
    step.write("history.csv", lambda p: fit.history.to_csv(p, index=False))
    step.finish()


def features_folder(run: Run) -> Path:
    """Where outputs of frozen layers are kept, for all runs beside this one."""
    return run.folder.parent / ".cache" / "features"


def _tensorboard(run: Run) -> keras.callbacks.Callback:
    if find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard=True: the package is not installed; pip install tensorboard, or leave"
            " tensorboard off"
        )
    return keras.callbacks.TensorBoard(run.folder / "tensorboard")


def load_outputs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """What the run's network makes of every film of the cohort, in the manifest's order.

    Returns
    -------
    logits : float64 array (n,)
    features : float32 array (n, F)
        What the last layer reads.

    Raises
    ------
    MissingArtefactError
        If step 02 has not been run.
    """
    with np.load(run.file("train", OUTPUTS)) as kept:
        return kept["logits"], kept["features"]


def write_bundle(run: Run, step: Step, model: keras.Model, cohort: Cohort) -> None:
    """Write `bundle/model.keras` and `bundle/bundle.json`, and beside the bundle what its network
    makes of every film (`load_outputs`).

    The validation films choose the calibration and the operating point.
    """
    config, labels = run.config, cohort.manifest["label"].to_numpy()
    train, validation = cohort.split("train"), cohort.split("validation")
    file = step.write("bundle/model.keras", model.save)
    logits, features = extract_features(change_precision(model, config.precision), cohort.images)
    step.write(OUTPUTS, lambda p: np.savez(p, logits=logits, features=features))
    temperature, offset = fit_calibration(logits[validation], labels[validation])
    probability = calibrate(logits[validation], temperature, offset)
    familiar = step.write(
        f"bundle/{FAMILIARITY_FILE}",
        lambda p: write_familiarity(
            p,
            features,
            cohort.images,
            cohort.manifest,
            train,
            validation,
            config.source,
            config.seed,
        ),
    )
    point = choose_operating_point(
        labels[validation],
        probability,
        config.operating_rule,
        config.target_sensitivity,
        config.cost_ratio,
        config.prevalence,
    )
    info = {
        "title": config.title,
        "task": config.class_names[1],
        "class_names": list(config.class_names),
        "source": config.source,
        "architecture": config.architecture,
        "precision": choose_precision(config.precision),
        "image_size": config.image_size,
        "mirror_right": True,
        "preprocessing": (
            "hand found, cropped, turned upright, right hands mirrored, grey values normalised"
            " (rahelpers.films.normalisation.to_network_input)"
        ),
        "gradcam_layer": gradcam_layer(model),
        "temperature": temperature,
        "offset": offset,
        "operating_point": point | {"chosen_on": "validation"},
        "conformal": fit_conformal(
            ScoredFilms(
                labels[validation], probability, cohort.manifest["patient_id"].iloc[validation]
            )
        ),
        "training": {
            "films": len(train),
            "patients": int(cohort.manifest["patient_id"].iloc[train].nunique()),
            "positive_films": int(labels[train].sum()),
            "parameters": int(model.count_params()),
        },
        "versions": library_versions(),
        "files": {path.name: sha256_of(path) for path in (file, familiar)},
    }
    write_json(step.folder / "bundle" / "bundle.json", info)
