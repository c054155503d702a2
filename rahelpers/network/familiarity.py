"""How familiar a film is to a network: its distance from the training films, and the training films
most similar to it.

Both are measured in the network's own features, the input of its last layer. Of the scores compared
in docs/evaluation.md, the Mahalanobis distance found the most films that did not belong. The
network's own certainty found the fewest: a network can be certain about a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from rahelpers.core.progress import show_progress
from rahelpers.films.normalisation import make_thumbnail
from rahelpers.network.backend import keras
from rahelpers.network.bundle import FAMILIARITY_FILE, Bundle, as_batch
from rahelpers.scores.conformal import rank_threshold

FALSE_ALARM = 0.05  # share of patients whose films the network did not train on
MOST_FILMS = 1000  # training films in a bundle: more would hardly change the statistics
THUMBNAIL = 64  # pixels
BATCH = 16  # films


@dataclass(frozen=True)
class OutOfDistribution:
    """How far a film is from the training films.

    Attributes
    ----------
    score : float
        Root mean square distance from their mean, each direction measured in its own spread. Only
        its comparison with the threshold has a meaning.
    threshold : float
        The score that a stated share of the held-out films exceeds.
    unlike : bool
        Whether the score exceeds the threshold.
    words : str
        The same as a sentence.
    """

    score: float
    threshold: float
    unlike: bool
    words: str


@dataclass(frozen=True)
class SimilarFilm:
    """A training film whose features are close to those of a film.

    Attributes
    ----------
    image_id : str
        Its name. If the source is not public, a number that only the run behind the bundle can
        resolve.
    label : int
    distance : float
        1 - cosine of the angle between the features, in [0, 2].
    thumbnail : uint8 array (64, 64)
    """

    image_id: str
    label: int
    distance: float
    thumbnail: np.ndarray


class Gaussian:
    """A normal distribution fitted to the features of training films.

    Parameters
    ----------
    features : float array (n, F)

    References
    ----------
    Lee et al., NeurIPS 2018, arXiv 1807.03888 (Mahalanobis distance in a network's features; one
    mean for both classes here, as two did no better). Ledoit & Wolf, J Multivar Anal 2004;88:365
    (shrinkage, so that n may be smaller than F).
    """

    def __init__(self, features: np.ndarray) -> None:
        features = np.asarray(features, dtype=np.float64)
        spread = features.std(axis=0)
        # a feature that never changed in training would otherwise divide by zero
        self.spread = spread + 1e-6 * max(spread.max(), 1e-12)
        self.estimate = LedoitWolf().fit(features / self.spread)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance over the root of F, float64 (n,), of features, float (n, F)."""
        scaled = np.asarray(features, dtype=np.float64) / self.spread
        return np.sqrt(self.estimate.mahalanobis(scaled) / scaled.shape[1])


@lru_cache(maxsize=8)
def _with_features(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, [model.output, model.get_layer("logit").input])


def extract_features(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute logits and features of films in one pass.

    Parameters
    ----------
    model : keras.Model
        Its last layer is named `logit`.
    images : uint8 array (n, S, S)

    Returns
    -------
    logits : float64 array (n,)
    features : float32 array (n, F)
        The input of the last layer.
    """
    network, found = _with_features(model), []
    for i in show_progress(range(0, len(images), BATCH), "films seen by the network"):
        outputs = network.predict_on_batch(as_batch(images[i : i + BATCH]))
        found.append([np.asarray(a, dtype=np.float32) for a in outputs])
    if not found:
        return np.empty(0), np.empty((0, network.output[1].shape[-1]), np.float32)
    logits, features = (np.concatenate(part) for part in zip(*found, strict=True))
    return logits.astype(np.float64).ravel(), features


def fit_familiarity(
    features: np.ndarray,
    images: np.ndarray,
    manifest: pd.DataFrame,
    train: np.ndarray,
    held_out: np.ndarray,
    source: str,
    seed: int,
) -> dict[str, np.ndarray]:
    """Collect what a bundle needs to recognise films that are unlike its training films.

    Parameters
    ----------
    features : float32 array (n, F)
        From `extract_features`.
    images : uint8 array (n, S, S)
    manifest : DataFrame, n rows
        image_id, patient_id, label.
    train : int array
        Rows of the training films. If there are more than `MOST_FILMS`, that many are drawn.
    held_out : int array
        Rows of the films that set the threshold; none of them may be a training film.
    source : str
        Of the cohort. File names of the source `folder` may contain a patient's number, so the row
        number replaces them.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        features float32 (m, F), image_id, label, thumbnails uint8 (m, 64, 64), source, threshold,
        false_alarm, held_out (distances of the held-out films, sorted).

    Raises
    ------
    ValueError
        If a held-out film is a training film.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(train, min(MOST_FILMS, len(train)), replace=False))
    patients = manifest["patient_id"].to_numpy()
    if known := np.intersect1d(held_out, train).size:
        raise ValueError(
            f"{known} of {len(held_out)} held-out films are training films: expected none"
        )
    own = features[rows]
    distances, of = Gaussian(own).distance(features[held_out]), patients[held_out]
    # few patients cannot guarantee a low false-alarm rate: then the threshold is the distance of
    # the furthest of them, and `false_alarm` is the rate that this guarantees
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


