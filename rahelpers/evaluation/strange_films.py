"""Pictures that a network should not answer: they test `rahelpers.network.familiarity`.

All are made as network inputs, so that quality control and normalisation, which fix or refuse many
such pictures, cannot help.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd
import skimage.data

from rahelpers.scores.intervals import auc_interval
from rahelpers.scores.metrics import ScoredFilms

MOST = 20  # of a kind
# those that come with scikit-image: none is downloaded
PHOTOGRAPHS = (
    *("astronaut", "camera", "cat", "coffee", "coins", "brick", "grass", "gravel", "cell"),
    *("hubble_deep_field", "moon", "page", "rocket", "retina"),
)


def compute_strange(
    known: Any,
    films: np.ndarray,
    features: np.ndarray,
    logits: np.ndarray,
    patients: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """How well three scores separate pictures that do not belong from films that do.

    Parameters
    ----------
    known : rahelpers.network.familiarity.Familiarity
    films : uint8 array (k, S, S)
        Films that the network was not trained on.
    features, logits, patients : array (k, ...)
        Of these films.
    seed : int
        Of the pictures.

    Returns
    -------
    DataFrame
        One row per kind of picture and score: kind, score (distance: Mahalanobis, which the bundle
        uses; neighbours: distance to the fifth nearest training film; certainty: minus the absolute
        logit), auc, low, high, warned (share of these pictures beyond the limit of the bundle; only
        for distance), pictures, films.
    """
    from rahelpers.network.familiarity import extract_features

    rows = []
    for kind, pictures in make_strange(films, seed).items():
        other_logits, other = extract_features(known.model, pictures)
        distance = known.gaussian.distance(other)
        scores = {
            "distance": (known.gaussian.distance(features), distance),
            "neighbours": (known.neighbour_distance(features), known.neighbour_distance(other)),
            "certainty": (-np.abs(logits), -np.abs(other_logits)),
        }
        strange = np.repeat([0, 1], [len(films), len(pictures)])
        people = [*patients.astype(str), *(f"strange {i}" for i in range(len(pictures)))]
        warned = float((distance > known.threshold).mean())
        for score, both in scores.items():
            scored = ScoredFilms(strange, np.concatenate(both), people)
            found = auc_interval(scored)
            rows.append(
                {
                    "kind": kind,
                    "score": score,
                    "auc": found["value"],
                    "low": found["low"],
                    "high": found["high"],
                    "warned": warned if score == "distance" else np.nan,
                    "pictures": len(pictures),
                    "films": len(films),
                }
            )
    return pd.DataFrame(rows)


def make_strange(images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Pictures of each kind, at the size of the films given.

    Parameters
    ----------
    images : uint8 array (n, S, S)
        Films of the kind that the network knows; at most `MOST` of them are altered.
    seed : int

    Returns
    -------
    dict of uint8 array (k, S, S)
        By kind: photographs, chest drawings, noise, clouds, then altered films: inverted, a quarter
        turn, upside down, mirrored, blurred, half the size.
    """
    rng, side = np.random.default_rng(seed), images.shape[1]
    films = np.asarray(images[np.sort(rng.permutation(len(images))[:MOST])])
    half, edge = side // 2, (side - side // 2) // 2
    small = np.zeros_like(films)
    small[:, edge : edge + half, edge : edge + half] = [
        cv2.resize(f, (half, half), interpolation=cv2.INTER_AREA) for f in films
    ]
    return {
        "photographs": np.stack([_photograph(name, side) for name in PHOTOGRAPHS]),
        "chest drawings": np.stack([draw_chest(side, rng) for _ in range(MOST)]),
        "noise": rng.integers(0, 256, (MOST, side, side), dtype=np.uint8),
        "clouds": np.stack([_clouds(side, rng) for _ in range(MOST)]),
        "inverted": 255 - films,
        "a quarter turn": np.rot90(films, axes=(1, 2)).copy(),
        "upside down": films[:, ::-1].copy(),
        "mirrored": films[:, :, ::-1].copy(),
        "blurred": np.stack([cv2.GaussianBlur(f, (0, 0), side / 40) for f in films]),
        "half the size": small,
    }


def _photograph(name: str, side: int) -> np.ndarray:
    picture = np.asarray(getattr(skimage.data, name)())
    grey = picture[..., :3] @ [0.299, 0.587, 0.114] if picture.ndim == 3 else picture.astype(float)
    least = min(grey.shape)
    square = cv2.resize(
        grey[:least, :least].astype(np.float32), (side, side), interpolation=cv2.INTER_AREA
    )
    return np.rint(255 * (square - square.min()) / max(np.ptp(square), 1e-6)).astype(np.uint8)


def draw_chest(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a rough chest film, uint8 (side, side): two dark lungs, ribs, spine and heart."""
    y, x = np.mgrid[:side, :side] / side
    width, height, apart, middle = (
        rng.uniform(low, high)
        for low, high in ((0.13, 0.18), (0.28, 0.36), (0.19, 0.24), (0.42, 0.5))
    )
    film = np.full((side, side), 0.75)
    for lung in (0.5 - apart, 0.5 + apart):
        film[((x - lung) / width) ** 2 + ((y - middle) / height) ** 2 < 1] = 0.25
    inside = np.abs(x - 0.5) < 0.42
    for rib in np.arange(0.12, 0.8, 0.08):
        film += 0.18 * np.exp(-(((y - rib - 0.25 * (x - 0.5) ** 2) / 0.012) ** 2)) * inside
    spine = 0.2 * np.exp(-(((x - 0.5) / 0.04) ** 2))
    heart = 0.35 * np.exp(-(((x - 0.56) / 0.1) ** 2 + ((y - 0.62) / 0.13) ** 2))
    film += spine + heart
    outline = np.clip((0.48 - np.abs(x - 0.5)) / 0.03, 0, 1)
    film = film * outline + rng.normal(0, 0.02, film.shape)
    return np.rint(255 * np.clip(film / 1.1, 0, 1)).astype(np.uint8)


def _clouds(side: int, rng: np.random.Generator) -> np.ndarray:
    smooth = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), side / 16)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
