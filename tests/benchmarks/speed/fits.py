"""Trainings from films to weights, compared with the `fit` that a student would write.

Plain `fit` has the films as a float array in memory, Keras's layers for augmentation, and fp32.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.store import open_run
from rahelpers.curation.cohort import load_cohort
from rahelpers.network.backend import keras
from rahelpers.network.bundle import as_batch, predict_logits
from rahelpers.network.vgg import build_network
from rahelpers.phantom import iter_cohort
from rahelpers.scores.intervals import auc_interval
from rahelpers.scores.metrics import ScoredFilms
from rahelpers.training.fitting import fit_network
from tests.benchmarks.speed.suite import Sizes, as_row, as_table

SEED = 7
DRAWN = 256  # pixels of a phantom film


@dataclass(frozen=True, kw_only=True)
class Films:
    """The films of both trainings.

    Attributes
    ----------
    images : uint8 array (n, S, S)
    labels : int array (n,)
    patients : str array (n,)
    train, validation : int array
        Rows; no patient is in both.
    source : str
    """

    images: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    source: str


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    seconds : float
        From the films to the weights of the best epoch.
    epoch : float
        Seconds of the fastest epoch.
    auc : dict
        value, low, high; of the validation films, at the best epoch.
    """

    seconds: float
    epoch: float
    auc: dict[str, float]