class Familiarity:
    """The training films of a bundle, as its network sees them.

    Parameters
    ----------
    model : keras.Model
    fitted : dict
        From `fit_familiarity`.
    """

    def __init__(self, model: keras.Model, fitted: dict[str, np.ndarray]) -> None:
        self.model, self.fitted = model, fitted
        self.threshold, self.false_alarm = float(fitted["threshold"]), float(fitted["false_alarm"])
        self.gaussian = Gaussian(fitted["features"])
        # in double precision, as the cosines of similar films differ only in their last digits
        self._nearest = NearestNeighbors(metric="cosine").fit(fitted["features"].astype(np.float64))

    def judge(self, features: np.ndarray) -> OutOfDistribution:
        """Say how far a film with these features, float (F,), is from the training films."""
        score = float(self.gaussian.distance(features[None])[0])
        held_out = self.fitted["held_out"]
        place = (
            f"{int((held_out >= score).sum())} of {len(held_out)} held-out films are at least as"
            " far from them"
        )
        if score > self.threshold:
            words = (
                f"unlike the training films: {place}. Do not rely on the answer; check that the"
                " film shows one hand, PA, well exposed"
            )
        else:
            words = f"not unlike the training films: {place}"
        return OutOfDistribution(score, self.threshold, score > self.threshold, words)

    def neighbours(self, features: np.ndarray, n: int = 5) -> list[SimilarFilm]:
        """List the `n` training films most similar to features, float (F,), the nearest first."""
        distances, rows = self._find_nearest(features[None], n)
        return [
            SimilarFilm(
                str(self.fitted["image_id"][row]),
                int(self.fitted["label"][row]),
                float(distance),
                self.fitted["thumbnails"][row],
            )
            for distance, row in zip(distances[0], rows[0], strict=True)
        ]

    def neighbour_distance(self, features: np.ndarray, k: int = 5) -> np.ndarray:
        """Distance to the k-th nearest training film, float64 (n,), of features, float (n, F).

        `judge` does not use it: it is here for comparison (Sun et al., ICML 2022, arXiv
        2204.06507).
        """
        return self._find_nearest(features, k)[0][:, -1]

    def _find_nearest(self, features: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and rows of the n nearest training films, (m, n), the nearest first."""
        n = min(n, self._nearest.n_samples_fit_)
        return self._nearest.kneighbors(np.asarray(features, dtype=np.float64), n)


def load_familiarity(bundle: Bundle) -> Familiarity:
    """Load the training films of a bundle, whose files `load_bundle` has checked.

    Examples
    --------
    >>> from rahelpers import load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> known = load_familiarity(load_bundle(run.file("train", "bundle")))
    >>> film = known.fitted["features"][0]
    >>> bool(known.neighbours(film)[0].distance < 1e-9)  # a training film is its own neighbour
    True
    >>> known.judge(film).words
    '...unlike the training films: ... of ... held-out films are at least as far from them...'
    """
    with np.load(bundle.folder / FAMILIARITY_FILE, allow_pickle=False) as fitted:
        return Familiarity(bundle.model, dict(fitted))
