"""Anatomy in millimetres: bones, joints and soft tissue of one hand.

Frame: left hand, palm down (PA), wrist centre at the origin, x towards the thumb, y towards the
fingertips. Bone lengths: Buryanov & Kotiuk, Int J Morphol 2010;28(3):755. Joint spaces: see
JOINT_SPACE. Every other shape has no published figure in our sources and is an assumption, set by
comparison with real films. docs/phantom.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator

from rahelpers.phantom.disease import Findings
from rahelpers.phantom.patient import COHORT, Patient, random_for

# Digit -> mean and SD, mm, of metacarpal, proximal, middle and distal phalanx (the thumb has no
# middle one); and the pulp beyond the bone, mm.
LENGTHS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((46.2, 3.9), (31.6, 3.1), (21.7, 1.6)),
    2: ((68.1, 6.3), (39.8, 4.9), (22.4, 2.5), (15.8, 2.3)),
    3: ((64.6, 5.4), (44.6, 3.8), (26.3, 3.0), (17.4, 1.9)),
    4: ((58.0, 5.1), (41.4, 3.9), (25.7, 3.3), (17.3, 2.2)),
    5: ((53.7, 4.4), (32.7, 2.8), (18.1, 2.5), (16.0, 2.5)),
}
PULP = {1: 5.7, 2: 3.8, 3: 4.0, 4: 4.0, 5: 3.7}
SIZE_CORRELATION = 0.85  # between the bones of a hand: assumption
SEX_SHIFT_SD = 1.2  # by how much men's bones are longer than women's: assumption

# Joint space of adults, mean and SD, mm. MCP 1.6: J Rheumatol 28:1825. SD 0.25 (MCP) and 0.21
# (fingers): Kwok et al., Osteoarthritis Cartilage 2011;19:1349. MCP > PIP > DIP, men's wider, PIP
# by 15 %: Acad Radiol 2007, 10.1016/j.acra.2007.01.032. CMC and wrist: assumption.
JOINT_SPACE = {
    "MCP": (1.6, 0.25), "PIP": (1.2, 0.21), "IP": (1.2, 0.21), "DIP": (0.95, 0.21),
    "CMC": (1.5, 0.25), "wrist": (1.8, 0.3),
}  # fmt: skip
SPACE_SEX = 0.07  # men's joint spaces are wider by twice this share
SPACE_AGE = -0.003  # share per year from age 50: assumption

# Digit -> position (x, y) of the base of the ray, and its direction in degrees from the y axis
# towards the thumb.
RAY_BASES = {
    1: (22.0, 11.5, 36.0),
    2: (12.0, 18.4, 9.0),
    3: (3.2, 19.6, 1.0),
    4: (-6.2, 18.0, -7.5),
    5: (-13.6, 15.2, -17.0),
}
THICKNESS_OF_RAY = {1: 1.06, 2: 1.0, 3: 1.03, 4: 0.93, 5: 0.88}
# Half-width at the widest place, mm; cortex at mid-shaft, mm; and the outline: share of the
# half-width at shares of the length.
SHAFTS = {
    "MC": (6.3, 1.8, {0: 0.86, 0.06: 1.0, 0.15: 0.82, 0.3: 0.60, 0.5: 0.55, 0.7: 0.66, 0.83: 0.96,
                      0.9: 1.0, 1: 0.9}),
    "PP": (6.6, 1.6, {0: 0.93, 0.05: 1.0, 0.13: 0.9, 0.26: 0.70, 0.45: 0.60, 0.65: 0.58, 0.8: 0.64,
                      0.9: 0.78, 1: 0.76}),
    "MP": (5.5, 1.3, {0: 0.95, 0.07: 1.0, 0.16: 0.86, 0.3: 0.66, 0.5: 0.57, 0.7: 0.62, 0.84: 0.78,
                      0.93: 0.82, 1: 0.78}),
    "DP": (4.6, 0.8, {0: 0.95, 0.09: 1.0, 0.2: 0.74, 0.4: 0.48, 0.6: 0.42, 0.76: 0.54, 0.87: 0.68,
                      1: 0.5}),
}  # fmt: skip
CORTEX_END = 0.35  # mm, at both ends of a shaft and around a carpal bone
# Length of the rounded head in half-widths, and how square it is.
HEAD = {"MC": (0.80, 2.2), "PP": (0.45, 3.5), "MP": (0.45, 3.5), "DP": (0.6, 2.5)}
# How far the rims of a base stand out, in half-widths.
CONCAVITY = {"MC": 0.05, "PP": 0.16, "MP": 0.12, "DP": 0.10}

Corners = list[tuple[float, float]]
CARPALS: dict[str, Corners] = {
    "Capitate": [(-4.2, 16.6), (2, 18.2), (7.2, 17.2), (7.6, 12), (6.2, 6.5), (6.4, 1), (3.8, -3.2),
                 (-0.4, -3.6), (-3.3, -0.5), (-3.4, 6), (-4.6, 11)],
    "Hamate": [(-5.4, 16.2), (-6.0, 11), (-4.9, 6), (-4.7, 0.6), (-6.6, -0.6), (-10, 3.6),
               (-14, 7.6), (-18, 11.4), (-17, 13.6), (-11, 15.4)],
    "Trapezoid": [(8.8, 16.8), (13.2, 17.4), (15.2, 14), (14.2, 10), (12.6, 7.4), (8, 7), (9, 12)],
    "Trapezium": [(16.0, 15.0), (20.2, 13.6), (24.2, 8.6), (22, 3.6), (17, 4.2), (14.2, 6.4),
                  (15.6, 10)],
    "Scaphoid": [(7.9, 1.4), (8.4, 5.4), (12.8, 5.6), (17, 2.8), (20.4, 1.4), (19.6, -3),
                 (16, -7.8), (10, -12.4), (6.8, -11), (6.6, -6), (6.0, -2.6)],
    "Lunate": [(-4.6, -3.0), (-1, -5.6), (2.6, -5.4), (5.0, -6.2), (5.2, -11.2), (2, -14.4),
               (-3.8, -13.6), (-6.6, -9)],
    "Triquetrum": [(-6.4, -2.6), (-9.4, 1.6), (-14.6, 5.2), (-16.8, 1.4), (-15.2, -4.8),
                   (-11, -9.4), (-8.2, -8.4)],
    "Pisiform": [(-10.6, 1.2), (-14, 2), (-16.6, -0.6), (-16.4, -5), (-13, -6.6), (-10.2, -4)],
}  # fmt: skip
CARPAL_DEPTH = {"Pisiform": 4.0}  # half thickness, mm; the others 6.5
RADIUS: Corners = [
    (21.6, -9.4), (18.4, -11.2), (12.6, -15.2), (6.4, -16.4), (0.8, -17.2), (-4.2, -16.4),
    (-5.8, -19), (-4.4, -26), (-0.8, -38), (0.4, -160), (13.4, -160), (14.6, -46), (18.6, -32),
    (23.4, -21), (23.8, -13.6),
]  # fmt: skip
ULNA: Corners = [
    (-7.6, -19), (-7.8, -24), (-9.2, -33), (-9.6, -160), (-19.2, -160), (-18.2, -34), (-19.8, -24),
    (-20.4, -16), (-19.6, -11.4), (-17.8, -11.2), (-16.2, -16.4), (-11.4, -16.9),
]  # fmt: skip
# Wrist sites of the SvdH score that are joints: centre, direction across the joint, half-width of
# its surface.
WRIST_JOINTS = {
    "STT": ((15.2, 4.9), (0.35, 1.0), 5.0),
    "SC": ((6.9, 0.6), (-1.0, 0.2), 5.0),
    "SR": ((12.6, -12.8), (0.45, 1.0), 6.5),
}
# Bare areas of the wrist sites that are bones: indices of corners of their outline.
MARGINS = {
    "Trapezium": (2, 3, 4),
    "Scaphoid": (4, 5, 8, 9),
    "Lunate": (0, 3, 6, 7),
    "Radius": (0, 1, 5, 14),
    "Ulna": (7, 8, 9, 10),
}


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a hand is held in front of the detector.

    Attributes
    ----------
    spread : float
        Angles between the fingers, as a multiple of the angles between the metacarpals.
    finger_turn, flexion : tuple of five floats
        Turn of each finger in the plane of the film, and bend of its phalanges, degrees.
    tilt : float
        About the long axis of the hand, degrees.

    Examples
    --------
    >>> from rahelpers.phantom import Pose, make_patient, render
    >>> film = render(make_patient(7, 0), "L", 64, pose=Pose(spread=1.0, tilt=10.0))
    >>> film.image.shape
    (64, 64)
    """

    spread: float = 1.35
    finger_turn: tuple[float, ...] = (0.0,) * 5
    flexion: tuple[float, ...] = (0.0,) * 5
    tilt: float = 0.0


