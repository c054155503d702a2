"""Anatomy in millimetres: patients, bones and joints of one hand.

Frame: left hand, palm down (PA), wrist centre at the origin, x towards the thumb, y towards the fingertips.
Bone lengths: clinical.md, "Bone lengths" (Buryanov & Kotiuk, Int J Morphol 2010;28(3):755). Joint spaces: clinical.md,
"Joint-space width". Widths, carpal outlines and wrist spaces have no published figure there: assumption.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Digit -> mean and SD, mm, of metacarpal, proximal, middle, distal phalanx (the thumb has no middle one), and pulp.
LENGTHS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((46.2, 3.9), (31.6, 3.1), (21.7, 1.6)),
    2: ((68.1, 6.3), (39.8, 4.9), (22.4, 2.5), (15.8, 2.3)),
    3: ((64.6, 5.4), (44.6, 3.8), (26.3, 3.0), (17.4, 1.9)),
    4: ((58.0, 5.1), (41.4, 3.9), (25.7, 3.3), (17.3, 2.2)),
    5: ((53.7, 4.4), (32.7, 2.8), (18.1, 2.5), (16.0, 2.5)),
}
PULP = {1: 5.7, 2: 3.8, 3: 4.0, 4: 4.0, 5: 3.7}
SIZE_CORRELATION = 0.85  # assumption in clinical.md
MALE_SHIFT_SD = 0.6  # assumption: men's bones are longer; half the SD of the mixed sample either way
# Joint-space width, mm: MCP about 1.6 in healthy hands, wider than PIP, PIP wider than DIP (clinical.md); CMC and wrist: assumption.
JOINT_SPACE = {"MCP": 1.6, "PIP": 1.2, "IP": 1.2, "DIP": 0.95, "CMC": 1.5}
# Base position (x, y) and direction in degrees from the y axis towards the thumb: assumption, set from real films.
RAYS = {1: (18.0, 9.0, 40.0), 2: (12.5, 18.0, 6.0), 3: (3.5, 20.0, 0.0), 4: (-5.5, 18.0, -6.0), 5: (-13.0, 15.0, -13.0)}
# Half-widths, mm, at fractions 0, .1, .3, .55, .8, .92, 1 of the length, by kind of bone: assumption.
STATIONS = np.array([0.0, 0.1, 0.3, 0.55, 0.8, 0.92, 1.0])
HALF_WIDTHS = {
    "MC": (5.5, 6.4, 4.4, 3.9, 5.0, 6.6, 4.2),
    "PP": (6.0, 6.7, 4.8, 4.2, 4.3, 5.3, 4.4),
    "MP": (5.0, 5.6, 3.9, 3.4, 3.6, 4.5, 3.6),
    "DP": (4.1, 4.7, 3.0, 2.3, 2.9, 3.4, 1.5),
}
# Centre, half axes, tilt in degrees: assumption.
CARPALS = {
    "Trapezium": (16.5, 3.5, 6.3, 5.2, -35),
    "Trapezoid": (10.0, 9.5, 4.6, 5.4, 0),
    "Capitate": (2.0, 7.0, 5.6, 9.6, 4),
    "Hamate": (-8.0, 6.0, 6.4, 7.8, 10),
    "Scaphoid": (11.0, -5.5, 5.0, 8.6, -38),
    "Lunate": (1.2, -8.5, 6.2, 5.4, 0),
    "Triquetrum": (-9.2, -5.8, 5.2, 5.6, 20),
    "Pisiform": (-12.0, -4.0, 3.6, 4.4, 10),
}


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
        0 to 1; of RA or of osteoarthritis.
    age : float
        Years.
    sex : str
        F or M.
    """

    seed: int
    index: int
    patient_id: str
    label: int
    condition: str
    severity: float
    age: float
    sex: str


@dataclass
class Bone:
    """A bone: its outline, polygon (n, 2) in mm, and its larger half-width in mm."""

    name: str
    outline: np.ndarray
    half_width: float


@dataclass
class Joint:
    """A joint: centre and direction (unit vector along the ray), half-width of the joint surface and joint space, mm."""

    name: str
    centre: np.ndarray
    direction: np.ndarray
    half_width: float
    space: float


@dataclass
class Hand:
    """Bones, joints and soft-tissue strokes (polyline, width) of one hand, in mm."""

    bones: list[Bone] = field(default_factory=list)
    joints: dict[str, Joint] = field(default_factory=dict)
    strokes: list[tuple[np.ndarray, float]] = field(default_factory=list)


