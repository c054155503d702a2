"""Training: from a curated cohort to a bundle. A killed training continues at its last epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score, roc_curve

from rahelpers.abstention import fit_conformal
from rahelpers.artifacts import Run, Step, library_versions, sha256_of, weights_fingerprint, write_atomically, write_json
from rahelpers.curation import Cohort, load_cohort
from rahelpers.head import compute_features, fit_head
from rahelpers.inference import Bundle, calibrate, load_bundle, predict_logits
from rahelpers.tensorflow_quiet import keras, tf
from rahelpers.vgg import build_network, gradcam_layer, make_augmentation

CONFIG_KEYS = (
    "seed", "architecture", "weights", "train_from", "head_copies", "epochs", "patience", "batch_size", "learning_rate", "augment", "mirror",
    "deterministic", "operating_rule", "target_sensitivity",
)  # fmt: skip
COST_KEYS = ("cost_ratio", "prevalence")  # shape a bundle only where operating_rule=cost: no network is trained again for another PPV


def train(run: Run) -> Bundle:
    """Step 02: train, choose the operating point and the calibration on the validation split, write the bundle.

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
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = build_network(config.architecture, config.image_size, config.weights, config.train_from)
    frozen = config.weights != "none" and config.train_from == "head"
    history = _fit_frozen(run, model, cohort) if frozen else _fit(run, step, model, cohort)
    rows = cohort.split("validation")
    write_bundle(run, step, model, cohort, predict_logits(model, cohort.images[rows]), cohort.manifest["label"].to_numpy()[rows])
    step.write("history.csv", lambda p: history.to_csv(p, index=False))
    step.finish()


def _fit_frozen(run: Run, model: keras.Model, cohort: Cohort) -> pd.DataFrame:
    """The head alone, on features that are computed once."""
    config = run.config
    features = compute_features(model, cohort.images, config.head_copies if config.augment else 1, config.seed, config.mirror,
                                run.folder.parent / ".cache" / "features")  # fmt: skip
    return fit_head(model, features, cohort.manifest["label"].to_numpy(), cohort.split("train"), cohort.split("validation"))


