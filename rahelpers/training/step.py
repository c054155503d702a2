"""Step 02: train a network on a curated cohort, and write it as a bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.store import Run, Step, library_versions, sha256_of, weights_fingerprint
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.films.patches import compute_mean_patches
from rahelpers.network.backend import keras
from rahelpers.network.bundle import FAMILIARITY_FILE, HEALTHY_FILE, Bundle, load_bundle
from rahelpers.network.familiarity import extract_features, fit_familiarity
from rahelpers.network.precision import choose_precision
from rahelpers.network.vgg import change_precision, gradcam_layer
from rahelpers.scores.calibration import calibrate, choose_operating_point, fit_calibration
from rahelpers.scores.conformal import fit_conformal
from rahelpers.scores.metrics import ScoredFilms, say_few_validation
from rahelpers.training.fitting import FEWEST_TO_CHOOSE, TRAINING_KEYS, Fit, fit_network

TRAIN_KEYS = ("seed", *TRAINING_KEYS, "operating_rule", "target_sensitivity")
COST_KEYS = ("cost_ratio", "prevalence")  # change a bundle only with operating_rule=cost
OUTPUTS = "outputs.npz"
HEALTHY_FILMS = 256  # of the negative class, for the mean patch of a site, at most


def train(run: Run) -> Bundle:
    """Run step 02: train a network, and write it as a bundle.

    The validation films, on which the network did not train, choose its best epoch, the calibration
    and the operating point. With fewer than 20 validation patients of a class the last epoch is
    kept, and a warning says so. A training that was killed resumes after its last finished epoch.

    Raises
    ------
    MissingArtefactError
        If step 01 has not been run.
    ValueError
        If mirroring is asked for but laterality is not known, or the weights cannot be loaded.

    Examples
    --------
    >>> from rahelpers import train
    >>> bundle = train(run)  # trains if `run` has no bundle yet, or another configuration
    02_train: reused...
    >>> bundle.info["training"]["patients"]
    22
    """
    config = run.config
    keys = TRAIN_KEYS + (COST_KEYS if config.operating_rule == "cost" else ())
    step = run.step("train", config.subset(*keys), weights_fingerprint(config))
    if not step.is_done():
        cohort = load_cohort(run)
        fit = _fit(run, step, cohort)
        step.write("history.csv", lambda p: fit.history.to_csv(p, index=False))
        write_bundle(step, fit, cohort, config)
        step.finish()
    bundle = load_bundle(step.folder / "bundle")
    if warning := say_few_validation(bundle.info["validation"]):
        print(f"Warning: {warning}")
    return bundle


def _fit(run: Run, step: Step, cohort: Cohort) -> Fit:
    config = run.config
    if config.mirror and not cohort.manifest["laterality"].isin(["L", "R"]).all():
        raise ValueError(
            "mirror=True: expected the laterality of every film to be known; set"
            " laterality_column, or leave mirror off"
        )
    return fit_network(
        cohort.images,
        cohort.manifest["label"].to_numpy(),
        cohort.split("train"),
        cohort.split("validation"),
        config,
        config.seed,
        step.partial(),
        features_folder(run),
        [_tensorboard(run)] if config.tensorboard else [],
        choose=min(count_patients(cohort.manifest, cohort.split("validation"))) >= FEWEST_TO_CHOOSE,
    )


def count_patients(manifest: pd.DataFrame, rows: np.ndarray) -> tuple[int, int]:
    """Count the negative and the positive patients among some rows of a manifest."""
    films = manifest.iloc[rows]
    negative, positive = (
        films.loc[films["label"] == label, "patient_id"].nunique() for label in (0, 1)
    )
    return negative, positive


def features_folder(run: Run) -> Path:
    """Folder for the outputs of frozen layers, shared by all runs in the same place."""
    return run.folder.parent / ".cache" / "features"


def _tensorboard(run: Run) -> keras.callbacks.Callback:
    if find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard=True: the package is not installed; pip install tensorboard, or leave"
            " tensorboard off"
        )
    return keras.callbacks.TensorBoard(run.folder / "tensorboard")


def write_bundle(step: Step, fit: Fit, cohort: Cohort, config: RunConfig) -> None:
    """Write the bundle, and the network's outputs for every film of the cohort (`load_outputs`)."""
    model = fit.model
    model_file = step.write("bundle/model.keras", model.save)

    # one pass over all films: logits for the calibration, features for the familiarity
    logits, features = extract_features(change_precision(model, config.precision), cohort.images)
    step.write(OUTPUTS, lambda p: np.savez(p, logits=logits, features=features))

    known: dict[str, Any] = fit_familiarity(
        features,
        cohort.images,
        cohort.manifest,
        cohort.split("train"),
        cohort.split("validation"),
        config.source,
        config.seed,
    )
    familiarity_file = step.write(
        f"bundle/{FAMILIARITY_FILE}", lambda p: np.savez_compressed(p, **known)
    )

    # what a healthy site looks like: the baseline of explanations
    labels = cohort.manifest["label"].to_numpy()
    healthy = [row for row in cohort.split("train") if labels[row] == 0][:HEALTHY_FILMS]
    patches = compute_mean_patches(
        cohort.images[healthy], [cohort.joints_of(row) for row in healthy]
    )
    healthy_file = step.write(f"bundle/{HEALTHY_FILE}", lambda p: np.savez_compressed(p, **patches))

    info = _describe_network(model, cohort, config) | _use_validation(logits, cohort, config)
    negative, positive = count_patients(cohort.manifest, cohort.split("validation"))
    info["validation"] = {
        "patients_negative": negative,
        "patients_positive": positive,
        "fewest": FEWEST_TO_CHOOSE,
        "epoch": int(fit.history.loc[fit.history["kept"], "epoch"].iloc[0]),
    }
    info |= {
        "versions": library_versions(),
        "files": {p.name: sha256_of(p) for p in (model_file, familiarity_file, healthy_file)},
    }
    step.write_json("bundle/bundle.json", info)


