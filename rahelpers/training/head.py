"""Fit the head of a network exactly, while its pretrained base is frozen."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from rahelpers.network.backend import keras

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # scikit-learn's C: from strong to weak regularisation


def fit_head(
    model: keras.Model,
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    strengths: tuple[float, ...] = STRENGTHS,
) -> pd.DataFrame:
    """Fit the network's `logit` layer by logistic regression, and keep the best regularisation.

    Features are standardised in the layer `pool_bn`; both classes weigh the same. The strength with
    the highest validation AUC is kept, or the strongest of several equal ones.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    features : float32 array (copies, n, F)
        Output of the layer `pools` for each film and its augmented copies.
    labels : int array (n,)
    train, validation : int array
        Rows. All copies of the training films are used; validation films are scored as they are.
    strengths : tuple of float
        scikit-learn's C, from strong to weak.

    Returns
    -------
    DataFrame
        One row per strength: epoch (its number), C, train_loss, train_auc, validation_loss,
        validation_auc, kept.
    """
    normalise, head = model.get_layer("pool_bn"), model.get_layer("logit")
    own = features[:, train].reshape(-1, features.shape[2]).astype(np.float64)
    # the layer adds epsilon to the variance, so that epsilon is the least variance
    mean, variance = own.mean(axis=0), np.maximum(own.var(axis=0) - normalise.epsilon, 0)

    def standardised(x: np.ndarray) -> np.ndarray:
        return (x - mean) / np.sqrt(variance + normalise.epsilon)

    x, y = standardised(own), np.tile(labels[train], len(features))
    seen = standardised(features[0, validation].astype(np.float64))
    rows, heads = [], []
    for number, strength in enumerate(strengths, start=1):
        fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000).fit(x, y)
        logits, unseen = fitted.decision_function(x), fitted.decision_function(seen)
        rows.append(
            {
                "epoch": number,
                "C": strength,
                "train_loss": log_loss(y, _sigmoid(logits)),
                "train_auc": roc_auc_score(y, logits),
                "validation_loss": log_loss(labels[validation], _sigmoid(unseen), labels=[0, 1]),
                "validation_auc": roc_auc_score(labels[validation], unseen),
            }
        )
        heads.append((fitted.coef_.T, fitted.intercept_))
    history = pd.DataFrame(rows)
    normalise.set_weights([np.ones_like(mean), np.zeros_like(mean), mean, variance])
    kept = int(history["validation_auc"].argmax())
    head.set_weights(heads[kept])
    return history.assign(kept=history.index == kept)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))
