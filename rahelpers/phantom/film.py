"""From attenuation to a film: dose, noise, blur, exposure, markers and collimation.

None of it knows the label.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pandas as pd

from rahelpers.films.sites import EROSION_SITES, JSN_SITES, SITES
from rahelpers.phantom.anatomy import HandAnatomy, Pose, build_hand, draw_pose
from rahelpers.phantom.disease import Findings, draw_findings
from rahelpers.phantom.patient import COHORT, Patient, make_patient, random_for
from rahelpers.phantom.projection import Detector, project

FIELD_MM = 240.0  # side of the square detector field: a whole hand with a short forearm
LEAST_SIZE = 32  # pixels
# the hand is drawn on at least this many pixels, 0.35 mm each, whatever the film's size
DRAWN_PIXELS = 640
DOSE_UGY = 2.5  # air kerma at the detector: assumption, common for hands
# quanta per mm2 and uGy at RQA3, 50 kVp (IEC 62220-1), times a detective efficiency of 0.5
# (assumption)
QUANTA = 21759.0 * 0.5
FOCUS_BLUR_MM = 0.15  # focal spot and detector together: assumption
SCATTER = 0.12  # share of the primary signal: assumption, small for a hand
TOP_MARGIN_MM = (11.0, 26.0)  # from the tip of the longest finger's bone to the edge of the field


@dataclass(frozen=True, kw_only=True)
class PhantomFilm:
    """A phantom film.

    Attributes
    ----------
    image : float32 array (n, n)
        Grey values in [0, 1], bone bright.
    spacing_mm : float
        Side of a pixel.
    laterality : str
        L or R.
    masks : dict
        Finding -> bool array (n, n): erosion, narrowing, ankylosis, osteopenia, swelling,
        subluxation, collapse.
    joints : DataFrame
        One row per SvdH site: site, erosion, jsn (missing where the score has no such item), x0,
        y0, x1, y1 as fractions, and jsw_mm, the joint-space width in the middle of the joint
        (missing where the site is a bone).

    Examples
    --------
    >>> from rahelpers.phantom import Findings, make_patient, render
    >>> film = render(make_patient(7, 0), "L", 128, Findings(erosion={"MCP2": 4}, has_ra=True))
    >>> len(film.joints), film.laterality, [name for name, m in film.masks.items() if m.any()]
    (22, 'L', ['erosion'])
    >>> bool((film.lesion_mask & ~film.sign_mask).any())
    False
    """

    image: np.ndarray
    spacing_mm: float
    laterality: str
    masks: dict[str, np.ndarray]
    joints: pd.DataFrame

    @property
    def lesion_mask(self) -> np.ndarray:
        """Signs of RA that have an edge: erosions, narrowed and fused joints; bool (n, n)."""
        return self.masks["erosion"] | self.masks["narrowing"] | self.masks["ankylosis"]

    @property
    def sign_mask(self) -> np.ndarray:
        """Every sign of RA, including those without an edge, bool (n, n).

        Swelling, osteopenia, slipped and collapsed joints have no edge.
        """
        return np.logical_or.reduce(list(self.masks.values()))


def render(
    patient: Patient,
    side: str,
    size: int,
    disease: Findings | None | Literal["own"] = "own",
    visit: int = 0,
    dose_ugy: float | None = None,
    pose: Pose | None = None,
) -> PhantomFilm:
    """Render the film of one hand.

    Parameters
    ----------
    patient : Patient
    side : {'L', 'R'}
    size : int
        Side of the square film, pixels, at least 32.
    disease : Findings, None or 'own'
        Findings to render instead of the patient's own. None: the same hand, pose and noise
        without any disease (the counterfactual).
    visit : int
        0 or 1: a second visit, two years later, has another pose and exposure.
    dose_ugy : float, optional
        Air kerma at the detector instead of the drawn one, microgray.
    pose : Pose, optional
        How the hand is held, instead of the drawn pose.

    Returns
    -------
    PhantomFilm

    Raises
    ------
    ValueError
        For an unknown side, disease or visit, a size below 32, or a dose that is not positive.

    Examples
    --------
    >>> from rahelpers import phantom
    >>> patient = next(p for p in (phantom.make_patient(7, i) for i in range(40)) if p.label)
    >>> film = phantom.render(patient, "L", 128)
    >>> healthy = phantom.render(patient, "L", 128, disease=None)
    >>> film.image.shape, bool(film.sign_mask.any()), bool(healthy.sign_mask.any())
    ((128, 128), True, False)
    """
    if side not in ("L", "R"):
        raise ValueError(f"side={side!r}: expected 'L' or 'R'")
    if size < LEAST_SIZE:
        raise ValueError(f"size={size}: expected at least {LEAST_SIZE} pixels")
    if dose_ugy is not None and not dose_ugy > 0:
        raise ValueError(f"dose_ugy={dose_ugy}: expected more than 0")
    if isinstance(disease, str) and disease != "own":
        raise ValueError(f"disease={disease!r}: expected Findings, None or 'own'")
    which = "LR".index(side)
    if isinstance(disease, str):
        disease = draw_findings(patient, which, visit)
    findings = disease or Findings()
    # the hand; the pose is always drawn, so that place and scale stay the same without it
    pose_rng, noise_rng = (random_for(patient, purpose, which, visit) for purpose in (5, 6))
    drawn = draw_pose(pose_rng)
    pose = pose or drawn
    hand = build_hand(patient, findings, which, pose)
    # where it is on the detector: the hand without disease decides, so that a film and its
    # counterfactual are in the same place
    grid = size * -(-DRAWN_PIXELS // size)
    scale = grid / FIELD_MM * pose_rng.uniform(0.93, 1.03)
    healthy = build_hand(patient, Findings(), which, pose)
    reach = max(bone.outline[:, 1].max() for bone in healthy.bones)
    below = min((reach + pose_rng.uniform(*TOP_MARGIN_MM)) * scale, 0.92 * grid)
    centre = np.array([0.5 * grid + pose_rng.normal(0, 0.02) * grid, below])
    detector = Detector(
        scale=scale,
        turn=np.radians(pose_rng.normal(0, 4)),
        tilt=np.radians(pose.tilt),
        origin=centre,
        size=grid,
    )
    # the projection, and what is known about it: masks of every finding, and the joint table
    streams = (
        random_for(patient, 12, which),
        random_for(patient, 7, which),
        random_for(patient, 13),
    )
    incidental = tuple(
        name
        for name in patient.incidental
        if side == "L" or name not in ("ring", "cannula", "implant")
    )
    thickness, masks = project(hand, findings, incidental, detector, streams)
    attenuation = thickness.attenuation()
    joints = _joint_table(hand, findings, detector)
    masks = {
        name: cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) >= 0.5
        for name, mask in masks.items()
    }
    # hands are built as left hands; a right one is its mirror image
    if side == "R":
        attenuation = np.ascontiguousarray(attenuation[:, ::-1])
        masks = {name: mask[:, ::-1].copy() for name, mask in masks.items()}
        joints[["x0", "x1"]] = 1 - joints[["x1", "x0"]].to_numpy()
    # the film
    image = _expose(attenuation, size, scale, dose_ugy, noise_rng)
    return PhantomFilm(
        image=_add_markers(image, side, noise_rng),
        spacing_mm=float(grid / size / scale),
        laterality=side,
        masks=masks,
        joints=joints,
    )


def _expose(
    attenuation: np.ndarray,
    size: int,
    scale: float,
    dose_ugy: float | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Expose a film: Beer-Lambert, scatter, blur, quantum noise, log response, presentation.

    Noise is the Gaussian limit of Poisson's (counts are above 50 except behind metal): one draw per
    pixel, so that a film and its counterfactual share their noise.
    """
    # dose
    drawn = DOSE_UGY * rng.lognormal(0, 0.25)
    if rng.random() < COHORT["film"]["misexposed"]:
        drawn *= 4.0 ** rng.choice([-1, 1])
    quanta = (dose_ugy or drawn) * QUANTA / scale**2
    # what reaches the detector; scatter is so smooth that it is computed on a coarse grid
    primary = np.exp(-attenuation)
    coarse = cv2.resize(primary, (64, 64), interpolation=cv2.INTER_AREA)
    scatter = SCATTER * cv2.resize(
        cv2.GaussianBlur(coarse, (0, 0), 6), primary.shape, interpolation=cv2.INTER_LINEAR
    )
    blur = max(FOCUS_BLUR_MM * scale, 0.3)
    signal = cv2.GaussianBlur((primary + scatter).astype(np.float32), (0, 0), blur)
    # quanta are counted; the film is their logarithm
    counts = signal * np.float32(quanta)
    counts += np.sqrt(counts) * rng.standard_normal(counts.shape, dtype=np.float32)
    film = -np.log(np.maximum(counts, 1.0) / np.float32(quanta))
    film = cv2.resize(film, (size, size), interpolation=cv2.INTER_AREA)
    # a manufacturer's presentation: edges sharpened over 2 mm, grey scale set on the hand, an
    # S-shaped curve
    wide = cv2.GaussianBlur(film, (0, 0), max(2.0 * scale * size / attenuation.shape[0], 0.5))
    film = film + np.float32(rng.uniform(0.1, 0.5)) * (film - wide)
    air, bone = np.percentile(film[::2, ::2], [3, 99.5])
    film = np.clip((film - air) / max(bone - air, 1e-6) * rng.uniform(0.9, 1.0), 0, 1)
    film = film ** rng.uniform(0.65, 0.95)
    steep = rng.uniform(0.0, 0.5)
    film = (1 - steep) * film + steep * film * film * (3 - 2 * film)
    air_grey = np.float32(0.3 * rng.beta(1.0, 5.0))  # most detectors show air black, some grey
    return film * (np.float32(rng.uniform(0.88, 1.0)) - air_grey) + air_grey


