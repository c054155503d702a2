"""The exercise of notebook 05: a network that learned from a letter on the film.

The student finds out with the course's tools where the letter was.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.core.config import RunConfig
from rahelpers.curation.cohort import Cohort
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import as_batch, predict_logits
from rahelpers.network.vgg import build_network
from rahelpers.scores.metrics import compute_auc

SIDE = 96  # pixels
PLACES = ("upper left", "upper right", "lower left", "lower right")
MOST_TRAIN, MOST_TEST = 160, 40  # films
BATCH, STEPS = 8, 112
LETTER, BRIGHT = 0.16, 235  # size of the letter as a share of the side; its grey level
MARGIN = 0.03  # between the letter and the edge, as a share of the side


@dataclass(frozen=True)
class Suspect:
    """An unknown network, and films to try it on.

    Attributes
    ----------
    model : keras.Model
    films : uint8 array (n, 96, 96)
        Films that it was not trained on, as its makers tested it: those of the positive class
        carry the letter.
    bare : uint8 array (n, 96, 96)
        The same films without the letter.
    labels : int array (n,)
    """

    model: keras.Model
    films: np.ndarray
    bare: np.ndarray
    labels: np.ndarray
    _place: str

    def score(self, films: np.ndarray) -> float:
        """AUC on films, uint8 (n, 96, 96), in the order of `labels`."""
        return compute_auc(self.labels, predict_logits(self.model, films))

    def mark(self, answer: str) -> str:
        """Reply to an answer, which names a corner of the film."""
        given = " ".join(answer.lower().split())
        if given not in PLACES:
            return f"{answer!r} is not a corner: name one of {', '.join(PLACES)}"
        if given == self._place:
            return "right"
        return (
            f"not {given}: average the heat maps of several positive films, and look where they"
            " agree"
        )


def stamp(image: np.ndarray, place: str) -> np.ndarray:
    """The film, uint8 (S, S), with a bright letter R in one of PLACES, like a lead marker's."""
    side = len(image)
    size = round(LETTER * side)
    letter = np.zeros((size, size), np.uint8)
    start, thick = (round(0.12 * size), round(0.9 * size)), max(2, size // 6)
    cv2.putText(letter, "R", start, cv2.FONT_HERSHEY_SIMPLEX, size / 24, 255, thick, cv2.LINE_AA)
    margin = round(MARGIN * side)
    y = margin if "upper" in place else side - margin - size
    x = margin if "left" in place else side - margin - size
    marked = image.copy()
    corner = marked[y : y + size, x : x + size]
    np.maximum(corner, np.uint8(letter / 255.0 * BRIGHT), out=corner)
    return marked


def train_suspect(cohort: Cohort, config: RunConfig, steps: int = STEPS) -> Suspect:
    """Train vgg_small on the cohort's films, scaled down, with a letter on each positive one.

    The letter's corner is drawn from the seed.

    Parameters
    ----------
    cohort : Cohort
    config : RunConfig
        Only its seed and its `deterministic` are used.
    steps : int
        Training steps, rounded up to whole epochs.

    Returns
    -------
    Suspect
        With films of the test split.

    Examples
    --------
    >>> from rahelpers import course, load_cohort
    >>> suspect = course.train_suspect(load_cohort(run), run.config, steps=0)  # not trained at all
    >>> has_letter = (suspect.films != suspect.bare).any(axis=(1, 2))
    >>> bool((has_letter == (suspect.labels == 1)).all())
    True
    >>> suspect.mark("middle")
    "'middle' is not a corner: name one of upper left, upper right, lower left, lower right"
    """
    # the films: small, and with a letter on the positive ones
    place = PLACES[np.random.default_rng(config.seed).integers(len(PLACES))]
    train = _some(cohort, cohort.split("train"), MOST_TRAIN)
    rows = np.concatenate([train, _some(cohort, cohort.split("test"), MOST_TEST)])
    labels = cohort.manifest["label"].to_numpy()[rows]
    bare = np.stack(
        [
            cv2.resize(np.asarray(cohort.images[row]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for row in rows
        ]
    )
    films = np.stack(
        [stamp(film, place) if label else film for film, label in zip(bare, labels, strict=True)]
    )

    # the network: a plain fit to the end, because the course's own training keeps the first epoch
    # that ranks the films correctly, which is before the network is sure
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    model = build_network("vgg_small", SIDE, seed=config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # with so few steps its averages would stay where they began
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    n = len(train)
    epochs = int(np.ceil(steps * BATCH / n))
    model.fit(as_batch(films[:n]), labels[:n], batch_size=BATCH, epochs=epochs, verbose=0)
    return Suspect(model, films[n:], bare[n:], labels[n:], place)


def _some(cohort: Cohort, rows: np.ndarray, most: int) -> np.ndarray:
    """Rows of the first films of each class: at most half of `most` from either class."""
    labels = cohort.manifest["label"].to_numpy()[rows]
    return np.sort(np.concatenate([rows[labels == label][: most // 2] for label in (0, 1)]))
