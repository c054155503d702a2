"""Training: from a curated cohort to a bundle. A killed training continues at its last epoch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from rahelpers.core.config import RunConfig
from rahelpers.core.store import Run, Step, library_versions, sha256_of, weights_fingerprint, write_json
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.network.backend import keras
from rahelpers.network.bundle import Bundle, calibrate, load_bundle, predict_logits
from rahelpers.network.familiarity import FILE as FAMILIARITY
from rahelpers.network.familiarity import look, write_familiarity
from rahelpers.network.precision import choose_precision
from rahelpers.network.vgg import change_precision, gradcam_layer
from rahelpers.scores.calibration import choose_operating_point, fit_calibration
from rahelpers.scores.conformal import fit_conformal
from rahelpers.training.fitting import TRAINING_KEYS, fit_network

CONFIG_KEYS = ("seed", *TRAINING_KEYS, "ensemble", "operating_rule", "target_sensitivity")
OUTPUTS = "outputs.npz"
COST_KEYS = ("cost_ratio", "prevalence")  # shape a bundle only where operating_rule=cost: no network is trained again for another PPV


def train(run: Run) -> Bundle:
    """Step 02: train, choose the operating point and the calibration on films that did not train, write the bundle.

    Raises
    ------
    MissingArtefact
        If step 01 has not been run.
    ValueError
        If mirroring is asked for where laterality is not known, or the weights cannot be had.
    """
    config = run.config
    keys = CONFIG_KEYS + (COST_KEYS if config.operating_rule == "cost" else ())
    step = run.step("train", config.subset(*keys), weights_fingerprint(config))
    if not step.is_done():
        _train(run, step, load_cohort(run))
    return load_bundle(step.folder / "bundle")


def _train(run: Run, step: Step, cohort: Cohort) -> None:
    config = run.config
    if config.mirror and not cohort.manifest["laterality"].isin(["L", "R"]).all():
        raise ValueError("mirror=True: expected every film's laterality to be known; set laterality_column, or leave mirror off")
    callbacks = [_tensorboard(run)] if config.tensorboard else []
    model, history, rows, logits = train_on(cohort, cohort.split("train"), cohort.split("validation"), config, config.seed, step.partial(),
                                            features_folder(run), callbacks)  # fmt: skip
    write_bundle(run, step, model, cohort, rows, logits)
    step.write("history.csv", lambda p: history.to_csv(p, index=False))
    films = pd.DataFrame({"row": rows, "logit": logits})
    step.write("calibration_films.csv", lambda p: films.to_csv(p, index=False))
    step.finish()


def features_folder(run: Run) -> Path:
    """Where outputs of frozen layers are kept, for all runs beside this one."""
    return run.folder.parent / ".cache" / "features"


def _tensorboard(run: Run) -> keras.callbacks.Callback:
    if find_spec("tensorboard") is None:
        raise ValueError("tensorboard=True: the package is not installed; pip install tensorboard, or leave tensorboard off")
    return keras.callbacks.TensorBoard(run.folder / "tensorboard")


def train_on(
    cohort: Cohort, train: np.ndarray, validation: np.ndarray, config: RunConfig, seed: int, folder: Path, cache: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[keras.Model, pd.DataFrame, np.ndarray, np.ndarray]:  # fmt: skip
    """One network, or `config.ensemble` of them averaged, from the films of two splits.

    The members of an ensemble share the patients of both splits out anew: each validates on another part, so that every patient trains all but
    one of them. They start from the same weights and stay near them, so that the average of their weights does the work of the average of their
    answers, at the price of one network (Wortsman et al. 2022, arXiv 2203.05482). Each film's logit comes from the member that validated on it.

    Returns
    -------
    model : keras.Model
    history : DataFrame
        As `rahelpers.fitting.Fit` has it; with a column `member` where there are several.
    rows : int array
        Films that choose the calibration and the operating point: those of the validation split, or of both where there are several members.
    logits : float array
        Of those films, from networks that did not train on them.
    """
    labels, patients = cohort.manifest["label"].to_numpy(), cohort.manifest["patient_id"].to_numpy()
    if config.ensemble == 1:
        fit = fit_network(cohort.images, labels, train, validation, config, seed, folder, cache, callbacks=callbacks)
        return fit.model, fit.history, validation, predict_logits(change_precision(fit.model, config.precision), cohort.images[validation])
    both = np.sort(np.concatenate([train, validation]))
    parts = StratifiedGroupKFold(config.ensemble, shuffle=True, random_state=seed).split(both, labels[both], patients[both])
    logits, histories, sums = np.empty(len(both)), [], []
    for member, (learn, check) in enumerate(parts, start=1):
        print(f"network {member} of {config.ensemble}")
        fit = fit_network(cohort.images, labels, both[learn], both[check], config, seed, folder / f"member-{member}", cache, both, callbacks)
        logits[check] = predict_logits(change_precision(fit.model, config.precision), cohort.images[both[check]])
        histories.append(fit.history.assign(member=member))
        sums = [a + w for a, w in zip(sums or [0.0] * len(fit.model.weights), fit.model.get_weights(), strict=True)]
    fit.model.set_weights([total / config.ensemble for total in sums])
    return fit.model, pd.concat(histories, ignore_index=True), both, logits






def load_outputs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """What the run's network makes of every film of the cohort, in the manifest's order.

    Returns
    -------
    logits : float64 array (n,)
    features : float32 array (n, F)
        What the last layer reads.

    Raises
    ------
    MissingArtefact
        If step 02 has not been run.
    """
    with np.load(run.file("train", OUTPUTS)) as kept:
        return kept["logits"], kept["features"]


def write_bundle(run: Run, step: Step, model: keras.Model, cohort: Cohort, rows: np.ndarray, logits: np.ndarray) -> None:
    """Write `bundle/model.keras` and `bundle/bundle.json`, and beside the bundle what its network makes of every film (`load_outputs`).

    Parameters
    ----------
    rows, logits : array (n,)
        Films of the cohort and their logits, which set the calibration and the operating point.
    """
    config, labels = run.config, cohort.manifest["label"].to_numpy()[rows]
    temperature, offset = fit_calibration(logits, labels)
    probability = calibrate(logits, temperature, offset)
    file = step.write("bundle/model.keras", model.save)
    fast = change_precision(model, config.precision)
    learnt = cohort.split("train") if config.ensemble == 1 else rows
    train_rows = cohort.manifest.iloc[learnt]
    every_logit, features = look(fast, cohort.images)
    step.write(OUTPUTS, lambda p: np.savez(p, logits=every_logit, features=features))
    familiar = step.write(
        f"bundle/{FAMILIARITY}", lambda p: write_familiarity(p, features, cohort.images, cohort.manifest, learnt, rows, config.source, config.seed)
    )
    point = choose_operating_point(labels, probability, config.operating_rule, config.target_sensitivity, config.cost_ratio, config.prevalence)
    info = {
        "title": config.title,
        "task": config.class_names[1],
        "class_names": list(config.class_names),
        "source": config.source,
        "architecture": config.architecture,
        "precision": choose_precision(config.precision),
        "image_size": config.image_size,
        "mirror_right": True,
        "preprocessing": "hand found, cropped, turned upright, right hands mirrored, grey values normalised (rahelpers.normalisation.to_network_input)",
        "gradcam_layer": gradcam_layer(model),
        "temperature": temperature,
        "offset": offset,
        "operating_point": point | {"chosen_on": "validation" if config.ensemble == 1 else "held-out"},
        "conformal": fit_conformal(labels, probability, cohort.manifest["patient_id"].to_numpy()[rows]),
        "training": {
            "films": int(len(train_rows)),
            "patients": int(train_rows["patient_id"].nunique()),
            "positive_films": int(train_rows["label"].sum()),
            "parameters": int(model.count_params()),
        },
        "versions": library_versions(),
        "files": {path.name: sha256_of(path) for path in (file, familiar)},
    }
    write_json(step.folder / "bundle" / "bundle.json", info)
