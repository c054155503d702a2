"""Training: from a curated cohort to a bundle. A killed training continues at its last epoch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedGroupKFold

from rahelpers.abstention import fit_conformal
from rahelpers.artifacts import Run, Step, library_versions, sha256_of, weights_fingerprint, write_json
from rahelpers.config import RunConfig
from rahelpers.curation import Cohort, load_cohort
from rahelpers.familiarity import FILE as FAMILIARITY
from rahelpers.familiarity import look, write_familiarity
from rahelpers.fitting import TRAINING_KEYS, fit_network
from rahelpers.inference import Bundle, calibrate, load_bundle, predict_logits
from rahelpers.metrics import as_films
from rahelpers.precision import choose_precision
from rahelpers.tensorflow_quiet import keras
from rahelpers.vgg import change_precision, gradcam_layer

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


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature T and offset b of the calibrated probability sigmoid(logit / T + b), by the least log loss.

    The temperature takes overconfidence out; the offset brings back how common the classes are, which class weights take away.

    Parameters
    ----------
    logits : float array (n,)
    labels : int array (n,)
        0 or 1.

    Returns
    -------
    temperature : float
        Between 0.05 and 20: never negative, so that the ranking of films stays.
    offset : float

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999, with its smoothed targets; Guo et al. 2017, arXiv 1706.04599, sec. 4.2.
    """
    labels, logits, _ = as_films(labels, logits)
    positive = labels == 1
    targets = np.where(positive, (positive.sum() + 1) / (positive.sum() + 2), 1 / ((~positive).sum() + 2))

    def log_loss(parameters: np.ndarray) -> float:
        scaled = logits / np.exp(parameters[0]) + parameters[1]
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    found = minimize(log_loss, [0.0, 0.0], bounds=[(np.log(0.05), np.log(20)), (-10, 10)], method="L-BFGS-B")
    return float(np.exp(found.x[0])), float(found.x[1])


def choose_operating_point(
    labels: np.ndarray, probability: np.ndarray, rule: str, target_sensitivity: float, cost_ratio: float = 1.0, prevalence: float = 0.5
) -> dict[str, Any]:
    """The probability from which a film is called positive, by a stated rule. Give it validation data, never test data.

    Parameters
    ----------
    labels : int array (n,)
    probability : float array (n,) in [0, 1]
    rule : {'youden', 'sensitivity', 'cost'}
        Youden: the largest sensitivity + specificity - 1 (Youden 1950). Sensitivity: the largest threshold that reaches
        `target_sensitivity`. Cost: the least cost_ratio x prevalence x (1 - sensitivity) + (1 - prevalence) x (1 - specificity)
        (Metz, Semin Nucl Med 1978;8:283).
    target_sensitivity : float
    cost_ratio : float
        Cost of a missed positive, in false alarms.
    prevalence : float in (0, 1)
        Share of positives where the network would be used.

    Returns
    -------
    dict
        probability, rule, and on the data given: sensitivity, specificity and the counts of both classes.
    """
    labels, probability, _ = as_films(labels, probability, probability=True)
    if len(np.unique(labels)) < 2:
        raise ValueError(f"labels hold {np.unique(labels)}: an operating point needs both classes")
    if not (0 < target_sensitivity <= 1 and cost_ratio > 0 and 0 < prevalence < 1):
        raise ValueError(
            f"target_sensitivity={target_sensitivity:g}, cost_ratio={cost_ratio:g}, prevalence={prevalence:g}: expected 0 to 1 (not 0), "
            "more than 0, and between 0 and 1"
        )
    false_positive, true_positive, thresholds = roc_curve(labels, probability, drop_intermediate=False)
    if rule == "youden":
        best = int(np.argmax(np.round(true_positive - false_positive, 9)))  # rounded: of equals, the highest threshold
    elif rule == "sensitivity":
        best = int(np.argmax(true_positive >= target_sensitivity))
    elif rule == "cost":
        cost = cost_ratio * prevalence * (1 - true_positive) + (1 - prevalence) * false_positive
        best = int(np.argmin(np.round(cost, 9)))
    else:
        raise ValueError(f"rule={rule!r}: expected youden, sensitivity or cost")
    # Half way to the next lower score: the point itself would hang on the last digit of one film.
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    threshold = float(np.clip((min(thresholds[best], 1.0) + below) / 2, 0, 1))
    called = probability >= threshold
    return {
        "probability": threshold,
        "rule": {"youden": rule, "sensitivity": f"sensitivity of at least {target_sensitivity}",
                 "cost": f"least cost, a missed positive weighing {cost_ratio:g} false alarms, prevalence {prevalence:g}"}[rule],
        "films_positive": int((labels == 1).sum()),
        "films_negative": int((labels == 0).sum()),
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
    }  # fmt: skip


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
