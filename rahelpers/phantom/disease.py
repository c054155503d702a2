"""Disease as a model of the patient: what each site of each hand has.

Where: wrist > MCP > PIP, DIP spared, peaks at MCP 2, MCP 3, PIP 3 and the ulnar styloid, symmetric (clinical.md, "How RA shows").
The site weights, grade probabilities and lesion sizes by grade are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rahelpers.phantom.anatomy import Patient, random_for

EROSION_SITES = {
    "MCP1": 0.5, "MCP2": 0.95, "MCP3": 0.85, "MCP4": 0.5, "MCP5": 0.75, "PIP2": 0.45, "PIP3": 0.65, "PIP4": 0.4, "PIP5": 0.35,
    "IP1": 0.35, "CMC1": 0.4, "Trapezium": 0.5, "Scaphoid": 0.7, "Lunate": 0.75, "Radius": 0.75, "Ulna": 1.0,
}  # fmt: skip
JSN_SITES = {
    "MCP1": 0.4, "MCP2": 0.9, "MCP3": 0.85, "MCP4": 0.55, "MCP5": 0.55, "PIP2": 0.45, "PIP3": 0.6, "PIP4": 0.45, "PIP5": 0.4,
    "CMC3": 0.8, "CMC4": 0.75, "CMC5": 0.7, "STT": 0.75, "SC": 0.8, "SR": 0.95,
}  # fmt: skip
SITES = tuple(dict.fromkeys([*EROSION_SITES, *JSN_SITES]))
# Share of the joint space lost by JSN grade 0..4: grade 2 keeps more than half, grade 3 less, 4 is ankylosis (clinical.md).
SPACE_LOST = (0.0, 0.2, 0.38, 0.68, 1.0)
OA_SITES = {
    "DIP2": 0.9,
    "DIP3": 0.9,
    "DIP4": 0.7,
    "DIP5": 0.8,
    "PIP2": 0.5,
    "PIP3": 0.55,
    "PIP4": 0.4,
    "PIP5": 0.4,
    "CMC1": 0.9,
    "IP1": 0.5,
}


@dataclass(frozen=True)
class Findings:
    """What one hand has.

    Attributes
    ----------
    erosion, jsn : dict
        Site -> SvdH grade (0 to 5, 0 to 4).
    narrowing : dict
        Joint -> share of its space that is lost.
    osteopenia : float
        Share of trabecular bone lost near the joints.
    swelling : float
        0 to 1, soft tissue around MCP and PIP joints.
    osteophytes : tuple of str
        Joints with osteophytes and sclerosis (osteoarthritis).
    """

    erosion: dict[str, int] = field(default_factory=dict)
    jsn: dict[str, int] = field(default_factory=dict)
    narrowing: dict[str, float] = field(default_factory=dict)
    osteopenia: float = 0.0
    swelling: float = 0.0
    osteophytes: tuple[str, ...] = ()


def make_patient(seed: int, index: int) -> Patient:
    """Patient `index` of the cohort `seed`. Age and sex are drawn without regard to the label."""
    rng = np.random.default_rng([seed, index, 0])
    label = int(rng.random() < 0.5)
    age = float(np.round(np.clip(rng.normal(56, 12), 20, 90), 1))
    sex = "F" if rng.random() < 0.7 else "M"
    severity = float(rng.beta(2.0, 2.0))
    control = str(rng.choice(["healthy", "osteoarthritis", "age osteopenia"], p=[0.5, 0.35, 0.15]))
    return Patient(seed, index, f"P{index:05d}", label, "RA" if label else control, severity, age, sex)


def draw_findings(patient: Patient, side: int) -> Findings:
    """Findings of one hand; both hands share most of each site's tendency.

    Parameters
    ----------
    patient : Patient
    side : int
        0 left, 1 right.
    """
    shared, own = random_for(patient, 3), random_for(patient, 4, side)
    if patient.condition == "RA":
        erosion = {s: _grade(w, 5, patient.severity, shared, own) for s, w in EROSION_SITES.items()}
        jsn = {s: _grade(w, 4, patient.severity, shared, own) for s, w in JSN_SITES.items()}
        narrowing = {s: float(np.clip(SPACE_LOST[g] + 0.06 * own.normal(), 0, 1)) for s, g in jsn.items() if g}
        return Findings(erosion, jsn, narrowing, osteopenia=0.4 * patient.severity, swelling=float(own.uniform(0, 1) * (0.3 + patient.severity)))
    if patient.condition == "osteoarthritis":
        hit = tuple(s for s, w in OA_SITES.items() if own.random() < w * (0.3 + patient.severity))
        narrowing = {s: float(own.uniform(0.15, 0.25 + 0.6 * patient.severity)) for s in hit}
        jsn = {s: int(np.searchsorted(SPACE_LOST, narrowing[s])) for s in hit if s in JSN_SITES}
        return Findings(jsn=jsn, narrowing=narrowing, osteophytes=hit)
    return Findings()


def _grade(weight: float, most: int, severity: float, shared: np.random.Generator, own: np.random.Generator) -> int:
    """A grade from a latent tendency: three quarters of its variance is common to both hands."""
    latent = np.sqrt(0.75) * shared.normal() + np.sqrt(0.25) * own.normal()
    return int(np.clip(np.round((2.6 * severity * weight + 0.75 * latent - 0.45) * most / 4), 0, most))