def _add_markers(film: np.ndarray, side: str, rng: np.random.Generator) -> np.ndarray:
    """Add what is next to the hand: the lead marker, and the edges of the field."""
    share = COHORT["film"]
    has_marker, has_edge = rng.random() < share["marker"], rng.random() < share["collimation"]
    # drawn whether or not they are used, so that one does not shift the other
    marker = _draw_marker(film.shape[0], side, rng)
    edges, shade = _draw_edges(film.shape[0], rng)
    if has_marker:
        film = np.maximum(film, marker)
    if has_edge:
        film = film + edges * (shade - film)
    return np.clip(film, 0, 1).astype(np.float32)


def _draw_marker(size: int, side: str, rng: np.random.Generator) -> np.ndarray:
    """Draw the letter of the side in lead, slightly askew, in an upper corner.

    Some have initials below, some are on a plate that can be seen.
    """
    # what it says, and where
    text = ""
    if rng.random() < COHORT["film"]["initials"]:
        text = "".join(rng.choice(list("ABDEHJKMNPST"), int(rng.integers(2, 4))))
    plate, at_left = rng.random() < 0.4, rng.random() < 0.5
    height, angle, lead = rng.uniform(0.035, 0.06) * size, rng.normal(0, 10), rng.uniform(0.8, 1.0)
    x = rng.uniform(0.07, 0.12) * size
    centre = (x if at_left else size - x, rng.uniform(0.06, 0.3) * size)
    sheet = np.zeros((size, size), np.uint8)
    if plate:
        half = np.array([0.75 * height, 1.25 * height])
        first, last = (
            tuple(map(int, np.round(corner))) for corner in (centre - half, centre + half)
        )
        cv2.rectangle(sheet, first, last, round(255 * rng.uniform(0.1, 0.4)), -1)
    # the letter of the side, and the smaller initials below it
    font = cv2.FONT_HERSHEY_SIMPLEX
    for words, share_of_height, line in ((side, 1.0, 0.0), (text, 0.42, 0.85)):
        scale, thick = share_of_height * height / 22, max(1, round(share_of_height * height / 7))
        (width, tall), _ = cv2.getTextSize(words, font, scale, thick)
        left = round(centre[0] - width / 2)
        baseline = round(centre[1] + line * height + tall / 2 - 0.2 * height)
        grey = round(255 * lead)
        cv2.putText(sheet, words, (left, baseline), font, scale, grey, thick, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D(tuple(map(float, centre)), angle, 1.0)
    return cv2.warpAffine(sheet, turn, (size, size)) / np.float32(255)


def _draw_edges(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.float32]:
    """Draw where collimator blades shade the film, 0 to 1 with a soft rim, and the grey there.

    The grey is black or any light grey.
    """
    # top, right, bottom, left; at the top a radiographer leaves the fingertips free
    most = np.array([0.015, 0.06, 0.06, 0.06])
    widths = np.minimum(rng.exponential(0.022, 4), most) * (rng.random(4) < 0.7) * size
    shade = np.float32(rng.uniform(0.35, 1.0) if rng.random() < 0.5 else 0.0)
    top, right, bottom, left = (round(w) for w in widths)
    edges = np.ones((size, size), np.float32)
    edges[top : size - bottom, left : size - right] = 0
    rim = max(size / 400, 0.3)
    return cv2.GaussianBlur(edges, (0, 0), rim, borderType=cv2.BORDER_REPLICATE), shade


def _joint_table(hand: HandAnatomy, findings: Findings, detector: Detector) -> pd.DataFrame:
    """The joint table: grades, box and joint-space width of every SvdH site."""
    rows = []
    for site in SITES:
        joint = hand.joints[site]
        x, y = detector.to_pixels(joint.centre[None])[0] / detector.size
        half = (1.15 * joint.half_width + 2.0) * detector.scale / detector.size
        rows.append(
            {
                "site": site,
                "erosion": findings.erosion.get(site, 0) if site in EROSION_SITES else pd.NA,
                "jsn": findings.jsn.get(site, 0) if site in JSN_SITES else pd.NA,
                "x0": max(x - half, 0.0),
                "y0": max(y - half, 0.0),
                "x1": min(x + half, 1.0),
                "y1": min(y + half, 1.0),
                "jsw_mm": joint.space,
            }
        )
    return pd.DataFrame(rows)


def iter_cohort(
    seed: int, n_patients: int, size: int, spectrum: str = "mixed", workers: int = 2
) -> Iterator[tuple[Patient, PhantomFilm]]:
    """Yield patients and films, left hand then right, in order.

    The bytes are the same whatever the number of workers. Threads, not processes: OpenCV and NumPy
    release the interpreter lock, and a Jupyter kernel with TensorFlow must not fork. Memory stays
    flat: at most four patients are ahead of the reader.

    Parameters
    ----------
    seed, n_patients : int
    size : int
        Side of a film, pixels, at least 32.
    spectrum : {'healthy', 'mixed', 'early'}
    workers : int
        Threads.

    Yields
    ------
    patient : Patient
    film : PhantomFilm

    Examples
    --------
    >>> from rahelpers import phantom
    >>> [(p.patient_id, film.laterality) for p, film in phantom.iter_cohort(7, 2, size=32)]
    [('P00000', 'L'), ('P00000', 'R'), ('P00001', 'L'), ('P00001', 'R')]
    """

    def both(index: int) -> list[tuple[Patient, PhantomFilm]]:
        patient = make_patient(seed, index, spectrum)
        return [(patient, render(patient, side, size)) for side in "LR"]

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        for index in range(n_patients):
            ahead.append(pool.submit(both, index))
            if len(ahead) > 4:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
