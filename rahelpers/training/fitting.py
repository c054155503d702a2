"""Fit one network to some films of a cohort.

The complete state is on disk after each epoch, so that a training that was killed resumes and ends
with the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.store import read_arrays, write_atomically
from rahelpers.network.augmentation import augment
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import predict_logits
from rahelpers.network.precision import choose_precision, computing_in
from rahelpers.network.vgg import build_network
from rahelpers.scores.metrics import compute_auc
from rahelpers.training.frozen import KeptMaps, compute_frozen, find_cut
from rahelpers.training.head import STRENGTHS, fit_head

# of pretrained layers, per step and unit of the learning rate (Loshchilov & Hutter 2019, arXiv
# 1711.05101)
WEIGHT_DECAY = 1e-2
PREDICT_BATCH = 32
# values of train_from whose frozen blocks give large maps: keeping them costs more disk than the
# time saved is worth
NOT_KEPT = ("block2", "block3")
# Validation patients of each class. With fewer, choosing the epoch by their AUC costs more than it
# brings: with 10 in all, 0.06 of test AUC against the last epoch, and it flatters by 0.11.
FEWEST_TO_CHOOSE = 20
TRAINING_KEYS: tuple[str, ...] = (
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

# copies of the cohort, each with one array for each input of a network
Inputs = Sequence[Sequence[np.ndarray | KeptMaps]]


@dataclass(frozen=True)
class Fit:
    """A fitted network.

    Attributes
    ----------
    model : keras.Model
        In float32, whatever number format it was trained in.
    history : DataFrame
        One row per epoch: epoch, train_loss, train_auc, validation_loss, validation_auc. At epoch 0
        of a pretrained network only its head has been fitted. If there is a column C, only a head
        was fitted, and there is one row per strength of its regularisation instead. `kept` marks
        the row whose weights the network has.
    """

    model: keras.Model
    history: pd.DataFrame


class OnePassAdam(keras.optimizers.Adam):
    """Keras's Adam, with one pass over each variable per update.

    Keras 3.15 needs a dozen. A training step of vgg_small at 128 px becomes 10 % faster.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable (Kingma & Ba 2015, arXiv 1412.6980, end of section 2)."""
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
    """Copy the network to each GPU if there are several; each then takes part of every batch."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


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
    choose: bool = True,
) -> Fit:
    """Train on the films `train`, and keep the epoch with the best AUC of the films `validation`.

    A network with pretrained weights is trained in two phases. First the base is frozen, and the
    head is fitted exactly. Then the layers from `train_from` on learn together. The outputs of the
    layers before `train_from` are computed once for all trainings on these films.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    labels : int array (n,)
        0 or 1.
    train, validation : int array
        Rows of `images`.
    config : RunConfig
        Only the values in TRAINING_KEYS matter.
    seed : int
    folder : Path
        For the state after each epoch. A training that finds a state there resumes from it.
    cache : Path
        For the outputs of frozen layers. May be deleted when no training is running.
    callbacks : sequence of keras.callbacks.Callback
        Additional ones, such as TensorBoard.
    choose : bool
        Whether the validation films choose the epoch, when to stop, and the strength of a head's
        regularisation. False: the last epoch of all, and the strongest one.

    Raises
    ------
    ValueError
        If the weights cannot be loaded, or train or validation lacks a class.
    FloatingPointError
        If the logits are not finite after an epoch.
    """
    for name, rows in (("train", train), ("validation", validation)):
        if len(found := np.unique(labels[rows])) < 2:
            raise ValueError(
                f"{name} holds {len(rows)} films of one class (label {', '.join(map(str, found))}):"
                " expected films of both classes"
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
        # what learns epoch by epoch, and what it reads: the whole network reads films
        learning: keras.Model = model
        inputs: Inputs = [[images]]
        head = pd.DataFrame()
        if pretrained:
            head, maps, cut = _fit_head(
                model, images, labels, train, validation, config, cache, choose
            )
            if cut:  # the layers behind the frozen ones read the maps that were kept
                learning, inputs = keras.Model(cut, model.output), maps
        if pretrained and config.train_from == "head":
            history = head
        else:
            history = _fit_layers(
                learning,
                inputs,
                labels,
                train,
                validation,
                config,
                seed,
                folder,
                head,
                callbacks,
                choose,
            )
    exact = build_network(config.architecture, images.shape[1])
    exact.set_weights(model.get_weights())
    return Fit(exact, history)


def _fit_head(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    config: RunConfig,
    cache: Path,
    choose: bool,
) -> tuple[pd.DataFrame, Inputs, list[keras.KerasTensor]]:
    """First phase: fit the head of a pretrained network; the base is frozen.

    Returns
    -------
    history : DataFrame
        One row per strength of regularisation.
    maps : copies of the cohort
        Values of the tensors in `cut`.
    cut : list of KerasTensor
        Where the second phase starts; empty if it starts from the films.
    """
    pools = model.get_layer("pools").output
    is_kept = config.train_from not in NOT_KEPT
    cut = [t for t in find_cut(model) if t is not pools] if is_kept else []

    # all films as they are; the training films also in augmented copies
    n_augmented = config.frozen_copies - 1 if config.augment else 0
    copies = [np.union1d(train, validation), *[np.sort(train)] * n_augmented]
    frozen = compute_frozen(model, [*cut, pools], images, copies, config.seed, config.mirror, cache)
    features = np.full((len(copies), *frozen[0][-1].shape), np.nan, np.float32)
    for own, copy, rows in zip(features, frozen, copies, strict=True):
        own[rows] = copy[-1][rows]

    # if more layers learn later, only the strongest regularisation: a head that already fits every
    # film would leave them nothing to learn
    strengths = STRENGTHS if config.train_from == "head" and choose else STRENGTHS[:1]
    history = fit_head(model, features, labels, train, validation, strengths)
    model.get_layer("pool_bn").trainable = False
    return history, [copy[:-1] for copy in frozen], cut


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
    choose: bool,
) -> pd.DataFrame:
    """Train all layers that learn, epoch by epoch, and leave the kept epoch's weights in the model.

    `head` is the history of the first phase, if there was one.
    """
    steps = -(-len(train) // config.batch_size)
    model.compile(
        OnePassAdam(
            _schedule(config.learning_rate, config.epochs * steps),
            weight_decay=WEIGHT_DECAY if len(head) else None,
        ),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )

    # resume a training that was killed; otherwise the fitted head is epoch 0
    patience = config.patience if choose else None
    watcher = ValidationWatcher(inputs[0], labels, validation, folder, patience)
    start = watcher.resume(model)
    if not watcher.history and len(head):
        watcher.take(model, {"epoch": 0} | head[["train_loss", "train_auc"]].iloc[0].to_dict())

    # both classes weigh the same, however many films they have
    balance = len(train) / (2 * np.bincount(labels[train], minlength=2))
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
    history = pd.DataFrame(watcher.history)
    kept = history.index[-1]
    if choose:
        watcher.restore_best(model)
        kept = history["validation_auc"].idxmax()
    return history.assign(kept=history.index == kept)


def _schedule(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rise to `rate` in the first tenth of the steps, then fall along a cosine to a tenth of it.

    References
    ----------
    Loshchilov & Hutter 2017, arXiv 1608.03983.
    """
    warm = max(steps // 10, 1)
    return keras.optimizers.schedules.CosineDecay(
        rate / 10, max(steps - warm, 1), alpha=0.1, warmup_target=rate, warmup_steps=warm
    )


def make_stream(
    inputs: Inputs, labels: np.ndarray, rows: np.ndarray, config: RunConfig, seed: int, start: int
) -> tf.data.Dataset:
    """Stream the batches of the epochs from `start` on, each epoch in its own order.

    The content of a batch depends only on the seed and the number of its step.

    Parameters
    ----------
    inputs : copies of the cohort
        Films, uint8 (n, S, S), which are augmented here; or outputs of frozen layers, of which one
        copy is drawn for each film.
    labels : int array (n,)
    rows : int array
        The films to train on.
    config : RunConfig
    seed : int
    start : int
        Epochs that are already done.

    Returns
    -------
    tf.data.Dataset
        Of (one tensor per input, labels as float32 (b, 1)). Autotune is off: in TensorFlow 2.21 it
        stalls epochs.
    """
    steps, has_films = -(-len(rows) // config.batch_size), inputs[0][0].dtype == np.uint8
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
        # one key per step seeds the copies and the augmentation
        key = tf.stack([tf.constant(seed, tf.int64), step])
        copy = tf.random.stateless_uniform(tf.shape(order), key, 0, len(inputs), tf.int32)
        found = tf.numpy_function(gather, [copy, order], [tf.as_dtype(a.dtype) for a in inputs[0]])
        for tensor, array in zip(found, inputs[0], strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        if has_films:
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
    """Compute the logits, float64 (n,), of some rows of a cohort.

    `arrays` are films, uint8 (n, S, S), or outputs of frozen layers.
    """
    if arrays[0].dtype == np.uint8:
        return predict_logits(model, arrays[0][rows])
    batches = [rows[i : i + PREDICT_BATCH] for i in range(0, len(rows), PREDICT_BATCH)]
    found = [model.predict_on_batch([a[b] for a in arrays])[: len(b)] for b in batches]
    return np.concatenate(found).astype(np.float64).ravel()


class ValidationWatcher(keras.callbacks.Callback):
    """Scores each epoch, keeps the best weights, stops early, and saves a state to resume from.

    Loss and AUC of train are those of its augmented films, taken while the network learns.

    Parameters
    ----------
    arrays : sequence of arrays
        Inputs of the model for all films of the cohort, not augmented.
    labels : int array (n,)
    rows : int array
        The validation films.
    folder : Path
        For the state and the best weights.
    patience : int, optional
        Number of epochs without a better validation AUC after which training stops; None: it never
        stops early.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray | KeptMaps],
        labels: np.ndarray,
        rows: np.ndarray,
        folder: Path,
        patience: int | None,
    ) -> None:
        super().__init__()
        self.arrays, self.rows, self.labels = arrays, rows, labels[rows]
        self.folder, self.patience = folder, patience
        self.history: list[dict] = []

    def resume(self, model: keras.Model) -> int:
        """Load the state of the last finished epoch, if there is one, and return its number.

        If one of its files is missing or damaged, the training starts again.
        """
        saved, best = (read_arrays(self.folder / f"{name}.npz") for name in ("state", "best"))
        if saved is None or best is None:
            return 0
        finished = int(saved["epoch"])
        rows = [row for row in self._read_history() if row["epoch"] <= finished]
        if not rows or rows[-1]["epoch"] != finished:
            return 0
        model.optimizer.build(model.trainable_variables)
        for name, variable in self._state(model):
            variable.assign(saved[name])
        self.history = rows
        print(f"training resumes after epoch {finished}, where it was stopped")
        return finished

    def _read_history(self) -> list[dict]:
        """The finished epochs; none where the file is missing, empty or cut."""
        try:
            return pd.read_csv(self.folder / "history.csv").dropna().to_dict("records")
        except (FileNotFoundError, ValueError, KeyError):  # pandas has ValueErrors of its own
            return []

    def is_over(self) -> bool:
        """Whether the last `patience` epochs brought no better validation AUC."""
        if not self.history or self.patience is None:
            return False
        best = int(np.argmax([h["validation_auc"] for h in self.history]))
        return len(self.history) - 1 - best >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Score the validation films and save the state."""
        train = {"train_loss": float(logs["loss"]), "train_auc": float(logs["auc"])}
        self.take(self.model, {"epoch": epoch + 1} | train)
        # Keras prints these in its own progress line
        last = self.history[-1]
        logs |= {"val_loss": last["validation_loss"], "val_auc": last["validation_auc"]}
        self.model.stop_training |= self.is_over()

    def take(self, model: keras.Model, row: dict) -> None:
        """Add an epoch to the history, with the scores of the validation films, and save the state.

        Raises
        ------
        FloatingPointError
            If a logit is not finite.
        """
        logits = predict_rows(model, self.arrays, self.rows)
        if not np.isfinite(logits).all():
            raise FloatingPointError(
                f"the logits of the validation films are not finite after epoch {row['epoch']}: the"
                " training diverged; lower learning_rate"
            )
        loss = float(np.mean(np.logaddexp(0, np.where(self.labels == 1, -logits, logits))))
        row |= {"validation_loss": loss, "validation_auc": compute_auc(self.labels, logits)}
        best = max((h["validation_auc"] for h in self.history), default=-1)
        if row["validation_auc"] > best:
            weights = {f"w{i}": w for i, w in enumerate(model.get_weights())}
            write_atomically(self.folder / "best.npz", lambda p: np.savez(p, **weights))

        # the state last: it says which epoch is finished, and `resume` drops later rows
        self.history.append(row)
        table = pd.DataFrame(self.history)
        write_atomically(self.folder / "history.csv", lambda p: table.to_csv(p, index=False))
        state: dict[str, Any] = {
            name: np.asarray(variable) for name, variable in self._state(model)
        }
        state["epoch"] = row["epoch"]
        write_atomically(self.folder / "state.npz", lambda p: np.savez(p, **state))

    def restore_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch."""
        with np.load(self.folder / "best.npz") as saved:
            model.set_weights([saved[f"w{i}"] for i in range(len(saved.files))])

    @staticmethod
    def _state(model: keras.Model) -> list[tuple[str, keras.Variable]]:
        """What an epoch changes, by name: weights, dropout's generator, the optimizer."""
        optimizer = model.optimizer.variables
        elsewhere = {id(v) for v in (*model.metrics_variables, *optimizer)}
        kept = [v for v in model.variables if id(v) not in elsewhere]
        return [
            *((f"w{i}", v) for i, v in enumerate(kept)),
            *((f"o{i}", v) for i, v in enumerate(optimizer)),
        ]