@dataclass(kw_only=True)
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

    @property
    def ends(self) -> np.ndarray:
        """Both ends of the shaft, mm, float (2, 2); a bone without a shaft is an error."""
        if self.axis is None:
            raise ValueError(f"{self.name} has no shaft; expected a long bone")
        return self.axis


@dataclass(kw_only=True)
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
    """Bones, joints and soft tissue of one hand, in mm.

    A stroke of soft tissue is a polyline, its width and its half thickness.
    """

    bones: list[Bone] = field(default_factory=list)
    joints: dict[str, Joint] = field(default_factory=dict)
    strokes: list[tuple[np.ndarray, float, float]] = field(default_factory=list)


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose as radiographers get it: fingers slightly spread, flat within some degrees."""
    return Pose(
        spread=rng.normal(1.35, 0.3),
        finger_turn=tuple(rng.normal(0, 1.5, 5)),
        flexion=tuple(np.abs(rng.normal(0, 7, 5))),
        tilt=rng.normal(0, 4),
    )


def expected_space(patient: Patient, joint: str) -> tuple[float, float]:
    """Mean and SD, mm, of a joint's space in healthy people of this age and sex."""
    kind = joint.rstrip("12345")
    mean, sd = JOINT_SPACE.get(kind, JOINT_SPACE["wrist"])
    sex = 1 + (SPACE_SEX if patient.sex == "M" else -SPACE_SEX)
    return mean * sex * (1 + SPACE_AGE * (patient.age - 50)), sd


