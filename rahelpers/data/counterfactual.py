"""A phantom film rendered again with and without its disease: same hand, pose, dose and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.phantom import list_films
from rahelpers.films.normalisation import (
    NetworkInput,
    fit_to_square,
    normalise_intensity,
    to_network_input,
)
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
        were narrowed or collapsed are wide again, which moves the bones beyond them: in severe
        disease the image changes outside the masks too.
    masks : dict
        Finding -> bool array (S, S): erosion, narrowing, ankylosis, osteopenia, swelling,
        subluxation, collapse.
    spacing_mm : float
        Side of a pixel of the network input, mm.
    """

    image: np.ndarray
    healthy: np.ndarray
    masks: dict[str, np.ndarray]
    spacing_mm: float


@lru_cache(maxsize=32)
def redraw_film(config: RunConfig, image_id: str) -> Redrawn:
    """Render a film of a phantom run again, with and without its disease.

    Parameters
    ----------
    config : RunConfig
        Of the run that the film belongs to.
    image_id : str

    Returns
    -------
    Redrawn

    Raises
    ------
    ValueError
        If the source is not the phantom, because nobody knows what a real hand would look like
        without its disease; or if the run has no such film.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.data import redraw_film
    >>> film = redraw_film(make_config(n_patients=12, image_size=64), "P00000_L")
    >>> film.image.shape, film.healthy.shape, film.masks["erosion"].shape
    ((64, 64), (64, 64), (64, 64))
    """
    if config.source != "phantom":
        raise ValueError(
            f"source={config.source!r}: expected 'phantom'; a real hand cannot be rendered without"
            " its disease"
        )
    film = next((film for film in list_films(config) if film.row["image_id"] == image_id), None)
    if film is None:
        raise ValueError(
            f"image_id={image_id!r} is not a film of this run: expected P00000_L to"
            f" P{config.n_patients - 1:05d}_R"
        )

    # both films, then the ill one as curation fits it into the network's square
    patient = make_patient(film.seed, film.index, film.spectrum)
    ill = render(patient, film.side, film.size)
    well = render(patient, film.side, film.size, disease=None)
    seen = to_network_input(
        Radiograph(ill.image, ill.spacing_mm, ill.laterality), config.image_size
    )
    masks = {name: seen.fit_mask(mask) for name, mask in ill.masks.items()}
    scale = float(np.sqrt(abs(np.linalg.det(seen.geometry.matrix[:2, :2]))))
    return Redrawn(
        seen.image, _fit_like(ill.image, well.image, seen), masks, ill.spacing_mm / scale
    )


def _fit_like(image: np.ndarray, other: np.ndarray, seen: NetworkInput) -> np.ndarray:
    """Fit another film with the crop and the grey scale that were chosen for `image`.

    Two stretches, as in curation: of the whole film, then of the crop.
    """
    top, bottom, left, right = seen.placement.box
    whole_image, whole_other = normalise_intensity(image), normalise_intensity(other, like=image)
    if seen.inverted:
        whole_image, whole_other = 1 - whole_image, 1 - whole_other
    kept = np.zeros(other.shape, np.float32)
    crop = np.s_[top:bottom, left:right]
    kept[crop] = normalise_intensity(whole_other[crop], like=whole_image[crop])
    square, _ = fit_to_square(kept, seen.image.shape[0], seen.placement)
    return np.rint(square * 255).astype(np.uint8)
