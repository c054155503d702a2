"""Shortcut probes of a trained network: does its answer hold when what is not the hand is hidden,
or changed for that of the other class?

A fact that gives the label away (`rahelpers.curation.shortcuts`) harms only if the network uses it. Here it
is taken away, and the AUC says what it was worth.
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

MOST_FILMS = 100  # of a split, drawn by seed: each is looked at nine times
RIM = 0.06  # of the side: what counts as the border
SOFT = 0.02  # of the side: around the hand, kept with it


@dataclass(frozen=True)
class Parts:
    """A film taken apart.

    Attributes
    ----------
    film : float32 array (S, S) in [0, 1]
    hand : bool array (S, S)
        With a narrow margin.
    rim : bool array (S, S)
        The film's border without the hand; the black beside the film, which makes it square, is not
        the film.
    marks : bool array (S, S)
        Bright things beside the hand.
    air : float
        Median grey beside the hand.
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
    """The parts of a network input, uint8 (S, S); None where no hand is found, or nothing lies
    beside it.
    """
    film, side = image.astype(np.float32) / 255, image.shape[0]
    found = find_hand(film)
    if found.contrast < HAND_CONTRAST:
        return None
    reach, width = max(1, round(SOFT * side)), max(1, round(RIM * side))
    hand = cv2.resize(found.mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    hand = cv2.dilate(hand, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    top, bottom, left, right = bounds(film > 0)
    field, inside = np.zeros_like(hand), np.zeros_like(hand)
    field[top:bottom, left:right] = True
    inside[top + width : bottom - width, left + width : right - width] = True
    if not (beside := field & ~hand).any():
        return None
    air = float(np.median(film[beside]))
    marks = (
        cv2.dilate(
            find_marks(film, beside).astype(np.uint8), np.ones((reach + 1, reach + 1), np.uint8)
        )
        > 0
    )  # with their soft edge
    return Parts(film, hand, beside & ~inside, marks & beside, air, float(film[hand].mean()))


def _background(other: Parts) -> np.ndarray:
    """The other film without its hand."""
    return np.where(other.hand, np.float32(other.air), other.film)


def _expose(own: Parts, level: float) -> np.ndarray:
    """The film as if exposed otherwise: the power of its grey values that brings the hand to a
    level. Black stays black, and white white.
    """
    return own.film ** (np.log(np.clip(level, 0.01, 0.99)) / np.log(np.clip(own.level, 0.01, 0.99)))


# What is done to a film, given itself, one of the other class, and the usual level of the hand.
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
        A film's partner is drawn from the other class.
    seed : int

    Returns
    -------
    rows : int array (m,)
        Films that could be taken apart, in classes that both have one; fewer than two classes:
        none.
    edited : dict of uint8 array (m, S, S)
        By (part, what was done).
    """
    parts = [take_apart(image) for image in images]
    rows = np.flatnonzero([p is not None for p in parts])
    if len(np.unique(labels[rows])) < 2:
        return np.empty(0, int), {}
    rng = np.random.default_rng(seed)
    partner = {row: int(rng.choice(rows[labels[rows] != labels[row]])) for row in rows}
    usual = float(np.median([parts[row].level for row in rows]))

    def make(edit: Edit) -> np.ndarray:
        return np.stack(
            [
                np.rint(255 * np.clip(edit(parts[row], parts[partner[row]], usual), 0, 1)).astype(
                    np.uint8
                )
                for row in rows
            ]
        )

    return rows, {name: make(edit) for name, edit in EDITS.items()}


def compute_probes(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    threshold: float,
    resampling: Resampling,
) -> pd.DataFrame:
    """AUC of the films as they are less AUC after each edit, on the same films, and how many calls
    change.

    Parameters
    ----------
    predict : callable
        uint8 (m, S, S) -> calibrated probability, float (m,).
    images : uint8 array (k, S, S)
        Of films that the network did not learn from; of many, `MOST_FILMS` are drawn by `seed`.
    labels, patients : array (k,)
    threshold : float
        The operating point.
    resampling : Resampling
        Its seed also draws the films and their partners.

    Returns
    -------
    DataFrame
        One edit a row: part, done (hidden or swapped), auc (after it), less, low, high (AUC before
        less after: patients drawn, both from the same resample), changed, changed_low, changed_high
        (share of films whose call changes), films, few (which class has too few films for an AUC;
        then auc to high are NaN). Hiding the hand itself leaves what is no hand: there the AUC
        should be near 0.5.
    """
    chosen = np.sort(resampling.rng().permutation(len(labels))[:MOST_FILMS])
    rows, edited = edit_films(np.asarray(images[chosen]), labels[chosen], resampling.seed)
    chosen = chosen[rows]
    labels, patients = labels[chosen], patients[chosen]
    before = predict(np.asarray(images[chosen])) if len(chosen) else np.empty(0)
    few = say_few(labels)
    found = []
    for (part, done), films in edited.items():
        after = predict(films)
        row = {
            "part": part,
            "done": done,
            "auc": np.nan,
            "less": np.nan,
            "low": np.nan,
            "high": np.nan,
        }
        if not few:

            def fall(y: np.ndarray, rows: np.ndarray, after: np.ndarray = after) -> float:
                return compute_auc(y, before[rows]) - compute_auc(y, after[rows])

            # a resample is its films' row numbers, so that both AUCs come from the same films
            films_drawn = ScoredFilms(labels, np.arange(len(labels)), patients)
            low, high = bootstrap_interval(fall, films_drawn, resampling)
            row |= {
                "auc": compute_auc(labels, after),
                "less": fall(labels, films_drawn.scores),
                "low": low,
                "high": high,
            }
        changed = share_interval((before >= threshold) != (after >= threshold), patients)
        row |= {
            "changed": changed["value"],
            "changed_low": changed["low"],
            "changed_high": changed["high"],
            "films": len(labels),
            "few": few,
        }
        found.append(row)
    return pd.DataFrame(
        found,
        columns=[
            "part",
            "done",
            "auc",
            "less",
            "low",
            "high",
            "changed",
            "changed_low",
            "changed_high",
            "films",
            "few",
        ],
    )
