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


@dataclass(frozen=True, kw_only=True)
class PhantomSourceFilm:
    """One hand of one phantom patient, not yet drawn.

    Attributes
    ----------
    row : dict
        image_id, patient_id and label: the rest comes with the patient, when the film is drawn.
    seed, index : int
        The cohort, and the patient's number in it.
    side : str
        'L' or 'R'.
    size : int
        Side of the film, pixels.
    spectrum : str
        How ill the patients are, and what the controls have: see `data/README.md`.
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
        """Draw the film."""
        patient = make_patient(self.seed, self.index, self.spectrum)
        film = render(patient, self.side, self.size)
        content = np.ascontiguousarray(film.image, dtype=np.float32).tobytes()
        row = self.row | {
            "file": "",
            "age": float(patient.age),
            "sex": patient.sex,
            "centre": "",
            "condition": patient.condition,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return SourceItem(
            row=row,
            radiograph=Radiograph(film.image, film.spacing_mm, film.laterality),
            joints=film.joints,
            lesion=film.lesion_mask,
            signs=film.sign_mask,
        )


def list_films(config: RunConfig) -> list[PhantomSourceFilm]:
    """Both hands of every patient, left first.

    Films are drawn larger than the network sees them, as real films are.
    """
    size = max(MIN_PHANTOM_PIXELS, 2 * config.image_size)
    films = []
    for index in range(config.n_patients):
        patient = make_patient(config.seed, index, config.spectrum)
        known = {"patient_id": patient.patient_id, "label": int(patient.label)}
        films += [
            PhantomSourceFilm(
                row={"image_id": f"P{index:05d}_{side}"} | known,
                seed=config.seed,
                index=index,
                side=side,
                size=size,
                spectrum=config.spectrum,
            )
            for side in "LR"
        ]
    return films


def fingerprint(_: RunConfig) -> dict[str, str]:
    """Hash of the file that defines the cohort."""
    return {"cohort.toml": COHORT_SHA256}