def random_for(patient: Patient, *purpose: int) -> np.random.Generator:
    """The generator of one purpose: draws of one never shift those of another."""
    return np.random.default_rng([patient.seed, patient.index, *purpose])


def build_hand(patient: Patient, narrowing: dict[str, float], side: int) -> Hand:
    """The hand of a patient.

    Parameters
    ----------
    patient : Patient
    narrowing : dict
        Joint name -> share of its joint space that is lost, 0 to 1.
    side : int
        0 left, 1 right: hands of a patient share size and shape, and differ a little.

    Returns
    -------
    Hand
    """
    body, own = random_for(patient, 1), random_for(patient, 2, side)
    size = body.normal() + (MALE_SHIFT_SD if patient.sex == "M" else -MALE_SHIFT_SD)
    stout = 1.0 + 0.05 * body.normal() + (0.05 if patient.sex == "M" else -0.05)
    space_scale = np.clip(1.0 + 0.12 * body.normal() - 0.003 * (patient.age - 50), 0.7, 1.35)
    spread, own_spread = own.normal(1.6, 0.5), own.normal(0, 1.5, 6)
    hand = Hand()
    overall = 1 + 0.07 * size
    scaphoid_shift = np.zeros(2)
    for joint, towards in (("STT", (5.5, 9.0)), ("SC", (-9.0, 12.0)), ("SR", (-1.0, -10.0))):
        lost = narrowing.get(joint, 0.0)
        scaphoid_shift += lost * 1.6 * np.array(towards) / np.hypot(*towards)
    for digit, (x, y, angle) in RAYS.items():
        lengths = _draw_lengths(digit, size, body)
        _add_ray(hand, digit, np.array([x, y]) * overall, angle, lengths, stout, space_scale, narrowing, spread, own_spread)
    centre = {}
    for name, (x, y, a, b, tilt) in CARPALS.items():
        centre[name] = np.array([x, y]) * overall + (scaphoid_shift if name == "Scaphoid" else 0) + own.normal(0, 0.25, 2)
        hand.bones.append(Bone(name, _ellipse(centre[name], a * overall, b * overall, tilt, own), min(a, b) * overall))
    _add_forearm(hand, overall, own)
    for name, (first, second) in {"STT": ("Scaphoid", "Trapezium"), "SC": ("Scaphoid", "Capitate")}.items():
        _add_wrist_joint(hand, name, centre[first], centre[second], 4.5)
    _add_wrist_joint(hand, "SR", centre["Scaphoid"], np.array([11.0, -22.0]) * overall, 6.0)
    for name in ("Trapezium", "Scaphoid", "Lunate"):
        hand.joints[name] = Joint(name, centre[name], np.array([0.0, 1.0]), 6.5, 0.0)
    hand.joints["Radius"] = Joint("Radius", np.array([11.0, -20.0]) * overall, np.array([0.0, 1.0]), 12.0, 0.0)
    hand.joints["Ulna"] = Joint("Ulna", np.array([-13.0, -18.5]) * overall, np.array([0.0, 1.0]), 7.0, 0.0)
    hand.strokes.append((np.array([[-3.0, 14.0], [0.0, -14.0]]) * overall, 42 * overall))
    hand.strokes.append((np.array([[-2.0, -10.0], [-1.0, -75.0]]) * overall, 50 * overall))
    return hand


def _draw_lengths(digit: int, size: float, rng: np.random.Generator) -> list[float]:
    share, rest = np.sqrt(SIZE_CORRELATION), np.sqrt(1 - SIZE_CORRELATION)
    # the size factor has the variance that sex adds; divide it out, so that the SD is the table's
    factor = size / np.sqrt(1 + MALE_SHIFT_SD**2)
    return [mean + sd * (share * factor + rest * rng.normal()) for mean, sd in LENGTHS[digit]]


