"""The frozen part of a network: its outputs never change, so they are computed once.

They are kept on disk, by the content of each film.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rahelpers.core.progress import show_progress
from rahelpers.core.store import DamagedArtefactError, code_hash, read_arrays, write_atomically
from rahelpers.network.augmentation import augment
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch

BATCH = 16  # films
LARGEST = 65504.0  # float16's largest number; maps are kept in float16


def find_cut(model: keras.Model) -> list[keras.KerasTensor]:
    """Find the tensors at which the frozen part of a network ends.

    Behind them, a layer learns, or comes after one that learns.

    Parameters
    ----------
    model : keras.Model
        Flat and functional. A layer learns if it has weights and is trainable.

    Returns
    -------
    list of KerasTensor
        Empty if no layer with weights is frozen.
    """
    learning: set[str] = set()
    cut: dict[int, keras.KerasTensor] = {}
    frozen_weights = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs = keras.tree.flatten(layer.input)
        frozen = [t for t in inputs if t._keras_history.operation.name not in learning]
        if layer.trainable_weights or len(frozen) < len(inputs):
            learning.add(layer.name)
            cut |= {id(t): t for t in frozen}
        else:
            frozen_weights |= bool(layer.weights)
    return list(cut.values()) if frozen_weights else []


class KeptMaps:
    """The values of one tensor for each film of a cohort, read from disk when needed.

    `kept[row]` gives those of one film, `kept[rows]` those of several.

    Attributes
    ----------
    shape : (n, ...)
    dtype : numpy.dtype
        Maps are float16, vectors float32.
    """

    def __init__(self, files: dict[int, Path], films: int, place: int) -> None:
        self._files, self._place = files, f"arr_{place}"
        first = self[next(iter(files))]
        self.shape, self.dtype = (films, *first.shape), first.dtype

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        if isinstance(rows, np.ndarray) and rows.ndim:
            return np.stack([self[int(row)] for row in rows])
        kept = read_arrays(self._files[int(rows)])
        if kept is None:
            self._files[int(rows)].unlink(missing_ok=True)
            raise DamagedArtefactError(
                f"{self._files[int(rows)]} was damaged and has been removed: run again"
            )
        return kept[self._place]


def compute_frozen(
    model: keras.Model,
    outputs: list[keras.KerasTensor],
    images: np.ndarray,
    wanted: Sequence[np.ndarray],
    seed: int,
    mirror: bool,
    folder: Path,
) -> list[list[KeptMaps]]:
    """Compute some tensors for films and their augmented copies, or find them on disk.

    Parameters
    ----------
    model : keras.Model
    outputs : list of KerasTensor
        In the frozen part of the model.
    images : uint8 array (n, S, S)
    wanted : sequence of int arrays
        For each copy, the rows of `images` that need it. The first copy is the films as they are,
        the others are augmented.
    seed : int
    mirror : bool
        Whether augmented copies may be mirrored.
    folder : Path
        May be deleted when no training is running; only time is lost.

    Returns
    -------
    list of copies, each a list with one KeptMaps per tensor
    """
    base = keras.Model(model.input, outputs)
    weights = hashlib.sha256()
    for array in base.get_weights():
        weights.update(array.tobytes())
    # all that the values depend on, except the film itself
    made_from = [
        weights.hexdigest(),
        model.name,
        code_hash(("network/vgg", "network/augmentation", "training/frozen")),
        model.get_layer("block1_conv1").compute_dtype,
        [t._keras_history.operation.name for t in outputs],
    ]
    needed = np.unique(np.concatenate(wanted))
    films = {int(row): hashlib.sha256(images[row].tobytes()).hexdigest() for row in needed}
    found = []
    for copy, rows in enumerate(wanted):
        # a film as it is depends neither on the seed nor on mirroring
        drawn = [copy, seed, mirror] if copy else []
        files = {}
        for row in map(int, rows):
            key = hashlib.sha256(json.dumps([*made_from, films[row], drawn]).encode()).hexdigest()
            files[row] = folder / key[:2] / f"{key}.npz"
        # a file that is empty or cut has lost the end, where its contents are listed
        missing = {row: file for row, file in files.items() if not zipfile.is_zipfile(file)}
        if missing:
            draws = {row: int(films[row][:7], 16) for row in missing}
            _fill(base, images, missing, draws, copy, seed, mirror)
        found.append([KeptMaps(files, len(images), place) for place in range(len(outputs))])
    return found


def _fill(
    base: keras.Model,
    images: np.ndarray,
    files: dict[int, Path],
    draws: dict[int, int],
    copy: int,
    seed: int,
    mirror: bool,
) -> None:
    """Write the file of each film.

    A film's augmentation depends on seed, copy and its own content (`draws`), not on the other
    films of its batch.
    """

    @tf.function(reduce_retracing=True)
    def look(batch: tf.Tensor, keys: tf.Tensor) -> list[tf.Tensor]:
        if copy:
            batch = tf.map_fn(
                lambda film: augment(film[0][None], film[1], mirror)[0],
                (batch, keys),
                fn_output_signature=tf.float32,
            )
        return [
            tf.cast(tf.minimum(values, LARGEST), tf.float16)
            if len(values.shape) == 4
            else tf.cast(values, tf.float32)
            for values in keras.tree.flatten(base(batch, training=False))
        ]

    rows = list(files)
    for i in show_progress(range(0, len(rows), BATCH), f"frozen layers, copy {copy + 1}"):
        part = rows[i : i + BATCH]
        # the last batch is filled up, so that all batches have one shape and are traced once
        full = part + part[-1:] * (BATCH - len(part))
        keys = tf.constant([[seed + copy, draws[row]] for row in full])
        found = [values.numpy() for values in look(tf.constant(as_batch(images[full])), keys)]
        for place, row in enumerate(part):
            own = [values[place] for values in found]
            write_atomically(files[row], partial(_save, own))


def _save(arrays: list[np.ndarray], path: Path) -> None:
    np.savez(path, *arrays)
