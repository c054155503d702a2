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
SILENT = 0.1  # share of the severity that remains in a silent course: assumption


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A patient of the phantom cohort.

    Attributes
    ----------
    seed, index : int
        Together they determine every random draw for the patient.
    patient_id : str
    label : int
        1 with RA, 0 without.
    condition : str
        RA, healthy, osteoarthritis or age osteopenia.
    severity : float
        0 to 1; of RA, or of osteoarthritis.
    duration : float
        Years since the onset of RA; 0 without RA.
    age : float
        Years.
    sex : str
        F or M.
    incidental : tuple of str
        Findings unrelated to the label: ring, implant, cannula, fracture, cyst.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from rahelpers.phantom import Patient, make_patient
    >>> patient = make_patient(seed=7, index=0)
    >>> isinstance(patient, Patient), replace(patient, duration=10.0).duration
    (True, 10.0)
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
    """Return the generator for one purpose: its draws never shift those of another purpose."""
    return np.random.default_rng([patient.seed, patient.index, *purpose])


def make_patient(seed: int, index: int, spectrum: str = "mixed") -> Patient:
    """Draw patient `index` of the cohort `seed`.

    Age, sex and incidental findings are drawn without regard to the label.

    Parameters
    ----------
    seed, index : int
        From 0.
    spectrum : {'healthy', 'mixed', 'early'}
        Which patients are compared; see cohort.toml.

    Returns
    -------
    Patient

    Raises
    ------
    ValueError
        If the spectrum is unknown.

    Examples
    --------
    >>> from rahelpers import phantom
    >>> patients = [phantom.make_patient(7, i, "healthy") for i in range(200)]
    >>> patients[3].patient_id, sorted({p.condition for p in patients})
    ('P00003', ['RA', 'healthy'])
    """
    if spectrum not in SPECTRA:
        raise ValueError(f"spectrum={spectrum!r}: expected one of {', '.join(SPECTRA)}")
    people, mix = COHORT["people"], COHORT["spectrum"][spectrum]
    rng = np.random.default_rng([seed, index, 0])
    # the person, before anything is known about the disease
    age = rng.normal(people["age_mean"], people["age_sd"])
    age = float(np.round(np.clip(age, *people["age_range"]), 1))
    sex = "F" if rng.random() < people["share_female"] else "M"
    incidental = tuple(name for name, share in COHORT["incidental"].items() if rng.random() < share)
    # the label, and the disease or the control's condition that goes with it
    label = int(rng.random() < mix["prevalence"])
    severity = float(rng.beta(*mix["severity"])) * (SILENT if rng.random() < mix["silent"] else 1.0)
    weights = np.array(list(mix["controls"].values()))
    control = str(rng.choice(list(mix["controls"]), p=weights / weights.sum()))
    duration = 0.0
    if label:
        since = min(rng.exponential(mix["duration"]), max(age - 18, 0.5))
        duration = float(np.round(since, 1))
    else:  # how far osteoarthritis has gone does not follow RA's distribution
        severity = float(rng.beta(2.0, 2.0))
    return Patient(
        seed=seed,
        index=index,
        patient_id=f"P{index:05d}",
        label=label,
        condition="RA" if label else control,
        severity=severity,
        duration=duration,
        age=age,
        sex=sex,
        incidental=incidental,
    )