def own_space_z(patient: Patient, side: int) -> dict[str, float]:
    """How wide each joint space of this person is by nature, in SDs of healthy people.

    Standard normal; the joints of a person are correlated, and the same joint of both hands most.
    """
    body, shared = random_for(patient, 8), random_for(patient, 9)
    own = random_for(patient, 10, side)
    names = [
        f"{kind}{digit}"
        for digit in RAY_BASES
        for kind in ("CMC", "MCP", "IP" if digit == 1 else "PIP", "DIP")
        if (digit, kind) != (1, "DIP")
    ]
    person = body.normal()
    spaces = {}
    for name in [*names, *WRIST_JOINTS]:
        both_hands, this_hand = shared.normal(), own.normal()
        z = np.sqrt(0.4) * person + np.sqrt(0.4) * both_hands + np.sqrt(0.2) * this_hand
        spaces[name] = float(z)
    return spaces


def build_hand(
    patient: Patient, findings: Findings, side: int, pose: Pose | None = None
) -> HandAnatomy:
    """Build the hand of a patient.

    Parameters
    ----------
    patient : Patient
    findings : Findings
        They move bones: joint spaces, subluxation, ulnar drift, carpal collapse.
    side : int
        0 left, 1 right: the hands of a patient share size and shape, and differ slightly.
    pose : Pose, optional
        Flat and straight by default.

    Returns
    -------
    HandAnatomy
    """
    pose = pose or Pose()
    body, own = random_for(patient, 1), random_for(patient, 2, side)
    injury = random_for(patient, 11)
    # How large, stout and fleshy the person is. Size is 0 on average over both sexes, because the
    # sample behind LENGTHS is mixed.
    share_male = 1 - COHORT["people"]["share_female"]
    size = body.normal() + SEX_SHIFT_SD * ((patient.sex == "M") - share_male)
    stout = 1.0 + 0.045 * body.normal() + (0.05 if patient.sex == "M" else -0.05)
    overall = 1 + 0.065 * size
    plump = 1 + 0.06 * random_for(patient, 14).normal()  # flesh on the fingers: assumption
    # Joint spaces: the person's own, changed by disease.
    spaces = {}
    for name, z in own_space_z(patient, side).items():
        mean, sd = expected_space(patient, name)
        spaces[name] = findings.space(name, mean, sd, z)
    hand = HandAnatomy()
    lift = -3.2 * findings.collapse  # mm by which the hand moves towards the radius

    def carpal(points: object) -> np.ndarray:
        """Points of the carpus after growth and collapse: the distal row moves, the radius not."""
        placed = np.array(points, dtype=float)
        placed[..., 1] += lift * np.clip((placed[..., 1] + 17) / 34, 0, 1)
        return placed * overall

    # An old fracture bends one metacarpal of the left hand.
    broken, angle_of_break = 0, 0.0
    if "fracture" in patient.incidental:
        broken = int(injury.integers(2, 6))
        angle_of_break = float(injury.uniform(8, 16)) * injury.choice([-1, 1])
    # Metacarpals and phalanges, ray by ray, from the carpus outwards.
    lengths = {digit: _draw_lengths(digit, size, body) for digit in RAY_BASES}
    for digit, (x, y, angle) in RAY_BASES.items():
        _add_ray(
            hand,
            digit,
            base=carpal((x, y)),
            angle=angle + own.normal(0, 0.6),
            lengths=lengths[digit],
            stout=stout,
            plump=plump,
            spaces=spaces,
            findings=findings,
            pose=pose,
            bend=angle_of_break if digit == broken and side == 0 else 0.0,
        )
    # Carpal bones: every corner varies a little; the scaphoid follows the cartilage it has lost.
    shift = _scaphoid_shift(spaces, patient)
    outlines = {}
    for name, corners in CARPALS.items():
        placed = carpal(_grown(corners, 1.0)) + (shift if name == "Scaphoid" else 0)
        placed = placed + own.normal(0, 0.2, (len(corners), 2))
        outlines[name] = placed
        depth = CARPAL_DEPTH.get(name, 6.5) * overall
        hand.bones.append(Bone(name=name, outline=_rounded(placed), depth=depth))
    # Radius and ulna: shafts whose lower ends are far below the film.
    for name, corners, depth, cortex in (("Radius", RADIUS, 9.0, 2.4), ("Ulna", ULNA, 5.5, 2.0)):
        placed = np.array(corners) * overall + own.normal(0, 0.2, (len(corners), 2))
        outlines[name] = placed
        middle = np.array([placed[:, 0].mean(), 0])
        bone = Bone(
            name=name,
            outline=_rounded(placed),
            depth=depth * overall,
            cortex=cortex * stout,
            axis=middle + np.array([[0, -140.0], [0, -14.0]]) * overall,
        )
        hand.bones.append(bone)
    _add_sesamoids(hand, own)
    # Wrist sites that are joints, with a bare area at both rims.
    for name, (centre, direction, half_width) in WRIST_JOINTS.items():
        unit = np.array(direction) / np.hypot(*direction)
        place = carpal(centre) + 0.5 * shift
        across = half_width * 0.9 * np.array([unit[1], -unit[0]])
        hand.joints[name] = Joint(
            name=name,
            centre=place,
            direction=unit,
            half_width=half_width,
            space=spaces[name],
            bare_areas=np.stack([place - across, place + across]),
        )
    # Wrist sites that are bones: they have no joint space of their own.
    for name, bare in MARGINS.items():
        outline = outlines[name]
        hand.joints[name] = Joint(
            name=name,
            centre=outline[outline[:, 1] > -30].mean(axis=0),
            direction=np.array([0.0, 1.0]),
            half_width=12.0 if name == "Radius" else 7.0,
            space=float("nan"),
            bare_areas=outline[list(bare)],
        )
    _add_palm(hand, overall)
    return hand


