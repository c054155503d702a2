"""From attenuation to a film: dose, noise, blur, exposure, marker and collimation. None of it knows the label."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from rahelpers.phantom.anatomy import Hand, Patient, build_hand, random_for
from rahelpers.phantom.disease import EROSION_SITES, JSN_SITES, SITES, Findings, draw_findings, make_patient
from rahelpers.phantom.projection import Detector, project

FIELD_MM = 222.0  # side of the square detector field: a whole hand with a short forearm
PHOTONS = 900.0  # detected per drawn pixel in air: sets the noise; assumption
OWN_DISEASE = "own"


@dataclass(frozen=True)
class Film:
    """A phantom film.

    Attributes
    ----------
    image : float32 array (n, n)
        Grey values in [0, 1], bone bright.
    spacing_mm : float
    laterality : str
        L or R.
    lesion_mask : bool array (n, n)
        What makes the film RA: erosions and narrowed joint spaces.
    joints : DataFrame
        One SvdH site a row: site, erosion, jsn (missing where the score has no such item), x0, y0, x1, y1 as fractions.
    """

    image: np.ndarray
    spacing_mm: float
    laterality: str
    lesion_mask: np.ndarray
    joints: pd.DataFrame


def render(patient: Patient, side: str, size: int, disease: Findings | None | str = OWN_DISEASE) -> Film:
    """The film of one hand.

    Parameters
    ----------
    patient : Patient
    side : {'L', 'R'}
    size : int
        Side of the square film, pixels, at least 32.
    disease : Findings or None, optional
        Other findings than the patient's own. None: the same hand, pose and noise without any disease (the counterfactual).

    Raises
    ------
    ValueError
        For an unknown side or a size below 32.
    """
    if side not in ("L", "R"):
        raise ValueError(f"side={side!r}: expected 'L' or 'R'")
    if size < 32:
        raise ValueError(f"size={size}: expected at least 32 pixels")
    which = "LR".index(side)
    findings = draw_findings(patient, which) if disease == OWN_DISEASE else (disease or Findings())
    hand = build_hand(patient, findings.narrowing, which)
    pose, noise, lesions = random_for(patient, 5, which), random_for(patient, 6, which), random_for(patient, 7, which)
    grid = 2 * size
    scale = grid / FIELD_MM * pose.uniform(0.92, 1.02)
    centre = np.array([0.5 * grid + pose.normal(0, 0.02) * grid, 0.87 * grid + pose.normal(0, 0.015) * grid])
    detector = Detector(scale, np.radians(pose.normal(0, 5)), centre, grid)
    density = pose.uniform(0.85, 1.15) * (0.72 if patient.condition == "age osteopenia" else 1.0) * (1 - 0.004 * max(patient.age - 50, 0))
    attenuation, lesion = project(hand, findings, detector, density, lesions)
    image = _expose(attenuation, size, noise)
    boxes = _joint_table(hand, findings, detector)
    mask = cv2.resize(lesion.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) >= 0.5
    if side == "R":
        image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        boxes[["x0", "x1"]] = 1 - boxes[["x1", "x0"]].to_numpy()
    return Film(image, float(2 / scale), side, mask, boxes)


def _expose(attenuation: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Beer-Lambert, scatter, focal-spot and detector blur, quantum noise, log response, exposure."""
    dose = PHOTONS * rng.lognormal(0, 0.25)
    primary = np.exp(-attenuation)
    scatter = 0.12 * cv2.resize(cv2.blur(cv2.resize(primary, (64, 64), interpolation=cv2.INTER_AREA), (15, 15)), primary.shape)
    signal = cv2.GaussianBlur((primary + scatter).astype(np.float32), (0, 0), 0.7)
    counts = signal * dose
    counts += np.sqrt(counts) * rng.standard_normal(counts.shape, dtype=np.float32)
    film = -np.log(np.maximum(counts, 1.0) / dose)
    film = cv2.resize(film, (size, size), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(film, [1, 99.7])
    film = np.clip((film - low) / (high - low), 0, 1) ** rng.uniform(0.75, 1.2)
    film = film * rng.uniform(0.85, 1.0) + rng.uniform(0, 0.08)
    if rng.random() < 0.5:  # the letter of the side, burnt in by the radiographer
        place = (int(size * rng.uniform(0.04, 0.12)), int(size * rng.uniform(0.12, 0.3)))
        letter = np.zeros((size, size), np.uint8)
        cv2.putText(letter, "L", place, cv2.FONT_HERSHEY_SIMPLEX, size / 260, 255, max(1, size // 160), cv2.LINE_AA)
        film = np.maximum(film, letter / 255.0)
    if rng.random() < 0.4:  # collimation: the unexposed border
        edge = int(size * rng.uniform(0.01, 0.05))
        film[:edge], film[-edge:], film[:, :edge], film[:, -edge:] = 1.0, 1.0, 1.0, 1.0
    return np.clip(film, 0, 1).astype(np.float32)


def _joint_table(hand: Hand, findings: Findings, detector: Detector) -> pd.DataFrame:
    rows = []
    for site in SITES:
        joint = hand.joints[site]
        x, y = detector.to_pixels(joint.centre[None])[0] / detector.size
        half = (1.15 * joint.half_width + 2.0) * detector.scale / detector.size
        rows.append({
            "site": site,
            "erosion": findings.erosion.get(site, 0) if site in EROSION_SITES else pd.NA,
            "jsn": findings.jsn.get(site, 0) if site in JSN_SITES else pd.NA,
            "x0": max(x - half, 0.0), "y0": max(y - half, 0.0), "x1": min(x + half, 1.0), "y1": min(y + half, 1.0),
        })  # fmt: skip
    return pd.DataFrame(rows)


def iter_cohort(seed: int, n_patients: int, size: int, workers: int = 2) -> Iterator[tuple[Patient, Film]]:
    """Patients and films, left hand then right, in order; the same bytes whatever the number of workers.

    Threads, not processes: OpenCV and NumPy let go of the interpreter lock, and a Jupyter kernel with TensorFlow must not fork.
    Memory stays flat: at most four patients are ahead of the reader.
    """

    def both(index: int) -> list[tuple[Patient, Film]]:
        patient = make_patient(seed, index)
        return [(patient, render(patient, side, size)) for side in "LR"]

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        for index in range(n_patients + 4):
            if index < n_patients:
                ahead.append(pool.submit(both, index))
            if index >= 4 and ahead:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
