"""The frozen part of a network: what it makes of each film never changes, so it is computed once and kept on disk by its content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from rahelpers.artifacts import code_hash
from rahelpers.augmentation import augment
from rahelpers.inference import as_batch
from rahelpers.progress import show_progress
from rahelpers.tensorflow_quiet import keras, tf

BATCH = 16  # films
LARGEST = 65504.0  # of float16, in which maps are kept


def find_cut(model: keras.Model) -> list[keras.KerasTensor]:
    """The tensors that lead from the layers that never change into those that learn, or that stand behind one that learns.

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
        if layer.trainable_weights or any(t._keras_history.operation.name in learning for t in inputs):
            learning.add(layer.name)
            cut |= {id(t): t for t in inputs if t._keras_history.operation.name not in learning}
        else:
            frozen_weights |= bool(layer.weights)
    return list(cut.values()) if frozen_weights else []


def compute_frozen(
    model: keras.Model, outputs: list[keras.KerasTensor], images: np.ndarray, copies: int, seed: int, mirror: bool, folder: Path
) -> list[list[np.ndarray]]:
    """What the network makes of each film and of its augmented copies, at the given tensors.

    Parameters
    ----------
    model : keras.Model
    outputs : list of KerasTensor
        Inside the model, after layers that never change.
    images : uint8 array (n, S, S)
    copies : int
        The first is the film as it is, the others are augmented.
    seed : int
    mirror : bool
        Whether copies may be mirrored.
    folder : Path
        May be deleted at any time; nothing is lost but time.

    Returns
    -------
    list of copies, each a list of arrays, one a tensor
        Memory-mapped. Maps, float16 (n, h, w, c); vectors, float32 (n, c).
    """
    base = keras.Model(model.input, outputs)
    digest = hashlib.sha256(np.ascontiguousarray(images))
    for weights in base.get_weights():
        digest.update(np.ascontiguousarray(weights))
    precision = model.get_layer("block1_conv1").compute_dtype
    made_from = [digest.hexdigest(), model.name, code_hash(("vgg", "augmentation", "frozen")), precision, mirror]
    return [_compute_copy(base, images, copy, seed, mirror, folder, made_from) for copy in range(copies)]


def _compute_copy(base: keras.Model, images: np.ndarray, copy: int, seed: int, mirror: bool, folder: Path, made_from: list) -> list[np.ndarray]:
    # the film as it is does not depend on the seed
    keys = [hashlib.sha256(json.dumps([*made_from, t._keras_history.operation.name, copy, seed if copy else 0]).encode()).hexdigest() for t in base.outputs]
    files = [folder / f"{key}.npy" for key in keys]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if missing:
        _fill(keras.Model(base.input, [base.outputs[i] for i in missing]), images, copy, seed, mirror, [files[i] for i in missing])
    return [np.load(file, mmap_mode="r") for file in files]


def _fill(base: keras.Model, images: np.ndarray, copy: int, seed: int, mirror: bool, files: list[Path]) -> None:
    @tf.function(reduce_retracing=True)
    def look(batch: tf.Tensor, start: tf.Tensor) -> list[tf.Tensor]:
        seen = augment(batch, tf.stack([seed + copy, start]), mirror) if copy else batch
        found = base(seen, training=False)
        return [tf.cast(tf.minimum(f, LARGEST), tf.float16) if len(f.shape) == 4 else tf.cast(f, tf.float32) for f in keras.tree.flatten(found)]

    folder = files[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        paths = [Path(temporary) / file.name for file in files]
        kept: list[np.ndarray] = []
        for i in show_progress(range(0, len(images), BATCH), f"frozen layers, copy {copy + 1}"):
            found = look(tf.constant(as_batch(images[i : i + BATCH])), tf.constant(i))
            if not kept:
                kept = [np.lib.format.open_memmap(p, "w+", f.numpy().dtype, (len(images), *f.shape[1:])) for p, f in zip(paths, found, strict=True)]
            for array, part in zip(kept, found, strict=True):
                array[i : i + BATCH] = part.numpy()
        for array in kept:
            array.flush()
        for path, file in zip(paths, files, strict=True):
            path.replace(file)  # a reader sees a whole file or none
