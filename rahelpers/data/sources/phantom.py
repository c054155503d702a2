"""The phantom as a source: every film is drawn when it is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.film import SourceItem
from rahelpers.films.radiograph import Radiograph
from rahelpers.phantom import COHORT_SHA256, make_patient, render

MIN_PHANTOM_PIXELS = 256


@dataclass(frozen=True)
class PhantomSourceFilm:
    """One hand of one phantom patient, not yet drawn.

    Attributes
    ----------
    row : dict
        image_id alone: the rest comes with the patient.
    seed, index : int
        Which cohort, and which patient of it.
    side : str
        'L' or 'R'.
    size : int
        Side of the film, pixels.
    spectrum : str
    """

    row: dict
    seed: int
    index: int
    side: str
    size: int
    spectrum: str

    def content_key(self) -> str:
        """What the film is drawn from."""
        return f"{COHORT_SHA256} {self.seed} {self.index} {self.side} {self.size} {self.spectrum}"

    def read(self) -> SourceItem:
        """Draw it."""
        patient = make_patient(self.seed, self.index, self.spectrum)
        film = render(patient, self.side, self.size)
        content = np.ascontiguousarray(film.image, dtype=np.float32).tobytes()
        row = self.row | {
            "patient_id": patient.patient_id,
            "file": "",
            "label": int(patient.label),
            "age": float(patient.age),
            "sex": patient.sex,
            "centre": "",
            "condition": patient.condition,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return SourceItem(
            row,
            Radiograph(film.image, film.spacing_mm, film.laterality),
            film.joints,
            film.lesion_mask,
            film.sign_mask,
        )


def list_films(config: RunConfig) -> list[PhantomSourceFilm]:
    """Both hands of every patient, left first. Films are drawn finer than the network sees them, as
    real ones are.
    """
    size = max(MIN_PHANTOM_PIXELS, 2 * config.image_size)
    return [
        PhantomSourceFilm(
            {"image_id": f"P{index:05d}_{side}"}, config.seed, index, side, size, config.spectrum
        )
        for index in range(config.n_patients)
        for side in "LR"
    ]


def fingerprint(_: RunConfig) -> dict[str, str]:
    """The cohort's definition."""
    return {"cohort.toml": COHORT_SHA256}
