"""Anatomy in millimetres: bones, joints and soft tissue of one hand.

Frame: left hand, palm down (PA), wrist centre at the origin, x towards the thumb, y towards the
fingertips. Bone lengths: Buryanov & Kotiuk, Int J Morphol 2010;28(3):755. Joint spaces: see
JOINT_SPACE. Every other shape has no published figure in our sources: assumption, set from real
films. docs/phantom.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator

from rahelpers.phantom.disease import Findings
from rahelpers.phantom.patient import COHORT, Patient, random_for

# Digit -> mean and SD, mm, of metacarpal, proximal, middle, distal phalanx (the thumb has no middle
# one), and pulp.
LENGTHS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((46.2, 3.9), (31.6, 3.1), (21.7, 1.6)),
    2: ((68.1, 6.3), (39.8, 4.9), (22.4, 2.5), (15.8, 2.3)),
    3: ((64.6, 5.4), (44.6, 3.8), (26.3, 3.0), (17.4, 1.9)),
    4: ((58.0, 5.1), (41.4, 3.9), (25.7, 3.3), (17.3, 2.2)),
    5: ((53.7, 4.4), (32.7, 2.8), (18.1, 2.5), (16.0, 2.5)),
}
PULP = {1: 5.7, 2: 3.8, 3: 4.0, 4: 4.0, 5: 3.7}
SIZE_CORRELATION = 0.85  # between bones of a hand: assumption
SEX_SHIFT_SD = 1.2  # by how much men's bones are longer than women's: assumption of the size

# Joint space of adults, mean and SD, mm. MCP 1.6: J Rheumatol 28:1825. SD 0.25 (MCP) and 0.21
# (fingers): Kwok et al.,
# Osteoarthritis Cartilage 2011;19:1349. MCP > PIP > DIP, men's wider, PIP by 15 %: Acad Radiol
# 2007, 10.1016/j.acra.2007.01.032.
# CMC and wrist: assumption.
JOINT_SPACE = {
    "MCP": (1.6, 0.25),
    "PIP": (1.2, 0.21),
    "IP": (1.2, 0.21),
    "DIP": (0.95, 0.21),
    "CMC": (1.5, 0.25),
    "wrist": (1.8, 0.3),
}
SPACE_SEX = 0.07  # men's joint spaces are wider by twice this share
SPACE_AGE = -0.003  # share a year from 50: assumption

# Base position (x, y) and direction in degrees from the y axis towards the thumb.
RAYS = {
    1: (22.0, 11.5, 36.0),
    2: (12.0, 18.4, 9.0),
    3: (3.2, 19.6, 1.0),
    4: (-6.2, 18.0, -7.5),
    5: (-13.6, 15.2, -17.0),
}
THICKNESS_OF_RAY = {1: 1.06, 2: 1.0, 3: 1.03, 4: 0.93, 5: 0.88}
# Half-width, mm, of the widest place; cortex at mid-shaft, mm; and the outline: share of the
# half-width at shares of the length.
SHAFTS = {
    "MC": (
        6.3,
        1.8,
        {
            0: 0.86,
            0.06: 1.0,
            0.15: 0.82,
            0.3: 0.60,
            0.5: 0.55,
            0.7: 0.66,
            0.83: 0.96,
            0.9: 1.0,
            1: 0.9,
        },
    ),
    "PP": (
        6.6,
        1.6,
        {
            0: 0.93,
            0.05: 1.0,
            0.13: 0.9,
            0.26: 0.70,
            0.45: 0.60,
            0.65: 0.58,
            0.8: 0.64,
            0.9: 0.78,
            1: 0.76,
        },
    ),
    "MP": (
        5.5,
        1.3,
        {
            0: 0.95,
            0.07: 1.0,
            0.16: 0.86,
            0.3: 0.66,
            0.5: 0.57,
            0.7: 0.62,
            0.84: 0.78,
            0.93: 0.82,
            1: 0.78,
        },
    ),
    "DP": (
        4.6,
        0.8,
        {0: 0.95, 0.09: 1.0, 0.2: 0.74, 0.4: 0.48, 0.6: 0.42, 0.76: 0.54, 0.87: 0.68, 1: 0.5},
    ),
}
CORTEX_END = 0.35  # mm, at both ends of a shaft and around a carpal
# cap length in half-widths, squareness
HEAD = {
    "MC": (0.80, 2.2),
    "PP": (0.45, 3.5),
    "MP": (0.45, 3.5),
    "DP": (0.6, 2.5),
}
# how far the rims of a base stand out, in half-widths
CONCAVITY = {
    "MC": 0.05,
    "PP": 0.16,
    "MP": 0.12,
    "DP": 0.10,
}

CARPALS: dict[str, list[tuple[float, float]]] = {
    "Capitate": [
        (-4.2, 16.6),
        (2, 18.2),
        (7.2, 17.2),
        (7.6, 12),
        (6.2, 6.5),
        (6.4, 1),
        (3.8, -3.2),
        (-0.4, -3.6),
        (-3.3, -0.5),
        (-3.4, 6),
        (-4.6, 11),
    ],
    "Hamate": [
        (-5.4, 16.2),
        (-6.0, 11),
        (-4.9, 6),
        (-4.7, 0.6),
        (-6.6, -0.6),
        (-10, 3.6),
        (-14, 7.6),
        (-18, 11.4),
        (-17, 13.6),
        (-11, 15.4),
    ],
    "Trapezoid": [(8.8, 16.8), (13.2, 17.4), (15.2, 14), (14.2, 10), (12.6, 7.4), (8, 7), (9, 12)],
    "Trapezium": [
        (16.0, 15.0),
        (20.2, 13.6),
        (24.2, 8.6),
        (22, 3.6),
        (17, 4.2),
        (14.2, 6.4),
        (15.6, 10),
    ],
    "Scaphoid": [
        (7.9, 1.4),
        (8.4, 5.4),
        (12.8, 5.6),
        (17, 2.8),
        (20.4, 1.4),
        (19.6, -3),
        (16, -7.8),
        (10, -12.4),
        (6.8, -11),
        (6.6, -6),
        (6.0, -2.6),
    ],
    "Lunate": [
        (-4.6, -3.0),
        (-1, -5.6),
        (2.6, -5.4),
        (5.0, -6.2),
        (5.2, -11.2),
        (2, -14.4),
        (-3.8, -13.6),
        (-6.6, -9),
    ],
    "Triquetrum": [
        (-6.4, -2.6),
        (-9.4, 1.6),
        (-14.6, 5.2),
        (-16.8, 1.4),
        (-15.2, -4.8),
        (-11, -9.4),
        (-8.2, -8.4),
    ],
    "Pisiform": [(-10.6, 1.2), (-14, 2), (-16.6, -0.6), (-16.4, -5), (-13, -6.6), (-10.2, -4)],
}
CARPAL_DEPTH = {"Pisiform": 4.0}  # half thickness, mm; the others 6.5
RADIUS = [(21.6, -9.4), (18.4, -11.2), (12.6, -15.2), (6.4, -16.4), (0.8, -17.2), (-4.2, -16.4), (-5.8, -19), (-4.4, -26), (-0.8, -38), (0.4, -160),
          (13.4, -160), (14.6, -46), (18.6, -32), (23.4, -21), (23.8, -13.6)]  # fmt: skip
ULNA = [(-7.6, -19), (-7.8, -24), (-9.2, -33), (-9.6, -160), (-19.2, -160), (-18.2, -34), (-19.8, -24), (-20.4, -16), (-19.6, -11.4),
        (-17.8, -11.2), (-16.2, -16.4), (-11.4, -16.9)]  # fmt: skip
# Wrist sites of the SvdH score: centre of the joint, direction across it, half-width of its
# surface.
WRIST_JOINTS = {
    "STT": ((15.2, 4.9), (0.35, 1.0), 5.0),
    "SC": ((6.9, 0.6), (-1.0, 0.2), 5.0),
    "SR": ((12.6, -12.8), (0.45, 1.0), 6.5),
}
# bare areas of bones that the wrist's erosion sites name: indices of corners of their outline
# fmt: skip
MARGINS = {
    "Trapezium": (2, 3, 4),
    "Scaphoid": (4, 5, 8, 9),
    "Lunate": (0, 3, 6, 7),
    "Radius": (0, 1, 5, 14),
    "Ulna": (7, 8, 9, 10),
}


@dataclass(frozen=True)
class Pose:
    """How a hand lies: degrees between the fingers, turn of each finger, bend of each phalanx, and
    tilt about the long axis.
    """

    spread: float = 1.35
    finger_turn: tuple[float, ...] = (0.0,) * 5
    flexion: tuple[float, ...] = (0.0,) * 5
    tilt: float = 0.0


@dataclass
class Bone:
    """A bone.

    Attributes
    ----------
    name : str
    outline : float array (n, 2), mm
    depth : float
        Half thickness at the widest place, mm.
    cortex : float
        Thickness of the cortex at mid-shaft, mm (CORTEX_END at the ends).
    axis : float array (2, 2) or None
        Both ends of a shaft, mm; None for bones without one.
    """

    name: str
    outline: np.ndarray
    depth: float
    cortex: float = CORTEX_END
    axis: np.ndarray | None = None


@dataclass
class Joint:
    """A joint.

    Attributes
    ----------
    name : str
    centre, direction : float array (2,)
        Mid-point of the joint space, mm; unit vector across it, towards the fingertip.
    half_width : float
        Of the joint surface, mm.
    space : float
        Joint-space width in the middle, mm; NaN for a site that is a bone (Scaphoid, Lunate,
        Trapezium, Radius, Ulna).
    bare_areas : float array (m, 2)
        Places at the margin without cartilage, where erosions begin, mm.
    """

    name: str
    centre: np.ndarray
    direction: np.ndarray
    half_width: float
    space: float
    bare_areas: np.ndarray


@dataclass
class HandAnatomy:
    """Bones, joints, and soft-tissue strokes (polyline, width, half thickness) of one hand, in mm."""

    bones: list[Bone] = field(default_factory=list)
    joints: dict[str, Joint] = field(default_factory=dict)
    strokes: list[tuple[np.ndarray, float, float]] = field(default_factory=list)


def draw_pose(rng: np.random.Generator) -> Pose:
    """A pose as radiographers get it: fingers a little spread, flat within some degrees."""
    return Pose(
        rng.normal(1.35, 0.3),
        tuple(rng.normal(0, 1.5, 5)),
        tuple(np.abs(rng.normal(0, 7, 5))),
        rng.normal(0, 4),
    )


def expected_space(patient: Patient, joint: str) -> tuple[float, float]:
    """Mean and SD, mm, of a joint's space in healthy people of this age and sex."""
    kind = joint.rstrip("12345")
    mean, sd = JOINT_SPACE.get(kind, JOINT_SPACE["wrist"])
    sex = 1 + (SPACE_SEX if patient.sex == "M" else -SPACE_SEX)
    return mean * sex * (1 + SPACE_AGE * (patient.age - 50)), sd