def _draw_lengths(digit: int, size: float, rng: np.random.Generator) -> list[float]:
    """Lengths of the bones of one ray, mm: a share of their variance is the size of the hand."""
    share, rest = np.sqrt(SIZE_CORRELATION), np.sqrt(1 - SIZE_CORRELATION)
    # sex adds to the variance of the size; divide it out, so that the SD stays that of the table
    female = COHORT["people"]["share_female"]
    factor = size / np.sqrt(1 + SEX_SHIFT_SD**2 * female * (1 - female))
    return [mean + sd * (share * factor + rest * rng.normal()) for mean, sd in LENGTHS[digit]]


def _scaphoid_shift(spaces: dict[str, float], patient: Patient) -> np.ndarray:
    """Where the scaphoid moves, mm: towards those of its joints that have lost cartilage."""
    shift = np.zeros(2)
    for name, (_, direction, _) in WRIST_JOINTS.items():
        lost = np.clip(expected_space(patient, name)[0] - spaces[name], -0.8, 1.8)
        towards = np.array(direction) / np.hypot(*direction) * (-1 if name == "SR" else 1)
        shift += 0.7 * lost * towards
    return shift


def _add_ray(
    hand: HandAnatomy,
    digit: int,
    *,
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
    """Add the bones, joints and flesh of one ray, from the metacarpal to the fingertip."""
    kinds = ("MC", "PP", "DP") if digit == 1 else ("MC", "PP", "MP", "DP")
    joints = ("CMC", "MCP", "IP") if digit == 1 else ("CMC", "MCP", "PIP", "DIP")
    thick = stout * THICKNESS_OF_RAY[digit]
    finger = (
        angle * (0.85 if digit == 1 else pose.spread)
        + pose.finger_turn[digit - 1]
        - (findings.drift if digit > 1 else 0.0)
    )
    point, path = base, [base]
    head_rims: list[np.ndarray] = []  # of the bone before, where erosions of the joint may begin
    for i, (kind, joint, length) in enumerate(zip(kinds, joints, lengths, strict=True)):
        # which way the bone points, and how long it looks: a flexed phalanx looks shorter
        name = f"{joint}{digit}"
        theta = np.radians((angle if kind == "MC" else finger) + findings.deviation.get(name, 0.0))
        direction = np.array([np.sin(theta), np.cos(theta)])
        side = np.array([direction[1], -direction[0]])
        if i:
            length *= np.cos(np.radians(pose.flexion[digit - 1] * (1 + 0.5 * i)))
        half_width = thick * SHAFTS[kind][0]
        # the joint space below the bone; the carpus stays where it is, so that a narrow
        # carpometacarpal space brings the ray nearer
        space, slip = spaces[name], findings.subluxation.get(name, 0.0)
        if i:
            start = point + (direction * (space - 0.6 * slip) - side * slip)
        else:
            start = point + direction * (space - JOINT_SPACE["CMC"][0])
        shaft = _make_shaft(
            f"{kind}{digit}",
            start,
            direction,
            length,
            half_width,
            thick * SHAFTS[kind][1],
            bend if kind == "MC" else 0.0,
        )
        hand.bones.append(shaft)
        rims = [start + direction * 1.6 + sign * side * half_width * 0.97 for sign in (-1, 1)]
        hand.joints[name] = Joint(
            name=name,
            centre=start - direction * space / 2,
            direction=direction,
            half_width=half_width,
            space=space,
            bare_areas=np.array(rims + head_rims),
        )
        # the head of the bone: the next bone begins there
        below, point = shaft.ends
        heading = direction if bend else (point - below) / np.hypot(*(point - below))
        head = point - heading * (0.75 * half_width * (1.0 if kind == "MC" else 0.7))
        head_side = np.array([heading[1], -heading[0]])
        head_width = half_width * (1.0 if kind == "MC" else 0.78)
        head_rims = [head + sign * head_side * head_width * 0.95 for sign in (-1, 1)]
        path.append(point)
    # flesh: thinner from the palm to the fingertip
    path.append(point + direction * PULP[digit] * 0.3)
    metacarpal, phalanges, flesh = np.array(path[:2]), np.array(path[1:]), thick * plump
    hand.strokes.append((metacarpal, 25 * stout * plump, 13.0))
    hand.strokes.append((phalanges[:2], 19.5 * flesh, 9.5 * flesh))
    hand.strokes.append((phalanges[:3], 18.0 * flesh, 8.5 * flesh))
    hand.strokes.append((phalanges[1:], 15.5 * flesh, 7.5 * flesh))


def _add_palm(hand: HandAnatomy, overall: float) -> None:
    """Add the flesh that belongs to no ray: thumb web, palm, ball of the thumb, forearm."""
    bones = {bone.name: bone for bone in hand.bones}
    (thumb, thumb_head), (index, index_head) = bones["MC1"].ends, bones["MC2"].ends
    web = np.stack([thumb + 0.7 * (thumb_head - thumb), index + 0.42 * (index_head - index)])
    hand.strokes.append((web, 20 * overall, 9.0))
    hand.strokes.append((np.array([[-3.0, 24.0], [-1.0, 2.0]]) * overall, 52 * overall, 14.0))
    hand.strokes.append((np.array([[12.0, 12.0], [22.0, 24.0]]) * overall, 26 * overall, 14.0))
    hand.strokes.append((np.array([[0.0, 6.0], [0.5, -160.0]]) * overall, 51 * overall, 16.0))


def _template(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Outline of a shaft, from the right rim of its base once around.

    Returns shares of the length, and shares of the half-width.
    """
    width, _, stations = SHAFTS[kind]
    place = ("MC", "PP", "MP", "DP").index(kind)
    # the thumb has no middle phalanx: its last bone counts instead
    mean_length = np.mean([of_ray[min(place, len(of_ray) - 1)][0] for of_ray in LENGTHS.values()])
    # the side of the shaft, rounded off towards the head
    cap, square = HEAD[kind]
    t = np.concatenate([np.linspace(0.015, 0.85, 26), np.linspace(0.87, 1, 16)])
    s = PchipInterpolator(list(stations), list(stations.values()))(t)
    begin = 1 - cap * width / mean_length
    over = np.clip((t - begin) / (1 - begin), 0, 1)
    s = s * np.maximum(1 - over**square, 0) ** (1 / square)
    # the head: two condyles with a groove between them, whose middle stands back; or a round end
    if kind in ("PP", "MP"):
        head_s = np.linspace(0.55, -0.55, 9) * s[-4]
        head_t = (1.0 + 0.012 * np.cos(np.pi * head_s)) - 0.012
        keep = s > abs(head_s[0])
        t, s = t[keep], s[keep]
    else:
        head_t, head_s = np.array([1.0]), np.array([0.0])
        t, s = t[:-1], s[:-1]
    # the base: a shallow cup
    across = np.linspace(-0.9, 0.9, 9)
    base_t, base_s = -CONCAVITY[kind] * width / mean_length * across**2, across * s[0]
    return (
        np.concatenate([t, head_t, t[::-1], base_t]),
        np.concatenate([s, head_s, -s[::-1], base_s]),
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
    """Make a long bone from its template; a healed fracture bends it by `bend` degrees.

    The fracture is at two thirds of the length.
    """
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
    axis = np.stack([start, end])
    return Bone(name=name, outline=outline, depth=half_width * 0.92, cortex=cortex, axis=axis)


def _add_sesamoids(hand: HandAnatomy, rng: np.random.Generator) -> None:
    """Add sesamoid bones: two at everyone's thumb, some at the little and the index finger.

    The shares of people are an assumption.
    """
    for digit, share, offsets in ((1, 1.0, (-3.4, 3.0)), (5, 0.7, (1.5,)), (2, 0.4, (-1.5,))):
        if rng.random() > share:
            continue
        joint = hand.joints[f"MCP{digit}"]
        side = np.array([joint.direction[1], -joint.direction[0]])
        phi = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        for letter, offset in zip("ab", offsets, strict=False):
            a, b = rng.uniform(1.6, 2.3), rng.uniform(2.0, 2.9)
            centre = joint.centre + side * offset - joint.direction * rng.uniform(3.0, 5.0)
            outline = centre + np.outer(a * np.cos(phi), side)
            outline += np.outer(b * np.sin(phi), joint.direction)
            hand.bones.append(Bone(name=f"Sesamoid{digit}{letter}", outline=outline, depth=1.8))


def _grown(corners: Corners, by: float) -> np.ndarray:
    """Move corners away from their middle by `by` mm; `_rounded` takes that away again."""
    points = np.array(corners, dtype=float)
    out = points - points.mean(axis=0)
    return points + by * out / np.hypot(out[:, 0], out[:, 1])[:, None]


def _rounded(corners: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Draw a smooth closed outline through a rough one: Chaikin's corner cutting."""
    for _ in range(rounds):
        after = np.roll(corners, -1, axis=0)
        cut = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1)
        corners = cut.reshape(-1, 2)
    return corners
