"""Pictures of a result: the film as it was read, under its heat map or its coloured regions."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib import colormaps

from rahelpers.display.colours import AGAINST, FOR
from rahelpers.prediction.film import FilmResult

LONGEST = 1024  # pixels of the long side of a picture in a report
OPACITY = 0.6  # of the hottest pixel


def overlay_on_film(
    result: FilmResult, opacity: float = OPACITY, longest: int = LONGEST
) -> np.ndarray:
    """Draw the film as it was read under its heat map, mapped back from the network's square.

    Parameters
    ----------
    result : FilmResult
        With a film. Without a heat map, or with opacity 0, only the film is drawn.
    opacity : float in [0, 1]
        Of the hottest pixel; cold areas stay clear.
    longest : int
        A larger film is shrunk to this number of pixels on its long side.

    Returns
    -------
    uint8 array (h, w, 3)
        RGB, bone bright.
    """
    film = _shrink_film(result, longest)
    if result.heatmap is None or not opacity:
        return _to_bytes(film)
    heat = np.clip(_map_to_film(result, result.heatmap, film.shape), 0, 1)
    return _to_bytes(_blend(film, colormaps["cividis"](heat)[..., :3], opacity * heat))


def regions_on_film(
    result: FilmResult, opacity: float = OPACITY, longest: int = LONGEST
) -> np.ndarray:
    """Draw the film as it was read, with each region coloured by its Shapley value.

    Orange is evidence for the positive class, blue against it.

    Parameters
    ----------
    result : FilmResult
        With regions and their values.
    opacity : float in [0, 1]
        Of the strongest region.
    longest : int
        A larger film is shrunk to this number of pixels on its long side.

    Returns
    -------
    uint8 array (h, w, 3)
        RGB, bone bright.
    """
    regions, shap = result.require_regions()
    film = _shrink_film(result, longest)
    strength = (shap.values / max(np.abs(shap.values).max(), 1e-9))[regions.labels]
    mapped = np.clip(_map_to_film(result, strength, film.shape), -1, 1)
    colours = np.where(mapped[..., None] > 0, FOR, AGAINST) / 255
    return _to_bytes(_blend(film, colours, opacity * np.abs(mapped)))


def _shrink_film(result: FilmResult, longest: int) -> np.ndarray:
    """The film, float32 (h, w) in [0, 1], bone bright, with at most `longest` pixels per side."""
    hand = result.require_hand()
    film = 1 - hand.film.image if hand.seen.inverted else hand.film.image
    scale = min(1.0, longest / max(film.shape))
    size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
    return cv2.resize(np.ascontiguousarray(film, np.float32), size, interpolation=cv2.INTER_AREA)


def _map_to_film(result: FilmResult, square: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Map an array from the network's square to the shrunk film."""
    on_film = result.require_hand().seen.geometry.map_to_film(square)
    return cv2.resize(on_film, shape[::-1], interpolation=cv2.INTER_AREA)


def _blend(film: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (1 - weight[..., None]) * film[..., None] + weight[..., None] * colours


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    grey = picture[..., None] if picture.ndim == 2 else picture
    colour = np.broadcast_to(grey, (*picture.shape[:2], 3))
    return np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8)