@cache
def find_films(run: Path | None, patients: int, pixels: int, spectrum: str = "mixed") -> Films:
    """Take the curated films of a run, or draw a phantom cohort.

    Of the phantom, every fourth patient of each class is for validation.
    """
    if run:
        cohort, source = load_cohort(open_run(run)), open_run(run).config.title
        splits = cohort.manifest["split"].to_numpy()
        seen = np.flatnonzero(np.isin(splits, ["train", "validation"]))  # test films stay unseen
        images, table = cohort.images[seen], cohort.manifest.iloc[seen]
        validates = splits[seen] == "validation"
    else:
        drawn, source = list(iter_cohort(SEED, patients, DRAWN, spectrum)), "phantom"
        images = [
            np.uint8(255 * (f.image if f.laterality == "L" else f.image[:, ::-1])) for _, f in drawn
        ]
        rows = [{"label": int(p.label), "patient_id": p.patient_id} for p, _ in drawn]
        table = pd.DataFrame(rows)
        # the fourth of each class; films 2 k and 2 k + 1 are the hands of one patient
        validates = (table.groupby("label").cumcount() // 2 % 4 == 3).to_numpy()
    size, area = (pixels, pixels), cv2.INTER_AREA
    return Films(
        images=np.stack([cv2.resize(image, size, interpolation=area) for image in images]),
        labels=table["label"].to_numpy(),
        patients=table["patient_id"].to_numpy(),
        train=np.flatnonzero(~validates),
        validation=np.flatnonzero(validates),
        source=source,
    )


class EpochClock(keras.callbacks.Callback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.ends.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.ends.append(time.perf_counter())

    @property
    def fastest(self) -> float:
        """Seconds."""
        return float(np.diff(self.ends).min())


def fit_plainly(films: Films, config: RunConfig) -> Training:
    """Train with Keras's `fit` on arrays in fp32.

    Every layer learns, Keras's layers augment, validation data are scored after each epoch, and the
    best epoch is kept.
    """
    begun, clock = time.perf_counter(), EpochClock()
    side = films.images.shape[1]
    network = build_network(config.architecture, side, config.weights, "block1", SEED)
    x = inputs = keras.Input((side, side, 1))
    for layer in (
        keras.layers.RandomRotation(10 / 360, fill_mode="constant"),
        keras.layers.RandomTranslation(0.05, 0.05, fill_mode="constant"),
        keras.layers.RandomZoom(0.08, fill_mode="constant"),
        keras.layers.RandomBrightness(0.08, (0, 1)),
        keras.layers.RandomContrast(0.15, (0, 1)),
    ):
        x = layer(x)
    model = keras.Model(inputs, network(x))
    auc = keras.metrics.AUC(from_logits=True, name="auc")
    model.compile(
        keras.optimizers.Adam(config.learning_rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[auc],
    )
    arrays = as_batch(films.images)
    best = keras.callbacks.EarlyStopping(
        "val_auc", patience=config.patience, mode="max", restore_best_weights=True
    )
    model.fit(
        arrays[films.train],
        films.labels[films.train],
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=(arrays[films.validation], films.labels[films.validation]),
        callbacks=[clock, best],
        verbose=0,
    )
    return Training(time.perf_counter() - begun, clock.fastest, _score(network, films))


def fit_ours(films: Films, config: RunConfig) -> Training:
    """Train with `fit_network`, from films on disk, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        np.save(Path(folder) / "films.npy", films.images)
        images, clock = np.load(Path(folder) / "films.npy", mmap_mode="r"), EpochClock()
        begun = time.perf_counter()
        folders = Path(folder) / "fit", Path(folder) / "cache"
        rows = films.train, films.validation
        fit = fit_network(images, films.labels, *rows, config, SEED, *folders, callbacks=[clock])
        seconds = time.perf_counter() - begun
    return Training(seconds, clock.fastest, _score(fit.model, films))


def _score(model: keras.Model, films: Films) -> dict[str, float]:
    rows = films.validation
    return auc_interval(
        ScoredFilms(
            films.labels[rows], predict_logits(model, films.images[rows]), films.patients[rows]
        )
    )


def measure_small(sizes: Sizes) -> pd.DataFrame:
    """Measure vgg_small from films to weights, compared with plain `fit` on the same films."""
    films = find_films(sizes.run, sizes.patients, sizes.training_pixels)
    config = RunConfig(epochs=sizes.epochs, patience=sizes.epochs, precision="auto")
    return _compare(films, config, "vgg_small", sizes.fits, None, 1.5)


def measure_finetuning(sizes: Sizes) -> pd.DataFrame:
    """Measure VGG16 from block 5 on cached maps, compared with plain `fit` of the full network."""
    films = find_films(sizes.run, sizes.patients, sizes.training_pixels)
    with tempfile.TemporaryDirectory() as folder:
        weights = sizes.weights
        if not weights:  # random ones, as a file: without a file, all layers would be trained
            weights = f"{folder}/random.weights.h5"
            keras.applications.VGG16(include_top=False, weights=None).save_weights(weights)
        config = RunConfig(
            architecture="vgg16",
            weights=weights,
            epochs=sizes.epochs,
            patience=sizes.epochs,
            precision="auto",
            learning_rate=5e-5,
            batch_size=sizes.training_batch,
        )
        name = f"vgg16 {'' if sizes.weights else 'with random weights '}from block 5"
        return _compare(films, config, name, 1, 4.0, 5.0)


def _compare(
    films: Films,
    config: RunConfig,
    name: str,
    rounds: int,
    epoch_target: float | None,
    target: float,
) -> pd.DataFrame:
    pairs = [(fit_ours(films, config), fit_plainly(films, config)) for _ in range(rounds)]
    what = (
        f"{name}, {films.images.shape[1]} px, {len(films.train)} films of {films.source},"
        f" {config.epochs} epochs"
    )
    rows = []
    for who, trainings in zip(("ours", "plain fit"), zip(*pairs, strict=True), strict=True):
        auc = trainings[-1].auc
        interval = f"interval {auc['low']:.2f} to {auc['high']:.2f}"
        rows += [
            as_row(f"{what}: {who}, to the end", min(t.seconds for t in trainings), "s"),
            as_row(f"{what}: {who}, per epoch", min(t.epoch for t in trainings), "s"),
            as_row(f"{what}: {who}, validation AUC, {interval}", auc["value"], "AUC"),
        ]
    end, epoch, _, plain_end, plain_epoch, _ = (row["value"] for row in rows)
    faster = f"{what}: per epoch, faster than plain fit"
    rows.append(as_row(faster, plain_epoch / epoch, "times", epoch_target))
    faster = f"{what}: to the end, faster than plain fit"
    rows.append(as_row(faster, plain_end / end, "times", target))
    return as_table(rows)