def _add_ray(
    hand: Hand, digit: int, base: np.ndarray, angle: float, lengths: list[float], stout: float, space_scale: float,
    narrowing: dict[str, float], spread: float, own_spread: np.ndarray,
) -> None:  # fmt: skip
    kinds = ("MC", "PP", "DP") if digit == 1 else ("MC", "PP", "MP", "DP")
    joints = ("CMC", "MCP", "IP") if digit == 1 else ("CMC", "MCP", "PIP", "DIP")
    thick = stout * {1: 1.08, 2: 1.0, 3: 1.04, 4: 0.95, 5: 0.86}[digit]
    finger = angle * (0.75 if digit == 1 else spread) + own_spread[digit]
    point, path = base, [base]
    for i, (kind, joint, length) in enumerate(zip(kinds, joints, lengths, strict=True)):
        theta = np.radians(angle if kind == "MC" else finger)
        direction = np.array([np.sin(theta), np.cos(theta)])
        half_width = thick * HALF_WIDTHS[kind][1]
        name = f"{joint}{digit}"
        space = JOINT_SPACE[joint] * space_scale * (1 - narrowing.get(name, 0.0))
        # positions: the proximal bone's end stays, the distal bone comes nearer as the space narrows
        centre = point + direction * space / 2
        hand.joints[name] = Joint(name, centre, direction, half_width, space)
        start = point + direction * (space if i else JOINT_SPACE["CMC"] * space_scale * -narrowing.get(name, 0.0))
        hand.bones.append(Bone(f"{kind}{digit}", _shaft(start, direction, length, np.array(HALF_WIDTHS[kind]) * thick), half_width))
        point = start + direction * length
        path.append(point)
    path.append(point + direction * PULP[digit] * 0.2)
    metacarpal, phalanges = np.array(path[:2]), np.array(path[1:])
    hand.strokes.append((metacarpal, 25 * stout))
    hand.strokes.append((phalanges[:3], 18.5 * thick))
    hand.strokes.append((phalanges[1:], 15.5 * thick))


def _shaft(start: np.ndarray, direction: np.ndarray, length: float, half_widths: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 25)
    width = np.interp(t, STATIONS, half_widths)
    side = np.array([direction[1], -direction[0]])
    line = start + t[:, None] * length * direction
    # the ends bulge: a condyle is round, not cut off
    bulge = lambda end, sign, w: [end + side * w * np.cos(a) + sign * direction * 0.22 * w * np.sin(a) for a in np.linspace(0, np.pi, 9)]  # noqa: E731
    right, left = line + side * width[:, None], line - side * width[:, None]
    head = bulge(line[-1] - direction * 0.22 * width[-1], 1, width[-1])
    foot = bulge(line[0] + direction * 0.12 * width[0], -1, width[0])
    return np.concatenate([right[1:-1], head, left[1:-1][::-1], foot[::-1]])


def _ellipse(centre: np.ndarray, a: float, b: float, tilt: float, rng: np.random.Generator) -> np.ndarray:
    phi = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    # a squarish ellipse with two low harmonics: carpals are pebbles, not coins
    radius = 1 + 0.05 * np.cos(4 * phi) + 0.04 * np.cos(3 * phi + rng.uniform(0, 6.28))
    points = np.stack([a * radius * np.cos(phi), b * radius * np.sin(phi)], axis=1)
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return centre + points @ np.array([[c, s], [-s, c]])


def _add_forearm(hand: Hand, overall: float, rng: np.random.Generator) -> None:
    radius = [
        (22.5, -14),
        (23.5, -20),
        (19, -30),
        (14.5, -45),
        (13, -85),
        (1, -85),
        (0, -45),
        (-2.5, -30),
        (-3.5, -20),
        (-1, -16.5),
        (8, -17.5),
        (17, -16),
    ]
    ulna = [
        (-7, -18),
        (-6.5, -24),
        (-8.5, -33),
        (-9, -85),
        (-18, -85),
        (-17, -33),
        (-18.5, -24),
        (-19, -16),
        (-18, -13),
        (-16.5, -14),
        (-15.5, -17),
    ]
    for name, points, half_width in (("Radius", radius, 8.0), ("Ulna", ulna, 5.0)):
        corners = np.array(points, dtype=float) * overall + rng.normal(0, 0.25, (len(points), 2))
        hand.bones.append(Bone(name, _rounded(corners), half_width))


def _rounded(corners: np.ndarray, rounds: int = 2) -> np.ndarray:
    """Chaikin's corner cutting: a smooth closed outline through a rough one."""
    for _ in range(rounds):
        after = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1).reshape(-1, 2)
    return corners


def _add_wrist_joint(hand: Hand, name: str, first: np.ndarray, second: np.ndarray, half_width: float) -> None:
    direction = (second - first) / np.hypot(*(second - first))
    hand.joints[name] = Joint(name, (first + second) / 2, direction, half_width, 1.5)
