"""Is a film like those that the network learnt from? A distance in the network's own features; and
the training films nearest to a film.

The features are what the last layer reads. Of the scores compared in docs/evaluation.md the
Mahalanobis distance found most films that did not belong, and the network's own certainty fewest:
it may be sure of a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf

from rahelpers.core.progress import show_progress
from rahelpers.films.normalisation import make_thumbnail
from rahelpers.network.backend import keras
from rahelpers.network.bundle import FAMILIARITY_FILE, Bundle, as_batch
from rahelpers.scores.conformal import rank_threshold

FALSE_ALARM = 0.05  # of the patients of films that the network did not learn from
MOST_FILMS = 1000  # training films that a bundle carries: the statistics of more hardly differ
THUMBNAIL = 64  # pixels
BATCH = 16  # films


@dataclass(frozen=True)
class OutOfDistribution:
    """How far a film lies from the training films.

    Attributes
    ----------
    score : float
        Root mean square distance from their mean, each direction in its own spread; it has no
        meaning but against the threshold.
    threshold : float
        What a stated share of held-out films exceeds.
    unlike : bool
        The score exceeds the threshold.
    words : str
        For a person.
    """

    score: float
    threshold: float
    unlike: bool
    words: str


@dataclass(frozen=True)
class SimilarFilm:
    """A training film that the network's features put near.

    Attributes
    ----------
    image_id : str
        Its name; of a source that is not public a number, which only the run that made the bundle
        can resolve.
    label : int
    distance : float
        1 - cosine of the features, in [0, 2].
    thumbnail : uint8 array (64, 64)
    """

    image_id: str
    label: int
    distance: float
    thumbnail: np.ndarray


class Gaussian:
    """Mean and covariance of training films, and the distance from them.

    Parameters
    ----------
    features : float array (n, F)

    References
    ----------
    Lee et al., NeurIPS 2018, arXiv 1807.03888 (Mahalanobis distance in a network's features; here
    one mean, as two did no better); Ledoit & Wolf, J Multivar Anal 2004;88:365 (the shrinkage that
    lets n be smaller than F).
    """

    def __init__(self, features: np.ndarray) -> None:
        features = np.asarray(features, dtype=np.float64)
        self.mean, spread = features.mean(axis=0), features.std(axis=0)
        self.spread = spread + 1e-6 * max(
            spread.max(), 1e-12
        )  # a feature that never changed in training must not, alone, decide
        covariance, _ = ledoit_wolf((features - self.mean) / self.spread, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        self.whiten = vectors / np.sqrt(np.maximum(values, 1e-9))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Root mean square of the whitened features, float64 (n,), of features, float (n, F)."""
        return np.sqrt(
            np.mean(
                ((np.asarray(features, dtype=np.float64) - self.mean) / self.spread @ self.whiten)
                ** 2,
                axis=1,
            )
        )


@lru_cache(maxsize=8)
def _looking(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, [model.output, model.get_layer("logit").input])


