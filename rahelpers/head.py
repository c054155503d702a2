"""Fit the head of a network whose pretrained base stays frozen: what the base sees is computed once and kept, and the head is fitted exactly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from rahelpers.artifacts import code_hash, write_atomically
from rahelpers.inference import as_batch
from rahelpers.progress import show_progress
from rahelpers.tensorflow_quiet import keras, tf
from rahelpers.vgg import make_augmentation

BATCH = 16  # films
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # C of scikit-learn: from strong to weak regularisation


def compute_features(model: keras.Model, images: np.ndarray, copies: int, seed: int, mirror: bool, folder: Path) -> np.ndarray:
    """What the frozen base of a network makes of each film and of its augmented copies; each copy is kept on disk by its content.

    Parameters
    ----------
    model : keras.Model
        With a layer `pools`: the base's pooled features.
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
    float32 array (copies, n, F)
    """
    base = keras.Model(model.input, model.get_layer("pools").output)
    digest = hashlib.sha256(np.ascontiguousarray(images))
    for weights in base.get_weights():
        digest.update(np.ascontiguousarray(weights))
    made_from = [digest.hexdigest(), model.name, code_hash(("vgg", "head")), mirror]
    return np.stack([_copy_features(base, images, copy, seed, mirror, folder, made_from) for copy in range(copies)])


def _copy_features(base: keras.Model, images: np.ndarray, copy: int, seed: int, mirror: bool, folder: Path, made_from: list) -> np.ndarray:
    # the film as it is does not depend on the seed
    key = hashlib.sha256(json.dumps([*made_from, copy, seed if copy else 0]).encode()).hexdigest()
    file = folder / f"{key}.npy"
    if not file.exists():
        augment = make_augmentation(seed + 100 * copy, mirror)

        @tf.function(reduce_retracing=True)
        def look(batch: tf.Tensor) -> tf.Tensor:
            return base(augment(batch) if copy else batch, training=False)

        starts = show_progress(range(0, len(images), BATCH), f"features, copy {copy + 1}")
        found = np.concatenate([look(tf.constant(as_batch(images[i : i + BATCH]))).numpy() for i in starts])
        write_atomically(file, lambda path: np.save(path, found))
    return np.load(file)


def fit_head(model: keras.Model, features: np.ndarray, labels: np.ndarray, train: np.ndarray, validation: np.ndarray) -> pd.DataFrame:
    """Fit the network's `logit` layer by logistic regression, at several strengths of regularisation, and keep the best.

    Features are standardised by the training films, in the layer `pool_bn`; both classes weigh the same. The strength with the highest
    validation AUC is kept, of equals the strongest.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    features : float32 array (copies, n, F)
        As `compute_features` returns them.
    labels : int array (n,)
    train, validation : int array
        Rows. All copies of the training films are learnt from; validation films are scored as they are.

    Returns
    -------
    DataFrame
        One strength a row: epoch (its number), C, train_loss, train_auc, validation_loss, validation_auc.
    """
    normalise, head = model.get_layer("pool_bn"), model.get_layer("logit")
    learnt = features[:, train].reshape(-1, features.shape[2]).astype(np.float64)
    mean, variance = learnt.mean(axis=0), np.maximum(learnt.var(axis=0) - normalise.epsilon, 0)

    def standardised(x: np.ndarray) -> np.ndarray:
        return (x - mean) / np.sqrt(variance + normalise.epsilon)

    x, y, seen = standardised(learnt), np.tile(labels[train], len(features)), standardised(features[0, validation].astype(np.float64))
    rows, heads = [], []
    for number, strength in enumerate(STRENGTHS, start=1):
        fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000).fit(x, y)
        own, other = fitted.decision_function(x), fitted.decision_function(seen)
        rows.append({
            "epoch": number, "C": strength, "train_loss": log_loss(y, _sigmoid(own)), "train_auc": roc_auc_score(y, own),
            "validation_loss": log_loss(labels[validation], _sigmoid(other), labels=[0, 1]), "validation_auc": roc_auc_score(labels[validation], other),
        })  # fmt: skip
        heads.append((fitted.coef_.T, fitted.intercept_))
    history = pd.DataFrame(rows)
    normalise.set_weights([np.ones_like(mean), np.zeros_like(mean), mean, variance])
    head.set_weights(heads[int(history["validation_auc"].argmax())])
    return history


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))
