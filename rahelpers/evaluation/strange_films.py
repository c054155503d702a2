"""Pictures that a network should not answer: what stands in the way of `rahelpers.network.familiarity` when
it is tested.

All are made at the network's door, so that quality control and normalisation, which mend or refuse
many of them, do not help.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

MOST = 20  # of a kind
# those that come with scikit-image, none is downloaded
PHOTOGRAPHS = (
    "astronaut",
    "camera",
    "cat",
    "coffee",
    "coins",
    "brick",
    "grass",
    "gravel",
    "cell",
    "hubble_deep_field",
    "moon",
    "page",
    "rocket",
    "retina",
)


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
    """A rough drawing of a chest film: two dark lungs, ribs, spine and heart. uint8 (side, side)."""
    y, x = np.mgrid[:side, :side] / side
    width, height, apart, middle = (
        rng.uniform(0.13, 0.18),
        rng.uniform(0.28, 0.36),
        rng.uniform(0.19, 0.24),
        rng.uniform(0.42, 0.5),
    )
    film = np.full((side, side), 0.75)
    for centre in (0.5 - apart, 0.5 + apart):
        film[((x - centre) / width) ** 2 + ((y - middle) / height) ** 2 < 1] = 0.25
    for rib in np.arange(0.12, 0.8, 0.08):
        film += (
            0.18
            * np.exp(-(((y - rib - 0.25 * (x - 0.5) ** 2) / 0.012) ** 2))
            * (np.abs(x - 0.5) < 0.42)
        )
    film += 0.2 * np.exp(-(((x - 0.5) / 0.04) ** 2)) + 0.35 * np.exp(
        -(((x - 0.56) / 0.1) ** 2 + ((y - 0.62) / 0.13) ** 2)
    )
    film = film * np.clip((0.48 - np.abs(x - 0.5)) / 0.03, 0, 1) + rng.normal(0, 0.02, film.shape)
    return np.rint(255 * np.clip(film / 1.1, 0, 1)).astype(np.uint8)


def _clouds(side: int, rng: np.random.Generator) -> np.ndarray:
    smooth = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), side / 16)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
