"""The exercise of notebook 05: a network that learned from a letter on the film. Where the letter
stood is to be found with the tools.
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
MOST_FILMS = 160  # that it learns from
BATCH, STEPS = 8, 112
LETTER, BRIGHT = 0.16, 235  # share of the side; grey level


@dataclass(frozen=True)
class Suspect:
    """A network that nobody knows, and films to try it on.

    Attributes
    ----------
    model : keras.Model
    films : uint8 array (n, 96, 96)
        Films that it did not learn from, as its makers tested it: those of the positive class have
        the letter.
    bare : uint8 array (n, 96, 96)
        The same films without it.
    labels : int array (n,)
    """

    model: keras.Model
    films: np.ndarray
    bare: np.ndarray
    labels: np.ndarray
    _place: str

    def score(self, films: np.ndarray) -> float:
        """AUC on films in the order of `labels`."""
        return compute_auc(self.labels, predict_logits(self.model, films))

    def mark(self, answer: str) -> str:
        """The reply to an answer: a corner of the film."""
        given = " ".join(answer.lower().split())
        if given not in PLACES:
            return f"{answer!r} is no corner: name one of {', '.join(PLACES)}"
        return (
            "right"
            if given == self._place
            else (
                f"not {given}: average the heat maps of several positive films, and look where they"
                " agree"
            )
        )


def stamp(image: np.ndarray, place: str) -> np.ndarray:
    """The film, uint8 (S, S), with a bright letter R in a corner of PLACES, as a lead marker leaves
    it.
    """
    side = len(image)
    size = round(LETTER * side)
    letter = np.zeros((size, size), np.uint8)
    cv2.putText(
        letter,
        "R",
        (round(0.12 * size), round(0.9 * size)),
        cv2.FONT_HERSHEY_SIMPLEX,
        size / 24,
        255,
        max(2, size // 6),
        cv2.LINE_AA,
    )
    margin = round(0.03 * side)
    y = margin if "upper" in place else side - margin - size
    x = margin if "left" in place else side - margin - size
    marked = image.copy()
    marked[y : y + size, x : x + size] = np.maximum(
        marked[y : y + size, x : x + size], np.uint8(letter / 255.0 * BRIGHT)
    )
    return marked


def train_suspect(cohort: Cohort, config: RunConfig) -> Suspect:
    """Train vgg_small on the cohort's films, made small, after a letter was put on each of the
    positive class. Its corner is drawn from the seed.

    Parameters
    ----------
    cohort : Cohort
    config : RunConfig
        seed and deterministic count.

    Returns
    -------
    Suspect
        With the test films.
    """
    place = PLACES[np.random.default_rng(config.seed).integers(len(PLACES))]
    train, test = (
        _some(cohort, cohort.split("train"), MOST_FILMS),
        _some(cohort, cohort.split("test"), 40),
    )
    rows = np.concatenate([train, test])
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
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    model = build_network("vgg_small", SIDE, seed=config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # so few steps would leave its averages where they began
    # a plain fit to the end: the course's own training keeps the first epoch that ranks the films
    # right, which is before the network is sure
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(
        as_batch(films[: len(train)]),
        labels[: len(train)],
        batch_size=BATCH,
        epochs=int(np.ceil(STEPS * BATCH / len(train))),
        verbose=0,
    )
    return Suspect(model, films[len(train) :], bare[len(train) :], labels[len(train) :], place)


def _some(cohort: Cohort, rows: np.ndarray, most: int) -> np.ndarray:
    """The first films of each class, half of either where there are enough."""
    labels = cohort.manifest["label"].to_numpy()[rows]
    return np.sort(np.concatenate([rows[labels == label][: most // 2] for label in (0, 1)]))
