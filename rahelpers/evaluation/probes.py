"""Shortcut probes of a trained network: what does it use that is not the hand?

A fact that gives the label away (`rahelpers.curation.shortcuts`) does harm only if the network uses
it. Here such facts are hidden, or swapped with those of a film of the other class, and the AUC
tells what they were worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from rahelpers.films.marks import find_marks
from rahelpers.films.normalisation import HAND_CONTRAST, bounds, find_hand
from rahelpers.scores.intervals import Resampling, bootstrap_interval, share_interval
from rahelpers.scores.metrics import ScoredFilms, compute_auc, say_few

MOST_FILMS = 100  # of a split, drawn by seed: the network sees each of them nine times
RIM = 0.06  # of the side: width of what counts as the border
COLUMNS = [
    *("part", "done", "auc", "less", "low", "high"),
    *("changed", "changed_low", "changed_high", "films", "few"),
]
SOFT = 0.02  # of the side: margin around the hand that is kept with it


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A film taken apart.

    Attributes
    ----------
    film : float32 array (S, S) in [0, 1]
    hand : bool array (S, S)
        With a narrow margin.
    rim : bool array (S, S)
        The border of the film without the hand. The black padding that makes the film square is
        not part of it.
    marks : bool array (S, S)
        Bright things outside the hand.
    air : float
        Median grey outside the hand.
    level : float
        Mean grey of the hand.
    """

    film: np.ndarray
    hand: np.ndarray
    rim: np.ndarray
    marks: np.ndarray
    air: float
    level: float