def own_space_z(patient: Patient, side: int) -> dict[str, float]:
    """How wide each joint space of this person is by nature, in SDs of healthy people: standard
    normal, alike over a person's joints.
    """
    body, shared, own = (
        random_for(patient, 8),
        random_for(patient, 9),
        random_for(patient, 10, side),
    )
    names = [
        f"{kind}{digit}"
        for digit in RAYS
        for kind in ("CMC", "MCP", "IP" if digit == 1 else "PIP", "DIP")
        if (digit, kind) != (1, "DIP")
    ]
    person = body.normal()
    return {
        n: float(
            np.sqrt(0.4) * person + np.sqrt(0.4) * shared.normal() + np.sqrt(0.2) * own.normal()
        )
        for n in [*names, *WRIST_JOINTS]
    }


def build_hand(
    patient: Patient, findings: Findings, side: int, pose: Pose | None = None
) -> HandAnatomy:
    """The hand of a patient.

    Parameters
    ----------
    patient : Patient
    findings : Findings
        Move bones: joint spaces, subluxation, ulnar drift, carpal collapse.
    side : int
        0 left, 1 right: hands of a patient share size and shape, and differ a little.
    pose : Pose, optional
        Flat and straight by default.

    Returns
    -------
    HandAnatomy
    """
    pose = pose or Pose()
    body, own, injury = (
        random_for(patient, 1),
        random_for(patient, 2, side),
        random_for(patient, 11),
    )
    male = 1 - COHORT["people"]["share_female"]
    size = body.normal() + SEX_SHIFT_SD * (
        (patient.sex == "M") - male
    )  # 0 on average: the table's sample is mixed
    stout = 1.0 + 0.045 * body.normal() + (0.05 if patient.sex == "M" else -0.05)
    overall = 1 + 0.065 * size
    plump = 1 + 0.06 * random_for(patient, 14).normal()  # flesh on the fingers: assumption
    spaces = {}
    for name, z in own_space_z(patient, side).items():
        mean, sd = expected_space(patient, name)
        spaces[name] = findings.space(name, mean, sd, z)
    hand = HandAnatomy()
    lift = -3.2 * findings.collapse  # mm that the hand comes nearer to the radius

    def carpal(points: object) -> np.ndarray:
        """Corners of the carpus after growth and collapse: the distal row moves, the radius stays."""
        placed = np.array(points, dtype=float)
        placed[..., 1] += lift * np.clip((placed[..., 1] + 17) / 34, 0, 1)
        return placed * overall

    broken = (
        (int(injury.integers(2, 6)), float(injury.uniform(8, 16)) * injury.choice([-1, 1]))
        if "fracture" in patient.incidental
        else (0, 0.0)
    )
    lengths = {digit: _draw_lengths(digit, size, body) for digit in RAYS}
    for digit, (x, y, angle) in RAYS.items():
        bend = broken[1] if digit == broken[0] and side == 0 else 0.0
        _add_ray(
            hand,
            digit,
            carpal((x, y)),
            angle + own.normal(0, 0.6),
            lengths[digit],
            stout,
            plump,
            spaces,
            findings,
            pose,
            bend,
        )
    shift = _scaphoid_shift(spaces, patient)
    margins = {}
    for name, corners in CARPALS.items():
        placed = (
            carpal(_grown(corners, 1.0))
            + (shift if name == "Scaphoid" else 0)
            + own.normal(0, 0.2, (len(corners), 2))
        )
        margins[name] = placed
        hand.bones.append(Bone(name, _rounded(placed), CARPAL_DEPTH.get(name, 6.5) * overall))
    for name, corners, depth, cortex in (("Radius", RADIUS, 9.0, 2.4), ("Ulna", ULNA, 5.5, 2.0)):
        placed = np.array(corners) * overall * (1, 1) + own.normal(0, 0.2, (len(corners), 2))
        margins[name] = placed
        axis = (
            np.array([placed[:, 0].mean(), 0]) * (1, 0)
            + np.array([[0, -140.0], [0, -14.0]]) * overall
        )
        hand.bones.append(Bone(name, _rounded(placed), depth * overall, cortex * stout, axis))
    _add_sesamoids(hand, own)
    for name, (centre, direction, half_width) in WRIST_JOINTS.items():
        unit = np.array(direction) / np.hypot(*direction)
        place = carpal(centre) + 0.5 * shift
        rim = np.stack(
            [place + sign * half_width * 0.9 * np.array([unit[1], -unit[0]]) for sign in (-1, 1)]
        )
        hand.joints[name] = Joint(name, place, unit, half_width, spaces[name], rim)
    for name, corners in MARGINS.items():
        points = margins[name]
        finite = points[points[:, 1] > -30]
        half = 12.0 if name == "Radius" else 7.0
        hand.joints[name] = Joint(
            name,
            finite.mean(axis=0),
            np.array([0.0, 1.0]),
            half,
            float("nan"),
            points[list(corners)],
        )
    thumb, index = (
        next(bone.axis for bone in hand.bones if bone.name == name) for name in ("MC1", "MC2")
    )
    web = np.stack(
        [thumb[0] + 0.7 * (thumb[1] - thumb[0]), index[0] + 0.42 * (index[1] - index[0])]
    )
    hand.strokes.append((web, 20 * overall, 9.0))
    hand.strokes.append((np.array([[-3.0, 24.0], [-1.0, 2.0]]) * overall, 52 * overall, 14.0))
    hand.strokes.append((np.array([[12.0, 12.0], [22.0, 24.0]]) * overall, 26 * overall, 14.0))
    hand.strokes.append((np.array([[0.0, 6.0], [0.5, -160.0]]) * overall, 51 * overall, 16.0))
    return hand


