"""The frozen part of a network: what it makes of a film never changes, so it is computed once and
kept on disk by the film's content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rahelpers.core.progress import show_progress
from rahelpers.core.store import code_hash, write_atomically
from rahelpers.network.augmentation import augment
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch

BATCH = 16  # films
LARGEST = 65504.0  # of float16, in which maps are kept


def find_cut(model: keras.Model) -> list[keras.KerasTensor]:
    """The tensors that lead from the layers that never change into those that learn, or that stand
    behind one that learns.

    Parameters
    ----------
    model : keras.Model
        Flat and functional. A layer learns where it has weights and is trainable.

    Returns
    -------
    list of KerasTensor
        Empty where no layer with weights is frozen.
    """
    learning: set[str] = set()
    cut: dict[int, keras.KerasTensor] = {}
    frozen_weights = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs = keras.tree.flatten(layer.input)
        if layer.trainable_weights or any(
            t._keras_history.operation.name in learning for t in inputs
        ):
            learning.add(layer.name)
            cut |= {id(t): t for t in inputs if t._keras_history.operation.name not in learning}
        else:
            frozen_weights |= bool(layer.weights)
    return list(cut.values()) if frozen_weights else []


class KeptMaps:
    """What one tensor says of each film of a cohort, read from disk when it is asked for:
    `kept[row]`, `kept[rows]`.

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
        if np.ndim(rows):
            return np.stack([self[int(row)] for row in rows])
        with np.load(self._files[int(rows)]) as kept:
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
    """What the network makes of films and of their augmented copies, at the given tensors. Each
    film is kept by its own content.

    Parameters
    ----------
    model : keras.Model
    outputs : list of KerasTensor
        Inside the model, after layers that never change.
    images : uint8 array (n, S, S)
    wanted : sequence of int arrays
        For each copy the rows of `images` that it is needed of. The first copy is the film as it
        is, the others are augmented.
    seed : int
    mirror : bool
        Whether copies may be mirrored.
    folder : Path
        May be deleted whenever nothing trains; nothing is lost but time.

    Returns
    -------
    list of copies, each a list of KeptMaps, one a tensor
    """
    base = keras.Model(model.input, outputs)
    weights = hashlib.sha256()
    for array in base.get_weights():
        weights.update(np.ascontiguousarray(array))
    precision = model.get_layer("block1_conv1").compute_dtype
    names = [t._keras_history.operation.name for t in outputs]
    made_from = [
        weights.hexdigest(),
        model.name,
        code_hash(("network/vgg", "network/augmentation", "training/frozen")),
        precision,
        names,
    ]
    needed = np.unique(np.concatenate(wanted))
    films = {
        int(row): hashlib.sha256(np.ascontiguousarray(images[row])).hexdigest() for row in needed
    }
    found = []
    for copy, rows in enumerate(wanted):
        # the film as it is depends neither on the seed nor on mirroring
        drawn = [copy, seed, mirror] if copy else []
        keys = {
            int(row): (
                hashlib.sha256(
                    json.dumps([*made_from, films[int(row)], drawn]).encode()
                ).hexdigest()
            )
            for row in rows
        }
        files = {row: folder / key[:2] / f"{key}.npz" for row, key in keys.items()}
        missing = {row: file for row, file in files.items() if not file.exists()}
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
    """Write each film's file. A film's augmentation follows from seed, copy and its own content
    (`draws`), whatever stands beside it in a batch.
    """

    @tf.function(reduce_retracing=True)
    def look(batch: tf.Tensor, keys: tf.Tensor) -> list[tf.Tensor]:
        if copy:
            batch = tf.map_fn(
                lambda film: augment(film[0][None], film[1], mirror)[0],
                (batch, keys),
                fn_output_signature=tf.float32,
            )
        found = base(batch, training=False)
        return [
            (
                tf.cast(tf.minimum(f, LARGEST), tf.float16)
                if len(f.shape) == 4
                else tf.cast(f, tf.float32)
            )
            for f in keras.tree.flatten(found)
        ]

    rows = list(files)
    for i in show_progress(range(0, len(rows), BATCH), f"frozen layers, copy {copy + 1}"):
        part = rows[i : i + BATCH]
        full = part + part[-1:] * (
            BATCH - len(part)
        )  # one shape for all batches: the last is filled up
        found = [
            f.numpy()
            for f in look(
                tf.constant(as_batch(images[full])),
                tf.constant([[seed + copy, draws[row]] for row in full]),
            )
        ]
        for place, row in enumerate(part):
            own = [f[place] for f in found]
            write_atomically(files[row], lambda p, own=own: np.savez(p, *own))
