"""A phantom film drawn again, with its disease and without: the same hand, pose, dose and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.phantom import list_films
from rahelpers.films.normalisation import NetworkInput, fit_to_square, to_network_input
from rahelpers.films.radiograph import Radiograph
from rahelpers.phantom import make_patient, render


@dataclass(frozen=True)
class Redrawn:
    """A network input and its counterfactual.

    Attributes
    ----------
    image : uint8 array (S, S)
        As curation made it.
    healthy : uint8 array (S, S)
        The same film without any disease, in the crop and on the grey scale of `image`. Joints that
        were narrowed or collapsed are wide again, so that bones beyond them lie elsewhere: in
        severe disease the picture changes outside the masks too.
    masks : dict
        Finding -> bool array (S, S): erosion, narrowing, ankylosis, osteopenia, swelling,
        subluxation, collapse.
    spacing_mm : float
        Side of a pixel of the network input.
    """

    image: np.ndarray
    healthy: np.ndarray
    masks: dict[str, np.ndarray]
    spacing_mm: float


@lru_cache(maxsize=32)
def redraw_film(config: RunConfig, image_id: str) -> Redrawn:
    """Draw a film of a phantom run again, with and without its disease.

    Parameters
    ----------
    config : RunConfig
        Of the run that holds the film.
    image_id : str

    Raises
    ------
    ValueError
        If the source is not the phantom, or holds no such film: nobody knows a real hand without
        its disease.
    """
    if config.source != "phantom":
        raise ValueError(
            f"source={config.source!r}: expected 'phantom'; a real hand cannot be drawn without its"
            " disease"
        )
    found = [film for film in list_films(config) if film.row["image_id"] == image_id]
    if not found:
        raise ValueError(
            f"image_id={image_id!r} is no film of this run: expected P00000_L to"
            f" P{config.n_patients - 1:05d}_R"
        )
    film = found[0]
    patient = make_patient(film.seed, film.index, film.spectrum)
    ill, well = (
        render(patient, film.side, film.size, **options) for options in ({}, {"disease": None})
    )
    seen = to_network_input(
        Radiograph(ill.image, ill.spacing_mm, ill.laterality), config.image_size
    )
    masks = {name: seen.fit_mask(mask) for name, mask in ill.masks.items()}
    scale = float(np.sqrt(abs(np.linalg.det(seen.geometry.matrix[:2, :2]))))
    return Redrawn(
        seen.image, _fit_alike(ill.image, well.image, seen), masks, ill.spacing_mm / scale
    )


def _fit_alike(image: np.ndarray, other: np.ndarray, seen: NetworkInput) -> np.ndarray:
    """Another film through the crop and the grey scale that were chosen for `image`."""
    top, bottom, left, right = seen.placement.box
    whole_image, whole_other = _stretch_alike(image, image), _stretch_alike(image, other)
    if seen.inverted:
        whole_image, whole_other = 1 - whole_image, 1 - whole_other
    kept = np.zeros(other.shape, np.float32)
    kept[top:bottom, left:right] = _stretch_alike(
        whole_image[top:bottom, left:right], whole_other[top:bottom, left:right]
    )
    square, _ = fit_to_square(kept, seen.image.shape[0], seen.placement)
    return np.rint(square * 255).astype(np.uint8)


def _stretch_alike(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`other` on the scale that `normalise_intensity` gives `image`."""
    low, high = np.percentile(image, [1.0, 99.5])
    if high <= low:
        low, high = float(image.min()), max(float(image.max()), float(image.min()) + 1e-6)
    return np.clip((other - low) / (high - low), 0, 1).astype(np.float32)