def _draw_lengths(digit: int, size: float, rng: np.random.Generator) -> list[float]:
    share, rest = np.sqrt(SIZE_CORRELATION), np.sqrt(1 - SIZE_CORRELATION)
    # the size factor has the variance that sex adds; divide it out, so that the SD is the table's
    female = COHORT["people"]["share_female"]
    factor = size / np.sqrt(1 + SEX_SHIFT_SD**2 * female * (1 - female))
    return [mean + sd * (share * factor + rest * rng.normal()) for mean, sd in LENGTHS[digit]]


def _scaphoid_shift(spaces: dict[str, float], patient: Patient) -> np.ndarray:
    """The scaphoid moves towards whichever of its joints has lost most."""
    shift = np.zeros(2)
    for name, (_, direction, _) in WRIST_JOINTS.items():
        lost = np.clip(expected_space(patient, name)[0] - spaces[name], -0.8, 1.8)
        towards = np.array(direction) / np.hypot(*direction) * (-1 if name == "SR" else 1)
        shift += 0.7 * lost * towards
    return shift


def _add_ray(
    hand: HandAnatomy,
    digit: int,
    base: np.ndarray,
    angle: float,
    lengths: list[float],
    stout: float,
    plump: float,
    spaces: dict[str, float],
    findings: Findings,
    pose: Pose,
    bend: float,
) -> None:
    kinds = ("MC", "PP", "DP") if digit == 1 else ("MC", "PP", "MP", "DP")
    joints = ("CMC", "MCP", "IP") if digit == 1 else ("CMC", "MCP", "PIP", "DIP")
    thick = stout * THICKNESS_OF_RAY[digit]
    finger = (
        angle * (0.85 if digit == 1 else pose.spread)
        + pose.finger_turn[digit - 1]
        - (findings.drift if digit > 1 else 0.0)
    )
    point, previous, path = base, None, [base]
    for i, (kind, joint, length) in enumerate(zip(kinds, joints, lengths, strict=True)):
        name = f"{joint}{digit}"
        theta = np.radians((angle if kind == "MC" else finger) + findings.deviation.get(name, 0.0))
        direction = np.array([np.sin(theta), np.cos(theta)])
        side = np.array([direction[1], -direction[0]])
        if i:  # a flexed phalanx looks shorter
            length *= np.cos(np.radians(pose.flexion[digit - 1] * (1 + 0.5 * i)))
        half_width = thick * SHAFTS[kind][0]
        space, slip = spaces[name], findings.subluxation.get(name, 0.0)
        # the carpus stays: a narrow carpometacarpal space brings the ray nearer
        gap = (
            direction * (space - 0.6 * slip) - side * slip
            if i
            else direction * (space - JOINT_SPACE["CMC"][0])
        )
        start = point + gap
        centre = start - direction * space / 2
        shaft = _make_shaft(
            f"{kind}{digit}",
            start,
            direction,
            length,
            half_width,
            thick * SHAFTS[kind][1],
            bend if kind == "MC" else 0.0,
        )
        rims = [start + direction * 1.6 + sign * side * half_width * 0.97 for sign in (-1, 1)]
        if previous is not None:
            head, head_side, head_width = previous
            rims += [head + sign * head_side * head_width * 0.95 for sign in (-1, 1)]
        hand.joints[name] = Joint(name, centre, direction, half_width, space, np.array(rims))
        hand.bones.append(shaft)
        point = shaft.axis[1]
        heading = (
            (shaft.axis[1] - shaft.axis[0]) / np.hypot(*(shaft.axis[1] - shaft.axis[0]))
            if not bend
            else direction
        )
        back = 0.75 * half_width * (1.0 if kind == "MC" else 0.7)
        previous = (
            point - heading * back,
            np.array([heading[1], -heading[0]]),
            half_width * (1.0 if kind == "MC" else 0.78),
        )
        path.append(point)
    path.append(point + direction * PULP[digit] * 0.3)
    metacarpal, phalanges, flesh = np.array(path[:2]), np.array(path[1:]), thick * plump
    hand.strokes.append((metacarpal, 25 * stout * plump, 13.0))
    hand.strokes.append((phalanges[:2], 19.5 * flesh, 9.5 * flesh))
    hand.strokes.append((phalanges[:3], 18.0 * flesh, 8.5 * flesh))
    hand.strokes.append((phalanges[1:], 15.5 * flesh, 7.5 * flesh))