def _describe_network(model: keras.Model, cohort: Cohort, config: RunConfig) -> dict[str, Any]:
    """What the network reads and answers, and what it was trained on."""
    train = cohort.manifest.iloc[cohort.split("train")]
    return {
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
        "training": {
            "films": len(train),
            "patients": int(train["patient_id"].nunique()),
            "positive_films": int(train["label"].sum()),
            "parameters": int(model.count_params()),
        },
    }


def _use_validation(logits: np.ndarray, cohort: Cohort, config: RunConfig) -> dict[str, Any]:
    """What the validation films choose: calibration, operating point and conformal sets."""
    rows = cohort.split("validation")
    films = cohort.manifest.iloc[rows]
    labels = films["label"].to_numpy()
    temperature, offset = fit_calibration(logits[rows], labels)
    probability = calibrate(logits[rows], temperature, offset)
    point = choose_operating_point(
        labels,
        probability,
        config.operating_rule,
        config.target_sensitivity,
        config.cost_ratio,
        config.prevalence,
    )
    return {
        "temperature": temperature,
        "offset": offset,
        "operating_point": point | {"chosen_on": "validation"},
        "conformal": fit_conformal(ScoredFilms(labels, probability, films["patient_id"])),
    }


def load_outputs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Load what the run's network computed for every film of the cohort, in the manifest's order.

    Returns
    -------
    logits : float64 array (n,)
    features : float32 array (n, F)
        The input of the last layer.

    Raises
    ------
    MissingArtefactError
        If step 02 has not been run.

    Examples
    --------
    >>> from rahelpers.training import load_outputs
    >>> logits, features = load_outputs(run)
    >>> logits.shape, features.shape
    ((80,), (80, 128))
    """
    with np.load(run.file("train", OUTPUTS)) as kept:
        return kept["logits"], kept["features"]