def extract_features(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of films, from one pass.

    Parameters
    ----------
    model : keras.Model
        Its last layer is called `logit`.
    images : uint8 array (n, S, S)

    Returns
    -------
    logits : float64 array (n,)
    features : float32 array (n, F)
        What the last layer reads.
    """
    looking, found = _looking(model), []
    for i in show_progress(range(0, len(images), BATCH), "films seen by the network"):
        found.append(
            [
                np.asarray(a, dtype=np.float32)
                for a in looking.predict_on_batch(as_batch(images[i : i + BATCH]))
            ]
        )
    if not found:
        return np.empty(0), np.empty((0, looking.output[1].shape[-1]), np.float32)
    logits, features = (np.concatenate(part) for part in zip(*found, strict=True))
    return logits.astype(np.float64).ravel(), features


def fit_familiarity(
    features: np.ndarray,
    images: np.ndarray,
    manifest: pd.DataFrame,
    learnt: np.ndarray,
    held_out: np.ndarray,
    source: str,
    seed: int,
) -> dict[str, np.ndarray]:
    """What a bundle must know to tell films that are unlike its training films.

    Parameters
    ----------
    features : float32 array (n, F)
        Of the films, as `extract_features` gives them.
    images : uint8 array (n, S, S)
    manifest : DataFrame, n rows
        image_id, patient_id, label.
    learnt : int array
        Rows of the films that the network learnt from; of many, `MOST_FILMS` are drawn by `seed`.
    held_out : int array
        Rows of the films that set the threshold: none that the network learnt from.
    source : str
        Of the cohort. Names of films of the source `folder` may hold a patient's number, so their
        row stands in the name's place.
    seed : int

    Returns
    -------
    dict
        features float32 (m, F), image_id, label, thumbnails uint8 (m, 64, 64), source, threshold,
        false_alarm, held_out (distances of the held-out films, sorted).
    """
    rows = np.sort(
        np.random.default_rng(seed).choice(learnt, min(MOST_FILMS, len(learnt)), replace=False)
    )
    patients = manifest["patient_id"].to_numpy()
    if known := np.intersect1d(held_out, learnt).size:
        raise ValueError(
            f"{known} of {len(held_out)} held-out films were learnt from: expected none"
        )
    own = features[rows]
    distances, of = Gaussian(own).distance(features[held_out]), patients[held_out]
    # few patients cannot promise so few false alarms: then the furthest of them is the limit, and
    # the rate says what that promises
    false_alarm = max(FALSE_ALARM, 1 / (len(np.unique(of)) + 1))
    names = (
        [f"film {row}" for row in rows]
        if source == "folder"
        else manifest["image_id"].iloc[rows].astype(str).tolist()
    )
    return {
        "features": own,
        "image_id": np.array(names, dtype=str),
        "label": manifest["label"].to_numpy()[rows].astype(np.int8),
        "thumbnails": np.stack([make_thumbnail(images[row] / 255.0, THUMBNAIL) for row in rows]),
        "source": np.array(source),
        "threshold": np.array(rank_threshold(distances, of, false_alarm)),
        "false_alarm": np.array(false_alarm),
        "held_out": np.sort(distances),
    }


def write_familiarity(path: Path, *fitted_from: object) -> None:
    """Write `familiarity.npz`; `fitted_from` goes to `fit_familiarity`."""
    np.savez_compressed(path, **fit_familiarity(*fitted_from))


class Familiarity:
    """The training films of a bundle, as its network sees them.

    Parameters
    ----------
    model : keras.Model
    fitted : dict
        As `fit_familiarity` returns it.
    """

    def __init__(self, model: keras.Model, fitted: dict[str, np.ndarray]) -> None:
        self.model, self.fitted = model, fitted
        self.threshold, self.false_alarm = float(fitted["threshold"]), float(fitted["false_alarm"])
        self.gaussian = Gaussian(fitted["features"])
        self._directions = _unit(fitted["features"])

    def score(self, image: np.ndarray) -> OutOfDistribution:
        """How far one film, uint8 (S, S), lies from the training films."""
        return self.judge(extract_features(self.model, image[None])[1][0])

    def judge(self, features: np.ndarray) -> OutOfDistribution:
        """`score` of a film whose features, float (F,), are known."""
        score = float(self.gaussian.distance(features[None])[0])
        further = int((self.fitted["held_out"] >= score).sum())
        place = (
            f"{further} of {len(self.fitted['held_out'])} held-out films lie as far from the"
            " training films, or further"
        )
        if score > self.threshold:
            words = (
                f"unlike the films that the network learnt from: {place}. Do not rely on the"
                " answer; check that it is one hand, PA, well exposed"
            )
        else:
            words = f"not unlike the films that the network learnt from: {place}"
        return OutOfDistribution(score, self.threshold, score > self.threshold, words)

    def similar(self, image: np.ndarray, n: int = 5) -> list[SimilarFilm]:
        """The `n` training films nearest to one film, uint8 (S, S), the nearest first."""
        return self.neighbours(extract_features(self.model, image[None])[1][0], n)

    def neighbours(self, features: np.ndarray, n: int = 5) -> list[SimilarFilm]:
        """`similar` of a film whose features, float (F,), are known."""
        distance = 1 - self._directions @ _unit(features[None])[0]
        nearest = np.argsort(distance, kind="stable")[:n]
        return [
            SimilarFilm(
                str(self.fitted["image_id"][i]),
                int(self.fitted["label"][i]),
                float(distance[i]),
                self.fitted["thumbnails"][i],
            )
            for i in nearest
        ]

    def neighbour_distance(self, features: np.ndarray, k: int = 5) -> np.ndarray:
        """Distance to the k-th nearest training film, float64 (n,), of features, float (n, F) (Sun
        et al., ICML 2022, arXiv 2204.06507).

        Not what `score` uses: it is kept to be compared with.
        """
        return (
            1
            - np.sort(_unit(features) @ self._directions.T, axis=1)[
                :, -min(k, len(self._directions))
            ]
        )


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def load_familiarity(bundle: Bundle) -> Familiarity:
    """The familiarity of a bundle, whose files `load_bundle` has checked."""
    with np.load(bundle.folder / FAMILIARITY_FILE, allow_pickle=False) as fitted:
        return Familiarity(bundle.model, dict(fitted))