def _fit(run: Run, step: Step, model: keras.Model, cohort: Cohort) -> pd.DataFrame:
    """All layers that learn, epoch by epoch; the best epoch's weights are kept."""
    config = run.config
    labels = cohort.manifest["label"].to_numpy()
    rows, validation = cohort.split("train"), cohort.split("validation")
    rate = config.learning_rate if config.weights == "none" else config.learning_rate / 10
    model.compile(
        keras.optimizers.Adam(_schedule(rate, config.epochs, len(rows), config.batch_size)),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )
    balance = len(rows) / (2 * np.bincount(labels[rows], minlength=2))
    watcher = ValidationWatcher(cohort, validation, step.partial(), config.patience)
    start = watcher.resume(model)
    if start < config.epochs and not watcher.is_over(start):
        model.fit(
            make_dataset(cohort.images, labels, rows, run),
            initial_epoch=start,
            epochs=config.epochs,
            steps_per_epoch=-(-len(rows) // config.batch_size),
            class_weight={0: float(balance[0]), 1: float(balance[1])},
            callbacks=[watcher],
            shuffle=False,  # the dataset shuffles itself
            verbose=2,
        )
    model.load_weights(step.partial() / "best.weights.h5")
    return pd.DataFrame(watcher.history)


def _schedule(rate: float, epochs: int, n_films: int, batch_size: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up to `rate` in the first tenth of the steps, then down along a cosine to a tenth of it (Loshchilov & Hutter 2017, arXiv 1608.03983)."""
    steps = epochs * -(-n_films // batch_size)
    warm = max(steps // 10, 1)
    return keras.optimizers.schedules.CosineDecay(rate / 10, max(steps - warm, 1), alpha=0.1, warmup_target=rate, warmup_steps=warm)


def make_dataset(images: np.ndarray, labels: np.ndarray, rows: np.ndarray, run: Run) -> tf.data.Dataset:
    """An endless, shuffled, augmented stream of batches, one permutation of `rows` per epoch.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    labels : int array (n,)
    rows : int array
        The films to train on.
    run : Run

    Returns
    -------
    tf.data.Dataset
        Batches of float32 (b, S, S, 1) in [0, 1] and float32 (b, 1). Autotune is off: in TensorFlow 2.21 it stalls epochs.
    """
    config = run.config
    films, targets = np.ascontiguousarray(images[rows])[..., None], labels[rows].astype(np.float32)[:, None]
    dataset = tf.data.Dataset.from_tensor_slices((films, targets))
    dataset = dataset.shuffle(len(rows), seed=config.seed, reshuffle_each_iteration=True).batch(config.batch_size)
    augment = make_augmentation(config.seed, config.mirror) if config.augment else None

    def prepare(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.cast(x, tf.float32) / 255.0
        return (augment(x) if augment else x), y

    dataset = dataset.map(prepare, num_parallel_calls=1, deterministic=True).repeat().prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class ValidationWatcher(keras.callbacks.Callback):
    """After each epoch: loss and AUC of train (its films as augmented, while learning) and of validation.

    Keeps the best weights, stops early, and saves a state to resume from.

    Parameters
    ----------
    cohort : Cohort
    rows : int array
        The validation films.
    folder : Path
        Where the state and the best weights are kept.
    patience : int
        Epochs without a better validation AUC before training stops.
    """

    def __init__(self, cohort: Cohort, rows: np.ndarray, folder: Path, patience: int) -> None:
        super().__init__()
        self.images, self.labels = np.ascontiguousarray(cohort.images[rows]), cohort.manifest["label"].to_numpy()[rows]
        self.folder, self.patience = folder, patience
        self.history: list[dict] = []

    def resume(self, model: keras.Model) -> int:
        """Load the last finished epoch's state into the model, where there is one; the number of epochs that it has."""
        state, table = self.folder / "state.npz", self.folder / "history.csv"
        if not (state.exists() and table.exists()):
            return 0
        history = pd.read_csv(table).to_dict("records")
        with np.load(state) as saved:
            finished = int(saved["epoch"])
            model.optimizer.build(model.trainable_variables)
            model.set_weights([saved[f"w{i}"] for i in range(len(model.get_weights()))])
            for i, variable in enumerate(model.optimizer.variables):
                variable.assign(saved[f"o{i}"])
        self.history = history[:finished]
        print(f"training continues after epoch {finished}, where it was stopped")
        return finished

    def is_over(self, epoch: int) -> bool:
        """True where `patience` epochs brought no better validation AUC."""
        if not self.history:
            return False
        best = int(np.argmax([h["validation_auc"] for h in self.history]))
        return epoch - 1 - best >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score the validation split and save the state."""
        logits = predict_logits(self.model, self.images)
        auc = float(roc_auc_score(self.labels, logits))
        loss = float(np.mean(np.logaddexp(0, np.where(self.labels == 1, -logits, logits))))
        is_best = not self.history or auc > max(h["validation_auc"] for h in self.history)
        train = {"train_loss": float(logs["loss"]), "train_auc": float(logs["auc"])}
        self.history.append({"epoch": epoch + 1} | train | {"validation_loss": loss, "validation_auc": auc})
        logs |= {"val_loss": loss, "val_auc": auc}  # Keras's own progress line prints what it finds here
        if is_best:
            write_atomically(self.folder / "best.weights.h5", lambda p: self._save_weights(p))
        self._save_state(epoch + 1)
        if self.is_over(epoch + 1):
            self.model.stop_training = True

    def _save_weights(self, path: Path) -> None:
        # Keras wants the double suffix .weights.h5, which a temporary name does not have
        whole = path.with_name(path.name + ".weights.h5")
        self.model.save_weights(whole)
        whole.replace(path)

    def _save_state(self, finished: int) -> None:
        arrays = {f"w{i}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"o{i}": np.asarray(v) for i, v in enumerate(self.model.optimizer.variables)}
        write_atomically(self.folder / "history.csv", lambda p: pd.DataFrame(self.history).to_csv(p, index=False))
        write_atomically(self.folder / "state.npz", lambda p: np.savez(p, epoch=finished, **arrays))


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
    if len(np.unique(labels)) < 2:
        raise ValueError(f"labels hold {np.unique(labels)}: an operating point needs both classes")
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
        "chosen_on": "validation",
        "films_positive": int((labels == 1).sum()),
        "films_negative": int((labels == 0).sum()),
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
    }  # fmt: skip


def write_bundle(run: Run, step: Step, model: keras.Model, cohort: Cohort, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write `bundle/model.keras` and `bundle/bundle.json`.

    Parameters
    ----------
    logits, labels : array (n,)
        Of the validation split: they set the calibration and the operating point.
    """
    config = run.config
    temperature, offset = fit_calibration(logits, labels)
    probability = calibrate(logits, temperature, offset)
    file = step.write("bundle/model.keras", model.save)
    train_rows = cohort.manifest.iloc[cohort.split("train")]
    info = {
        "title": config.title,
        "task": config.class_names[1],
        "class_names": list(config.class_names),
        "source": config.source,
        "architecture": config.architecture,
        "image_size": config.image_size,
        "mirror_right": True,
        "preprocessing": "hand found, cropped, turned upright, right hands mirrored, grey values normalised (rahelpers.normalisation.to_network_input)",
        "gradcam_layer": gradcam_layer(model),
        "temperature": temperature,
        "offset": offset,
        "operating_point": choose_operating_point(labels, probability, config.operating_rule, config.target_sensitivity, config.cost_ratio, config.prevalence),
        "conformal": fit_conformal(labels, probability, cohort.manifest["patient_id"].to_numpy()[cohort.split("validation")]),
        "training": {
            "films": int(len(train_rows)),
            "patients": int(train_rows["patient_id"].nunique()),
            "positive_films": int(train_rows["label"].sum()),
            "parameters": int(model.count_params()),
        },
        "versions": library_versions(),
        "files": {"model.keras": sha256_of(file)},
    }
    write_json(step.folder / "bundle" / "bundle.json", info)