def _template(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Outline of a shaft: shares of the length, and of the half-width, around from the base's right
    rim.
    """
    width, _, stations = SHAFTS[kind]
    mean_length = np.mean(
        [
            lengths[min(("MC", "PP", "MP", "DP").index(kind), len(lengths) - 1)][0]
            for lengths in LENGTHS.values()
        ]
    )
    cap, square = HEAD[kind]
    t = np.concatenate([np.linspace(0.015, 0.85, 26), np.linspace(0.87, 1, 16)])
    s = PchipInterpolator(list(stations), list(stations.values()))(t)
    begin = 1 - cap * width / mean_length
    over = np.clip((t - begin) / (1 - begin), 0, 1)
    s = s * np.maximum(1 - over**square, 0) ** (1 / square)
    if kind in (
        "PP",
        "MP",
    ):  # two condyles with a groove between them: the head's middle stands back
        groove = np.array(
            [(1.0 + 0.012 * np.cos(np.pi * x), x) for x in np.linspace(0.55, -0.55, 9) * s[-4]]
        )
        keep = s > abs(groove[0, 1])
        t, s = t[keep], s[keep]
        head_t, head_s = groove[:, 0] - 0.012, groove[:, 1]
    else:
        head_t, head_s = np.array([1.0]), np.array([0.0])
        t, s = t[:-1], s[:-1]
    across = np.linspace(-0.9, 0.9, 9)
    base_t, base_s = -CONCAVITY[kind] * width / mean_length * across**2, across * s[0]
    return np.concatenate([t, head_t, t[::-1], base_t]), np.concatenate(
        [s, head_s, -s[::-1], base_s]
    )


TEMPLATES = {kind: _template(kind) for kind in SHAFTS}


def _make_shaft(
    name: str,
    start: np.ndarray,
    direction: np.ndarray,
    length: float,
    half_width: float,
    cortex: float,
    bend: float,
) -> Bone:
    """A long bone from its template; a healed fracture bends it by `bend` degrees at two thirds."""
    t, s = TEMPLATES[name[:2]]
    side = np.array([direction[1], -direction[0]])
    outline = start + t[:, None] * length * direction + s[:, None] * half_width * side
    end = start + direction * length
    if bend:
        pivot, angle = start + direction * 0.66 * length, np.radians(bend)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        beyond = t > 0.66
        outline[beyond] = pivot + (outline[beyond] - pivot) @ turn
        end = pivot + (end - pivot) @ turn
    return Bone(name, outline, half_width * 0.92, cortex, np.stack([start, end]))


def _add_sesamoids(hand: HandAnatomy, rng: np.random.Generator) -> None:
    """Two at the thumb in everybody, one at the little and the index finger in some (shares:
    assumption).
    """
    for digit, share, offsets in ((1, 1.0, (-3.4, 3.0)), (5, 0.7, (1.5,)), (2, 0.4, (-1.5,))):
        if rng.random() > share:
            continue
        joint = hand.joints[f"MCP{digit}"]
        side = np.array([joint.direction[1], -joint.direction[0]])
        for k, offset in enumerate(offsets):
            phi = np.linspace(0, 2 * np.pi, 20, endpoint=False)
            a, b = rng.uniform(1.6, 2.3), rng.uniform(2.0, 2.9)
            centre = joint.centre + side * offset - joint.direction * rng.uniform(3.0, 5.0)
            points = (
                centre
                + np.outer(a * np.cos(phi), side)
                + np.outer(b * np.sin(phi), joint.direction)
            )
            hand.bones.append(Bone(f"Sesamoid{digit}{'ab'[k]}", points, 1.8))


def _grown(corners: list[tuple[float, float]], by: float) -> np.ndarray:
    """Corners moved out from their middle by `by` mm: rounding will take that away again."""
    points = np.array(corners, dtype=float)
    out = points - points.mean(axis=0)
    return points + by * out / np.hypot(out[:, 0], out[:, 1])[:, None]


def _rounded(corners: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Chaikin's corner cutting: a smooth closed outline through a rough one."""
    for _ in range(rounds):
        after = np.roll(corners, -1, axis=0)
        corners = np.stack(
            [0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1
        ).reshape(-1, 2)
    return corners
