"""Who is in the cohort: patients by seed and number, from the shares in cohort.toml."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

COHORT_FILE = resources.files("rahelpers.phantom").joinpath("cohort.toml")
COHORT: dict[str, Any] = tomllib.loads(COHORT_FILE.read_text(encoding="utf-8"))
COHORT_SHA256 = hashlib.sha256(COHORT_FILE.read_bytes()).hexdigest()
SPECTRA = tuple(COHORT["spectrum"])
SILENT = 0.1  # what a silent course leaves of the severity: assumption


@dataclass(frozen=True)
class Patient:
    """A patient of the phantom cohort.

    Attributes
    ----------
    seed, index : int
        Together they set every random draw of the patient.
    patient_id : str
    label : int
        1 RA, 0 not.
    condition : str
        RA, healthy, osteoarthritis or age osteopenia.
    severity : float
        0 to 1; of RA, or of osteoarthritis.
    duration : float
        Years since RA began; 0 without RA.
    age : float
        Years.
    sex : str
        F or M.
    incidental : tuple of str
        What has nothing to do with the label: ring, implant, cannula, fracture, cyst.
    """

    seed: int
    index: int
    patient_id: str
    label: int
    condition: str
    severity: float
    duration: float
    age: float
    sex: str
    incidental: tuple[str, ...] = ()


def random_for(patient: Patient, *purpose: int) -> np.random.Generator:
    """The generator of one purpose: draws of one never shift those of another."""
    return np.random.default_rng([patient.seed, patient.index, *purpose])


def make_patient(seed: int, index: int, spectrum: str = "mixed") -> Patient:
    """Patient `index` of the cohort `seed`. Age, sex and incidental findings are drawn without
    regard to the label.

    Parameters
    ----------
    seed, index : int
        From 0.
    spectrum : {'healthy', 'mixed', 'early'}
        Which patients are compared; see cohort.toml.

    Raises
    ------
    ValueError
        If the spectrum is not known.
    """
    if spectrum not in SPECTRA:
        raise ValueError(f"spectrum={spectrum!r}: expected one of {', '.join(SPECTRA)}")
    people, mix = COHORT["people"], COHORT["spectrum"][spectrum]
    rng = np.random.default_rng([seed, index, 0])
    age = float(
        np.round(np.clip(rng.normal(people["age_mean"], people["age_sd"]), *people["age_range"]), 1)
    )
    sex = "F" if rng.random() < people["share_female"] else "M"
    incidental = tuple(name for name, share in COHORT["incidental"].items() if rng.random() < share)
    label = int(rng.random() < mix["prevalence"])
    severity = float(rng.beta(*mix["severity"])) * (SILENT if rng.random() < mix["silent"] else 1.0)
    weights = np.array(list(mix["controls"].values()))
    control = str(rng.choice(list(mix["controls"]), p=weights / weights.sum()))
    duration = (
        float(np.round(min(rng.exponential(mix["duration"]), max(age - 18, 0.5)), 1))
        if label
        else 0.0
    )
    # how far osteoarthritis has gone does not follow RA's distribution
    severity = severity if label else float(rng.beta(2.0, 2.0))
    return Patient(
        seed,
        index,
        f"P{index:05d}",
        label,
        "RA" if label else control,
        severity,
        duration,
        age,
        sex,
        incidental,
    )
