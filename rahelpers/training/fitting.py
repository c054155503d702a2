"""Fit one network to some films of a cohort. The whole state is on disk after each epoch: a killed
training goes on to the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.store import write_atomically
from rahelpers.network.augmentation import augment
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import predict_logits
from rahelpers.network.precision import choose_precision, computing_in
from rahelpers.network.vgg import build_network
from rahelpers.scores.metrics import compute_auc
from rahelpers.training.frozen import KeptMaps, compute_frozen, find_cut
from rahelpers.training.head import STRENGTHS, fit_head

# of pretrained layers, per step and rate (Loshchilov & Hutter 2019, arXiv 1711.05101)
WEIGHT_DECAY = 1e-2
PREDICT_BATCH = 32
NOT_KEPT = (
    "block2",
    "block3",
    # with these learning, the frozen blocks' maps take more disk than the time that they save is
    # worth
)
TRAINING_KEYS = (
    "architecture",
    "weights",
    "train_from",
    "frozen_copies",
    "epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "augment",
    "mirror",
    "precision",
    "deterministic",
)

Inputs = Sequence[
    Sequence[np.ndarray | KeptMaps]
]  # copies of the cohort, each with one array for each input of a network


@dataclass(frozen=True)
class Fit:
    """A fitted network.

    Attributes
    ----------
    model : keras.Model
        In float32, whatever it was trained in.
    history : DataFrame
        One epoch a row: epoch, train_loss, train_auc, validation_loss, validation_auc. Epoch 0 is a
        pretrained network whose head alone was fitted. With a column C, a row is a strength of
        regularisation of such a head, and nothing else was trained.
    """

    model: keras.Model
    history: pd.DataFrame


class OnePassAdam(keras.optimizers.Adam):
    """Keras's Adam, each variable updated in one pass over it; Keras 3.15 takes a dozen. A step of
    vgg_small at 128 px is a tenth faster.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Kingma & Ba 2015, arXiv 1412.6980, algorithm 1, in the order of operations of its section
        2.
        """
        step, number = tf.cast(self.iterations + 1, tf.float32), self._get_variable_index(variable)
        held = variable.value if isinstance(variable, keras.Variable) else variable
        tf.raw_ops.ResourceApplyAdam(
            var=held.handle,
            m=self._momentums[number].value.handle,
            v=self._velocities[number].value.handle,
            grad=gradient,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
        )


def choose_strategy() -> tf.distribute.Strategy:
    """One copy of the network on each GPU where there are several (each takes a part of every
    batch), else the one device there is.
    """
    return (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_logical_devices("GPU")) > 1
        else tf.distribute.get_strategy()
    )


def fit_network(
    images: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    config: RunConfig,
    seed: int,
    folder: Path,
    cache: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Fit:
    """Train on the films `train`; the best epoch by the AUC of the films `validation` is kept.

    A network that starts from pretrained weights is trained in two phases: its head is fitted
    exactly while the base rests; then the layers from `train_from` on learn together. What layers
    before `train_from` see is computed once for all trainings on these films.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    labels : int array (n,)
        0 or 1.
    train, validation : int array
        Rows of `images`.
    config : RunConfig
        Its values named in TRAINING_KEYS count.
    seed : int
    folder : Path
        The state after each epoch; a training that finds one continues from it.
    cache : Path
        Outputs of frozen layers; may be deleted whenever nothing trains.
    callbacks : sequence of keras.callbacks.Callback
        Further ones, such as TensorBoard.

    Raises
    ------
    ValueError
        If the weights cannot be had, or train or validation lacks a class.
    FloatingPointError
        If an epoch leaves a network whose answers are not finite.
    """
    for name, rows in (("train", train), ("validation", validation)):
        if len(np.unique(labels[rows])) < 2:
            raise ValueError(
                f"{name} holds {len(rows)} films of one class (label"
                f" {', '.join(map(str, np.unique(labels[rows])))}): expected films of both"
            )
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    pretrained = config.weights != "none"
    with choose_strategy().scope():
        with computing_in(choose_precision(config.precision)):
            model = build_network(
                config.architecture,
                images.shape[1],
                config.weights,
                config.train_from,
                seed,
                one_pass=True,
            )
        inputs, tail, history = [[images]], model, pd.DataFrame()
        if pretrained:
            pools = model.get_layer("pools").output
            cut = (
                []
                if config.train_from in NOT_KEPT
                else [t for t in find_cut(model) if t is not pools]
            )
            copies = [
                np.union1d(train, validation),
                *[np.sort(train)] * (config.frozen_copies - 1 if config.augment else 0),
            ]
            frozen = compute_frozen(
                model, [*cut, pools], images, copies, config.seed, config.mirror, cache
            )
            strengths = (
                STRENGTHS if config.train_from == "head" else STRENGTHS[:1]
            )  # a head that fits every film leaves nothing to learn from
            features = np.full((len(copies), *frozen[0][-1].shape), np.nan, np.float32)
            for own, copy, rows in zip(features, frozen, copies, strict=True):
                own[rows] = copy[-1][rows]
            history = fit_head(model, features, labels, train, validation, strengths)
            model.get_layer("pool_bn").trainable = False
            if cut:
                inputs, tail = [copy[:-1] for copy in frozen], keras.Model(cut, model.output)
        if not (pretrained and config.train_from == "head"):
            history = _fit_layers(
                tail, inputs, labels, train, validation, config, seed, folder, history, callbacks
            )
    exact = build_network(config.architecture, images.shape[1])
    exact.set_weights(model.get_weights())
    return Fit(exact, history)


def _fit_layers(
    model: keras.Model,
    inputs: Inputs,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    config: RunConfig,
    seed: int,
    folder: Path,
    head: pd.DataFrame,
    callbacks: Sequence[keras.callbacks.Callback],
) -> pd.DataFrame:
    """All layers that learn, epoch by epoch; the best epoch's weights are left in the model."""
    steps = -(-len(train) // config.batch_size)
    model.compile(
        OnePassAdam(
            _schedule(config.learning_rate, config.epochs * steps),
            weight_decay=WEIGHT_DECAY if len(head) else None,
        ),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )
    balance = len(train) / (2 * np.bincount(labels[train], minlength=2))
    watcher = ValidationWatcher(inputs[0], labels, validation, folder, config.patience)
    start = watcher.resume(model)
    if not watcher.history and len(head):
        watcher.take(model, {"epoch": 0} | head[["train_loss", "train_auc"]].iloc[0].to_dict())
    if start < config.epochs and not watcher.is_over():
        model.fit(
            make_stream(inputs, labels, train, config, seed, start),
            initial_epoch=start,
            epochs=config.epochs,
            steps_per_epoch=steps,
            class_weight={0: float(balance[0]), 1: float(balance[1])},
            callbacks=[watcher, *callbacks],
            shuffle=False,  # the stream shuffles itself
            verbose=2,
        )
    watcher.restore_best(model)
    return pd.DataFrame(watcher.history)


def _schedule(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up to `rate` in the first tenth of the steps, then down along a cosine to a tenth of it
    (Loshchilov & Hutter 2017, arXiv 1608.03983).
    """
    warm = max(steps // 10, 1)
    return keras.optimizers.schedules.CosineDecay(
        rate / 10, max(steps - warm, 1), alpha=0.1, warmup_target=rate, warmup_steps=warm
    )


def make_stream(
    inputs: Inputs, labels: np.ndarray, rows: np.ndarray, config: RunConfig, seed: int, start: int
) -> tf.data.Dataset:
    """Batches of the epochs from `start` on, each epoch in an order of its own. What a batch holds
    follows from seed and step alone.

    Parameters
    ----------
    inputs : copies of the cohort
        Films, uint8 (n, S, S), which are augmented here; or what frozen layers made of films: then
        a copy is drawn for each film.
    labels : int array (n,)
    rows : int array
        The films to train on.
    config : RunConfig
    seed : int
    start : int
        Epochs that are done already.

    Returns
    -------
    tf.data.Dataset
        Of (one tensor an input, float32 (b, 1)). Autotune is off: in TensorFlow 2.21 it stalls
        epochs.
    """
    steps, films = -(-len(rows) // config.batch_size), inputs[0][0].dtype == np.uint8
    answers = tf.constant(labels.astype(np.float32)[:, None])
    wanted = tf.constant(rows.astype(np.int64))

    def order_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            wanted, seed=tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(config.batch_size)

    def gather(copy: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
        return [
            np.stack([inputs[c][i][r] for c, r in zip(copy, order, strict=True)])
            for i in range(len(inputs[0]))
        ]

    def fetch(step: tf.Tensor, order: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
        key = tf.stack([tf.constant(seed, tf.int64), step])
        copy = tf.random.stateless_uniform(tf.shape(order), key, 0, len(inputs), tf.int32)
        found = tf.numpy_function(gather, [copy, order], [tf.as_dtype(a.dtype) for a in inputs[0]])
        for tensor, array in zip(found, inputs[0], strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        if films:
            seen = tf.cast(found[0], tf.float32)[..., None] / 255.0
            found = [augment(seen, key, config.mirror) if config.augment else seen]
        return found[0] if len(found) == 1 else tuple(found), tf.gather(answers, order)

    stream = tf.data.Dataset.range(start, config.epochs).flat_map(order_of).enumerate(start * steps)
    stream = stream.map(fetch, num_parallel_calls=2, deterministic=True).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return stream.with_options(options)


def predict_rows(
    model: keras.Model, arrays: Sequence[np.ndarray | KeptMaps], rows: np.ndarray
) -> np.ndarray:
    """Logits, float64 (n,), of rows of a cohort: of films, uint8 (n, S, S), or of what frozen
    layers made of them.
    """
    if arrays[0].dtype == np.uint8:
        return predict_logits(model, arrays[0][rows])
    batches = [rows[i : i + PREDICT_BATCH] for i in range(0, len(rows), PREDICT_BATCH)]
    found = [model.predict_on_batch([a[b] for a in arrays])[: len(b)] for b in batches]
    return np.concatenate(found).astype(np.float64).ravel()


class ValidationWatcher(keras.callbacks.Callback):
    """After each epoch: loss and AUC of train (its films as augmented, while learning) and of
    validation.

    Keeps the best weights, stops early, and saves a state to resume from.

    Parameters
    ----------
    arrays : sequence of arrays
        Inputs of the model for the whole cohort, not augmented.
    labels : int array (n,)
    rows : int array
        The validation films.
    folder : Path
        Where the state and the best weights are kept.
    patience : int
        Epochs without a better validation AUC before training stops.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray | KeptMaps],
        labels: np.ndarray,
        rows: np.ndarray,
        folder: Path,
        patience: int,
    ) -> None:
        super().__init__()
        self.arrays, self.rows, self.labels = arrays, rows, labels[rows]
        self.folder, self.patience = folder, patience
        self.history: list[dict] = []

    def resume(self, model: keras.Model) -> int:
        """Load the last finished epoch's state into the model, where there is one; the number of
        epochs that it has.
        """
        file, table = self.folder / "state.npz", self.folder / "history.csv"
        if not (file.exists() and table.exists()):
            return 0
        model.optimizer.build(model.trainable_variables)
        with np.load(file) as saved:
            finished = int(saved["epoch"])
            for name, variable in self._state(model):
                variable.assign(saved[name])
        self.history = [
            row for row in pd.read_csv(table).to_dict("records") if row["epoch"] <= finished
        ]
        print(f"training continues after epoch {finished}, where it was stopped")
        return finished

    def is_over(self) -> bool:
        """True where `patience` epochs brought no better validation AUC."""
        if not self.history:
            return False
        best = int(np.argmax([h["validation_auc"] for h in self.history]))
        return len(self.history) - 1 - best >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score the validation split and save the state."""
        self.take(
            self.model,
            {
                "epoch": epoch + 1,
                "train_loss": float(logs["loss"]),
                "train_auc": float(logs["auc"]),
            },
        )
        # Keras's own progress line prints what it finds here
        logs |= {
            "val_loss": self.history[-1]["validation_loss"],
            "val_auc": self.history[-1]["validation_auc"],
        }
        self.model.stop_training |= self.is_over()

    def take(self, model: keras.Model, row: dict) -> None:
        """Add an epoch to the history, with the validation films' scores, and save the state."""
        logits = predict_rows(model, self.arrays, self.rows)
        if not np.isfinite(logits).all():
            raise FloatingPointError(
                f"after epoch {row['epoch']} the network's answers are not finite: the training"
                " went astray; lower learning_rate"
            )
        loss = float(np.mean(np.logaddexp(0, np.where(self.labels == 1, -logits, logits))))
        row |= {"validation_loss": loss, "validation_auc": compute_auc(self.labels, logits)}
        self.history.append(row)
        if row["validation_auc"] > max(
            (h["validation_auc"] for h in self.history[:-1]), default=-1
        ):
            best = {f"w{i}": w for i, w in enumerate(model.get_weights())}
            write_atomically(self.folder / "best.npz", lambda p: np.savez(p, **best))
        state = {name: np.asarray(variable) for name, variable in self._state(model)}
        write_atomically(
            self.folder / "history.csv", lambda p: pd.DataFrame(self.history).to_csv(p, index=False)
        )
        write_atomically(
            self.folder / "state.npz", lambda p: np.savez(p, epoch=row["epoch"], **state)
        )

    def restore_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch."""
        with np.load(self.folder / "best.npz") as saved:
            model.set_weights([saved[f"w{i}"] for i in range(len(saved.files))])

    @staticmethod
    def _state(model: keras.Model) -> list[tuple[str, keras.Variable]]:
        """All that an epoch changes: weights, the state of dropout's generator, and the optimizer's
        variables.
        """
        metrics = {id(v) for v in model.metrics_variables}
        kept = [
            v
            for v in model.variables
            if id(v) not in metrics and id(v) not in {id(o) for o in model.optimizer.variables}
        ]
        return [(f"w{i}", v) for i, v in enumerate(kept)] + [
            (f"o{i}", v) for i, v in enumerate(model.optimizer.variables)
        ]
