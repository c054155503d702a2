"""The head of a network whose pretrained base is frozen, fitted exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from rahelpers.network.backend import keras

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # C of scikit-learn: from strong to weak regularisation


def fit_head(
    model: keras.Model,
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    strengths: tuple[float, ...] = STRENGTHS,
) -> pd.DataFrame:
    """Fit the network's `logit` layer by logistic regression, at several strengths of
    regularisation, and keep the best.

    Features are standardised in the layer `pool_bn`; both classes weigh the same. The strength with
    the highest validation AUC is kept, of equals the strongest.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    features : float32 array (copies, n, F)
        What the layer `pools` says of each film and its augmented copies.
    labels : int array (n,)
    train, validation : int array
        Rows. All copies of the training films are learnt from; validation films are scored as they
        are.
    strengths : tuple of float
        C of scikit-learn, from strong to weak.

    Returns
    -------
    DataFrame
        One strength a row: epoch (its number), C, train_loss, train_auc, validation_loss,
        validation_auc.
    """
    normalise, head = model.get_layer("pool_bn"), model.get_layer("logit")
    learnt = features[:, train].reshape(-1, features.shape[2]).astype(np.float64)
    mean, variance = learnt.mean(axis=0), np.maximum(learnt.var(axis=0) - normalise.epsilon, 0)

    def standardised(x: np.ndarray) -> np.ndarray:
        return (x - mean) / np.sqrt(variance + normalise.epsilon)

    x, y, seen = (
        standardised(learnt),
        np.tile(labels[train], len(features)),
        standardised(features[0, validation].astype(np.float64)),
    )
    rows, heads = [], []
    for number, strength in enumerate(strengths, start=1):
        fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000).fit(x, y)
        own, other = fitted.decision_function(x), fitted.decision_function(seen)
        rows.append(
            {
                "epoch": number,
                "C": strength,
                "train_loss": log_loss(y, _sigmoid(own)),
                "train_auc": roc_auc_score(y, own),
                "validation_loss": log_loss(labels[validation], _sigmoid(other), labels=[0, 1]),
                "validation_auc": roc_auc_score(labels[validation], other),
            }
        )
        heads.append((fitted.coef_.T, fitted.intercept_))
    history = pd.DataFrame(rows)
    normalise.set_weights([np.ones_like(mean), np.zeros_like(mean), mean, variance])
    head.set_weights(heads[int(history["validation_auc"].argmax())])
    return history


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))