def take_apart(image: np.ndarray) -> Parts | None:
    """The parts of a network input, uint8 (S, S).

    None if no hand is found, or nothing is outside it.
    """
    film, side = image.astype(np.float32) / 255, image.shape[0]
    found = find_hand(film)
    if found.contrast < HAND_CONTRAST:
        return None
    reach, width = max(1, round(SOFT * side)), max(1, round(RIM * side))

    # the hand with its margin, and the film without the padding
    mask = cv2.resize(found.mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    hand = _widen(mask, 2 * reach + 1)
    top, bottom, left, right = bounds(film > 0)
    field, inside = np.zeros_like(hand), np.zeros_like(hand)
    field[top:bottom, left:right] = True
    inside[top + width : bottom - width, left + width : right - width] = True
    outside = field & ~hand
    if not outside.any():
        return None
    return Parts(
        film=film,
        hand=hand,
        rim=outside & ~inside,
        marks=_widen(find_marks(film, outside), reach + 1) & outside,  # with their soft edge
        air=float(np.median(film[outside])),
        level=float(film[hand].mean()),
    )


def _widen(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask dilated by a square of `size` pixels, bool."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def _background(other: Parts) -> np.ndarray:
    """The other film without its hand."""
    return np.where(other.hand, np.float32(other.air), other.film)


def _expose(own: Parts, level: float) -> np.ndarray:
    """The film as if exposed differently: its grey values to the power that gives the hand a level.

    Black stays black, and white stays white.
    """
    return own.film ** (np.log(np.clip(level, 0.01, 0.99)) / np.log(np.clip(own.level, 0.01, 0.99)))


# what is done to a film, given its parts, those of a film of the other class, and the usual level
# of the hand
Edit = Callable[[Parts, Parts, float], np.ndarray]
EDITS: dict[tuple[str, str], Edit] = {
    ("markers", "hidden"): lambda own, *_: np.where(own.marks, own.air, own.film),
    ("markers", "swapped"): lambda own, other, _: np.where(
        other.marks & ~own.hand, other.film, np.where(own.marks, own.air, own.film)
    ),
    ("border", "hidden"): lambda own, *_: np.where(own.rim, own.air, own.film),
    ("border", "swapped"): lambda own, other, _: np.where(own.rim, _background(other), own.film),
    ("background", "hidden"): lambda own, *_: np.where(own.hand, own.film, 0.0),
    ("background", "swapped"): lambda own, other, _: np.where(
        own.hand, own.film, _background(other)
    ),
    ("exposure", "hidden"): lambda own, _, usual: _expose(own, usual),
    ("exposure", "swapped"): lambda own, other, _: _expose(own, other.level),
    ("hand", "hidden"): lambda own, *_: _background(own),
}


def edit_films(
    images: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Every edit of every film.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    labels : int array (n,)
        The partner of a film is drawn from the other class.
    seed : int

    Returns
    -------
    rows : int array (m,)
        Films that could be taken apart; none unless both classes have such a film.
    edited : dict of uint8 array (m, S, S)
        By (part, what was done).
    """
    parts = {
        row: taken for row, image in enumerate(images) if (taken := take_apart(image)) is not None
    }
    rows = np.array(list(parts), dtype=int)
    if len(np.unique(labels[rows])) < 2:
        return np.empty(0, int), {}
    rng = np.random.default_rng(seed)
    partner = {row: int(rng.choice(rows[labels[rows] != labels[row]])) for row in rows}
    usual = float(np.median([parts[row].level for row in rows]))

    def make(edit: Edit) -> np.ndarray:
        made = np.stack([edit(parts[row], parts[partner[row]], usual) for row in rows])
        return np.rint(255 * np.clip(made, 0, 1)).astype(np.uint8)

    return rows, {name: make(edit) for name, edit in EDITS.items()}


def compute_probes(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    threshold: float,
    resampling: Resampling,
) -> pd.DataFrame:
    """AUC of the unchanged films minus AUC after each edit, and how many decisions change.

    Parameters
    ----------
    predict : callable
        uint8 (m, S, S) -> calibrated probability, float (m,).
    images : uint8 array (k, S, S)
        Of films that the network was not trained on. If there are more than `MOST_FILMS`, that many
        are drawn.
    labels, patients : array (k,)
    threshold : float
        The operating point.
    resampling : Resampling
        Its seed also draws the films and their partners.

    Returns
    -------
    DataFrame
        One row per edit: part, done (hidden or swapped), auc (after it), less, low, high (AUC
        before minus AUC after, both from the same resamples of patients), changed, changed_low,
        changed_high (share of films whose decision changes), films, few (which class has too few
        films for an AUC; then auc to high are NaN). Hiding the hand itself leaves what is not the
        hand: there the AUC should be near 0.5.
    """
    # the films that can be taken apart, and what the network says of them unchanged
    chosen = np.sort(resampling.rng().permutation(len(labels))[:MOST_FILMS])
    rows, edited = edit_films(np.asarray(images[chosen]), labels[chosen], resampling.seed)
    chosen = chosen[rows]
    labels, patients = labels[chosen], patients[chosen]
    before = predict(np.asarray(images[chosen])) if len(chosen) else np.empty(0)
    few = say_few(labels)

    rows_of_films = ScoredFilms(labels, np.arange(len(labels)), patients)
    found = []
    for (part, done), films in edited.items():
        after = predict(films)

        # a resample is a set of rows, so that both AUCs come from the same films
        def fall(y: np.ndarray, rows: np.ndarray, after: np.ndarray = after) -> float:
            return compute_auc(y, before[rows]) - compute_auc(y, after[rows])

        auc, less, low, high = np.nan, np.nan, np.nan, np.nan
        if not few:
            auc, less = compute_auc(labels, after), fall(labels, rows_of_films.scores)
            low, high = bootstrap_interval(fall, rows_of_films, resampling)
        changed = share_interval((before >= threshold) != (after >= threshold), patients)
        found.append(
            {
                "part": part,
                "done": done,
                "auc": auc,
                "less": less,
                "low": low,
                "high": high,
                "changed": changed["value"],
                "changed_low": changed["low"],
                "changed_high": changed["high"],
                "films": len(labels),
                "few": few,
            }
        )
    return pd.DataFrame(found, columns=COLUMNS)
