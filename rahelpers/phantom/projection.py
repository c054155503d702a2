"""From bones in millimetres to thickness maps, X-ray attenuation, and exact masks of every finding.

Attenuation at an effective energy of 30 keV (about 50 kVp): water 0.3756 cm2/g; cortical bone
(ICRU-44) 1.331 cm2/g at 1.92 g/cm3; steel (iron) 8.176 cm2/g at 7.87 g/cm3. Source: NIST XCOM /
Hubbell & Seltzer (NISTIR 5632). Trabecular bone with its marrow: soft tissue plus a fifth of what
cortical bone adds to it, assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.phantom.anatomy import CORTEX_END, Bone, HandAnatomy
from rahelpers.phantom.disease import ANKYLOSIS, Findings

MU_SOFT = 0.0376  # per mm
MU_CORTICAL = 0.2556
MU_TRABECULAR = MU_SOFT + 0.2 * (MU_CORTICAL - MU_SOFT)
MU_METAL = 6.43
SUBPIXEL = 4  # bits of cv2's fixed-point coordinates
# Radius of an erosion by SvdH grade 0 to 5, as a share of half the joint's width: the score grades
# by share of the surface, 5 is collapse (clinical.md); the shares are assumptions.
EROSION_RADIUS = (0.0, 0.2, 0.3, 0.42, 0.55, 0.7)
SKIN_SMOOTH_MM = 2.0
SWELLING_MM = 1.8  # by how much the worst swelling moves the skin on either side: assumption
# side of a texture cell: trabeculae are 0.1 to 0.2 mm thick and 0.6 mm apart (assumption)
TEXTURE_MM = 0.22
MASKS = ("erosion", "narrowing", "ankylosis", "osteopenia", "swelling", "subluxation", "collapse")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Where the hand is on the detector.

    Attributes
    ----------
    scale : float
        Pixels per mm.
    turn, tilt : float
        Of the hand, in the plane of the film and about its long axis, radians.
    origin : float array (2,)
        Pixel position (x, y) of the wrist.
    size : int
        Side of the detector, pixels.
    """

    scale: float
    turn: float
    tilt: float
    origin: np.ndarray
    size: int

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) in mm -> pixels (n, 2), x to the right, y down.

        A tilted hand looks narrower.
        """
        c, s = np.cos(self.turn), np.sin(self.turn)
        tilted = np.asarray(points, dtype=float) * np.array([np.cos(self.tilt), 1.0])
        turned = tilted @ np.array([[c, s], [-s, c]])
        return self.origin + turned * np.array([1.0, -1.0]) * self.scale


@dataclass(kw_only=True)
class Thickness:
    """Thickness maps, float32 (n, n), mm, and where bone is, uint8 (n, n).

    Attributes
    ----------
    cortical, trabecular : array
        Bone.
    soft : array
        Soft tissue, as if bone were soft tissue too.
    metal : array
    bone : array
        255 where there is bone.
    """

    cortical: np.ndarray
    trabecular: np.ndarray
    soft: np.ndarray
    metal: np.ndarray
    bone: np.ndarray

    def attenuation(self) -> np.ndarray:
        """Sum of mu times thickness. Bone takes the place of soft tissue."""
        flesh = np.maximum(self.soft - self.cortical - self.trabecular, 0)
        return (
            MU_SOFT * flesh
            + MU_CORTICAL * self.cortical
            + MU_TRABECULAR * self.trabecular
            + MU_METAL * self.metal
        )


def project(
    hand: HandAnatomy,
    findings: Findings,
    incidental: tuple[str, ...],
    detector: Detector,
    rng: tuple[np.random.Generator, ...],
) -> tuple[Thickness, dict[str, np.ndarray]]:
    """Project a hand onto the detector: thickness maps, and the mask of each finding.

    Parameters
    ----------
    hand : HandAnatomy
    findings : Findings
    incidental : tuple of str
        Ring, implant, cannula, cyst: what is on the film and unrelated to the label. A fracture is
        part of the hand.
    detector : Detector
    rng : three Generators
        For texture, for lesions and for incidental findings: none shifts another.

    Returns
    -------
    thickness : Thickness
    masks : dict
        Name in MASKS -> bool array (n, n).
    """
    texture_rng, lesion_rng, incidental_rng = rng
    shape = (detector.size, detector.size)
    masks = {name: np.zeros(shape, np.uint8) for name in MASKS}
    body = Thickness(
        cortical=np.zeros(shape, np.float32),
        trabecular=np.zeros(shape, np.float32),
        soft=_soft_tissue(hand, findings, detector, masks),
        metal=np.zeros(shape, np.float32),
        bone=np.zeros(shape, np.uint8),
    )
    # healthy bone; trabeculae run along it, so the texture is stretched along one axis
    texture: np.ndarray = texture_rng.standard_normal((512, 512), dtype=np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), sigmaX=0.9, sigmaY=3.0)
    texture = texture / texture.std()
    for bone in hand.bones:
        _add_bone(body, bone, detector, texture, texture_rng)
    # what disease takes away and adds, then what is unrelated to the label
    _thin(body, hand, findings, detector, masks)
    _add_arthrosis(body, hand, findings, detector, lesion_rng)
    _fuse(body, hand, findings, detector, masks)
    _erode(body, hand, findings, detector, lesion_rng, masks["erosion"])
    _mark_spaces(hand, findings, detector, masks)
    _add_incidental(body, hand, incidental, detector, incidental_rng)
    return body, {name: mask > 0 for name, mask in masks.items()}


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points as cv2's fixed-point coordinates."""
    return np.round(points * 2**SUBPIXEL).astype(np.int32).reshape(-1, 1, 2)


def _pixel(point: np.ndarray, detector: Detector) -> tuple[int, int]:
    x, y = detector.to_pixels(np.asarray(point)[None])[0]
    return round(x), round(y)


def _line(
    target: np.ndarray, points: np.ndarray, width: float, value: float, detector: Detector
) -> None:
    """Draw a polyline `width` mm wide."""
    thick = max(1, round(width * detector.scale))
    pixels = [_fixed(detector.to_pixels(points))]
    cv2.polylines(target, pixels, False, value, thick, cv2.LINE_8, SUBPIXEL)


def _disc(
    target: np.ndarray,
    centre: np.ndarray,
    axes: tuple[float, float],
    angle: float,
    value: float,
    detector: Detector,
) -> None:
    """Draw a filled ellipse with half axes in mm, `angle` degrees from the x axis of the film."""
    pixels = tuple(max(1, round(a * detector.scale)) for a in axes)
    cv2.ellipse(target, _pixel(centre, detector), pixels, angle, 0, 360, value, -1)


def _side(direction: np.ndarray) -> np.ndarray:
    return np.array([direction[1], -direction[0]])


def _film_angle(direction: np.ndarray, detector: Detector) -> float:
    """Degrees of a direction of the hand on the film, as cv2 counts them."""
    start, end = detector.to_pixels(np.stack([np.zeros(2), direction]))
    return float(np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0])))


def _soft_tissue(
    hand: HandAnatomy, findings: Findings, detector: Detector, masks: dict[str, np.ndarray]
) -> np.ndarray:
    """Thickness of flesh, float32 (n, n), mm; marks strong synovitis in the mask of swelling.

    Each stroke is a rounded slab, the web between the fingers is filled, swelling is fusiform.
    """
    shape, scale = (detector.size, detector.size), detector.scale
    whole: np.ndarray = np.zeros(shape, np.uint8)
    depth_limit, swollen = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    # the outline of the hand, and how thick it can be at most; thick strokes overwrite thin ones
    for line, width, half_thickness in sorted(hand.strokes, key=lambda stroke: stroke[2]):
        _line(whole, line, width, 255, detector)
        _line(depth_limit, line, width, half_thickness, detector)
    # a swollen joint widens the outline and thickens the flesh
    for name, amount in findings.swelling.items():
        if amount > 0.05:
            joint = hand.joints[name]
            angle = _film_angle(joint.direction, detector)
            half = 0.5 * (3.2 if name.startswith("MCP") else 2.9) * joint.half_width
            axes = (2.1 * joint.half_width, half + SWELLING_MM * amount)
            _disc(whole, joint.centre, axes, angle, 255, detector)
            _disc(swollen, joint.centre, axes, angle, 4.5 * amount, detector)
            if findings.has_ra and amount > 0.3:
                _disc(masks["swelling"], joint.centre, axes, angle, 255, detector)
    # webs between the fingers; and skin has no kinks where two strokes meet
    width = 2 * round(2.6 * scale) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    whole = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, kernel)
    smooth = cv2.GaussianBlur(whole, (0, 0), SKIN_SMOOTH_MM * scale)
    whole = ((smooth > 127) * 255).astype(np.uint8)
    # a cross-section is rounded at the skin and flat where the limit is reached
    depth = cv2.distanceTransform(whole, cv2.DIST_L2, 5) / scale
    blur = max(1, round(3 * scale))
    limit = np.maximum(cv2.blur(np.maximum(depth_limit, 7.0 * (whole > 0)), (blur, blur)), 1.0)
    depth = np.minimum(depth, limit)
    added = cv2.GaussianBlur(swollen, (0, 0), 2.5 * scale) * (whole > 0)
    return (2 * np.sqrt(depth * (2 * limit - depth)) + added).astype(np.float32)


def _add_bone(
    body: Thickness, bone: Bone, detector: Detector, texture: np.ndarray, rng: np.random.Generator
) -> None:
    """Add a shell of cortex around trabecular bone.

    The cortex is thick at mid-shaft and thin at the ends.
    """
    offset = rng.integers(0, 512, 2)
    outline, scale = detector.to_pixels(bone.outline), detector.scale
    # only the window of the film that holds the bone is computed
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3, detector.size)
    if (high <= low).any():
        return
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [_fixed(outline - low)], 255, cv2.LINE_8, SUBPIXEL)
    depth: np.ndarray = cv2.distanceTransform(mask, cv2.DIST_L2, 5) / scale
    x, y = np.meshgrid(
        np.arange(low[0], high[0], dtype=np.float32), np.arange(low[1], high[1], dtype=np.float32)
    )
    # the bone's own frame: mm along and across it; `share` is 0 at the ends and 1 at mid-shaft
    if bone.axis is None:
        along, across, share = (y / scale), (x / scale), np.full(mask.shape, 0.0, np.float32)
        cortex = np.full(mask.shape, CORTEX_END, np.float32)
        ridge: np.ndarray = np.full(mask.shape, bone.depth)
    else:
        start, end = detector.to_pixels(bone.axis)
        length = np.hypot(*(end - start))
        dx, dy = (end - start) / length
        along = ((x - start[0]) * dx + (y - start[1]) * dy) / scale
        across = ((x - start[0]) * dy - (y - start[1]) * dx) / scale
        share = np.clip(along * scale / length, 0, 1)
        cortex = CORTEX_END + (bone.cortex - CORTEX_END) * np.exp(-(((share - 0.5) / 0.24) ** 2))
        share = 1 - np.abs(2 * share - 1)
        ridge = cv2.dilate(depth, np.ones((2 * round(2.2 * scale) + 1,) * 2, np.uint8))
    # the ridge is the half thickness at this place: as much as the bone is wide, seen from above
    ridge = np.clip(ridge, 0.4, bone.depth).astype(np.float32)
    depth = np.minimum(depth, ridge)
    whole = 2 * np.sqrt(depth * (2 * ridge - depth))
    inner_ridge = np.maximum(ridge - cortex, 0.2)
    inner_depth = np.clip(depth - cortex, 0, inner_ridge)
    inner = np.minimum(2 * np.sqrt(inner_depth * (2 * inner_ridge - inner_depth)), whole)
    # spongy at the ends, hollow at mid-shaft; the texture is sampled in the bone's own frame
    cells = cv2.remap(
        texture,
        ((across / TEXTURE_MM + offset[0]) % 511).astype(np.float32),
        ((along / TEXTURE_MM + offset[1]) % 511).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    spongy = (1 - 0.75 * share**1.5) * np.clip(1 + 0.2 * cells, 0, 2.2)
    body.cortical[window] += whole - inner
    body.trabecular[window] += inner * spongy
    body.bone[window] |= mask


def _near_joints(
    hand: HandAnatomy, detector: Detector, names: tuple[str, ...], radius: float
) -> np.ndarray:
    """1 at joints, falling to 0 beyond `radius` mm."""
    near = np.zeros((detector.size, detector.size), np.float32)
    for name, joint in hand.joints.items():
        if name.startswith(names):
            _disc(near, joint.centre, (radius, radius), 0, 1.0, detector)
    width = 2 * round(0.5 * radius * detector.scale) + 1
    return cv2.blur(near, (width, width))


def _thin(
    body: Thickness,
    hand: HandAnatomy,
    findings: Findings,
    detector: Detector,
    masks: dict[str, np.ndarray],
) -> None:
    """Take bone away: near the joints in RA, everywhere with age.

    Cortical bone loses half the share that trabecular bone loses.
    """
    loss: np.ndarray | np.float32 = np.float32(findings.thinning)
    if findings.osteopenia:
        near = _near_joints(hand, detector, ("MCP", "PIP", "CMC", "SC", "SR"), 9.0)
        loss = loss + findings.osteopenia * near
        masks["osteopenia"][(near > 0.5) & (body.bone > 0)] = 255
    body.trabecular *= 1 - loss
    body.cortical *= 1 - 0.5 * loss


def _add_arthrosis(
    body: Thickness,
    hand: HandAnatomy,
    findings: Findings,
    detector: Detector,
    rng: np.random.Generator,
) -> None:
    """Add osteoarthritis: spurs, dense bone under the joint surface, some central erosions."""
    if not findings.osteophytes:
        return
    dense = np.zeros_like(body.cortical)
    for name in findings.osteophytes:
        joint = hand.joints[name]
        across, along = _side(joint.direction), joint.direction
        for sign in (-1, 1):  # spurs at both margins
            root = joint.centre + sign * across * joint.half_width * 0.85
            tip = root + sign * across * rng.uniform(0.8, 2.2) + along * rng.uniform(-1.2, 1.2)
            _line(dense, np.stack([root, tip]), rng.uniform(1.2, 2.2), 1.6, detector)
        for sign in (-1, 1):  # sclerosis on both sides of the joint space
            middle = joint.centre + sign * along * (0.5 * joint.space + 0.9)
            ends = middle + np.outer([-0.8, 0.8], across * joint.half_width)
            _line(dense, ends, 1.5, rng.uniform(1.0, 2.0), detector)
    body.cortical += cv2.GaussianBlur(dense, (0, 0), 0.35 * detector.scale)
    for name in findings.central:
        joint = hand.joints[name]
        keep = np.ones_like(body.cortical)
        axes = (rng.uniform(1.0, 1.8), rng.uniform(0.8, 1.2))
        angle = _film_angle(_side(joint.direction), detector)
        _disc(keep, joint.centre - joint.direction * 1.2, axes, angle, 0.3, detector)
        _keep(body, cv2.GaussianBlur(keep, (0, 0), 0.3 * detector.scale))


def _keep(body: Thickness, share: np.ndarray) -> None:
    """Leave only this share of the bone."""
    body.cortical *= share
    body.trabecular *= share


def _fuse(
    body: Thickness,
    hand: HandAnatomy,
    findings: Findings,
    detector: Detector,
    masks: dict[str, np.ndarray],
) -> None:
    """Let bone grow through the joint space where RA ended in ankylosis."""
    if not findings.has_ra:
        return
    bridge = np.zeros_like(body.trabecular)
    for name, grade in findings.jsn.items():
        if grade == ANKYLOSIS:
            joint = hand.joints[name]
            ends = joint.centre + np.outer([-1.6, 1.6], joint.direction)
            _line(bridge, ends, 1.6 * joint.half_width, 0.9 * joint.half_width, detector)
            across = np.outer([-0.85, 0.85], _side(joint.direction) * joint.half_width)
            _line(masks["ankylosis"], joint.centre + across, 2.2, 255, detector)
    if bridge.any():
        grown = cv2.GaussianBlur(bridge, (0, 0), 0.6 * detector.scale)
        body.trabecular[:] = np.maximum(body.trabecular, grown)


def _erode(
    body: Thickness,
    hand: HandAnatomy,
    findings: Findings,
    detector: Detector,
    rng: np.random.Generator,
    mask: np.ndarray,
) -> None:
    """Bite into the bare areas, without a dense rim.

    Bites are more and larger with the grade, and larger in larger bones.
    """
    for name, grade in findings.erosion.items():
        if not grade:
            continue
        joint = hand.joints[name]
        places = rng.permutation(len(joint.bare_areas))[: min(1 + grade // 2, 3)]
        for place in joint.bare_areas[places]:
            radius = EROSION_RADIUS[grade] * joint.half_width * rng.uniform(0.85, 1.15)
            towards = joint.centre - place
            inward = towards / max(np.hypot(*towards), 1e-6)
            for _ in range(3):  # three overlapping bites make a ragged edge
                depth = inward * radius * rng.uniform(0.1, 0.6)
                centre = place + depth + rng.normal(0, 0.3 * radius, 2)
                axes = (0.8 * radius, 0.8 * radius * rng.uniform(0.7, 1.0))
                _disc(mask, centre, axes, rng.uniform(0, 180), 255, detector)
    mask &= body.bone
    edge = max(0.25 * detector.scale, 0.3)  # pixels
    _keep(body, 1 - 0.9 * cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), edge))


def _mark_spaces(
    hand: HandAnatomy, findings: Findings, detector: Detector, masks: dict[str, np.ndarray]
) -> None:
    """Mark narrowed and subluxed joints and the collapsed carpus.

    Osteoarthritis narrows joints too, but that is not what makes a film RA.
    """
    if not findings.has_ra:
        return
    for name, grade in findings.jsn.items():
        if 0 < grade < ANKYLOSIS:
            joint = hand.joints[name]
            ends = joint.centre + np.outer([-0.9, 0.9], _side(joint.direction) * joint.half_width)
            _line(masks["narrowing"], ends, joint.space + 0.8, 255, detector)
    for name, slip in findings.subluxation.items():
        if slip > 0.5:
            joint = hand.joints[name]
            axes = (1.1 * joint.half_width, 1.1 * joint.half_width)
            _disc(masks["subluxation"], joint.centre, axes, 0, 255, detector)
    if findings.collapse > 0.2:
        for bone in hand.bones:
            if bone.axis is None and not bone.name.startswith("Sesamoid"):
                outline = [_fixed(detector.to_pixels(bone.outline))]
                cv2.fillPoly(masks["collapse"], outline, 255, cv2.LINE_8, SUBPIXEL)


def _add_incidental(
    body: Thickness,
    hand: HandAnatomy,
    incidental: tuple[str, ...],
    detector: Detector,
    rng: np.random.Generator,
) -> None:
    """Add ring, implant, cannula and cyst. Their place is drawn whether or not they are there."""
    bones = {bone.name: bone for bone in hand.bones}
    finger, ray = rng.integers(3, 6), rng.integers(2, 6)
    cyst_at = str(rng.choice(["Capitate", "Hamate", "Lunate", "Scaphoid"]))
    if "cyst" in incidental:  # a hole with a thin dense rim
        centre = bones[cyst_at].outline.mean(axis=0) + rng.normal(0, 1.0, 2)
        radius = rng.uniform(1.4, 2.4)
        lucent, rim = np.zeros_like(body.cortical), np.zeros_like(body.cortical)
        _disc(rim, centre, (radius + 0.6,) * 2, 0, 1.0, detector)
        _disc(rim, centre, (radius,) * 2, 0, 0.0, detector)
        _disc(lucent, centre, (radius,) * 2, 0, 1.0, detector)
        body.trabecular *= 1 - 0.7 * lucent
        body.cortical += 0.8 * cv2.blur(rim, (3, 3))
    if "ring" in incidental:
        start, end = bones[f"PP{finger}"].ends
        direction = (end - start) / np.hypot(*(end - start))
        band = start + 0.38 * (end - start) + np.outer([-9.6, 9.6], _side(direction))
        _line(body.metal, band, rng.uniform(2.0, 4.5), 2.4, detector)
    if "implant" in incidental:  # a plate and its screws on a metacarpal
        start, end = bones[f"MC{ray}"].ends
        direction = (end - start) / np.hypot(*(end - start))
        plate = start + np.outer([0.25, 0.7], end - start)
        _line(body.metal, plate, 3.6, 1.0, detector)
        for share in (0.3, 0.42, 0.54, 0.66):
            screw = start + share * (end - start) + np.outer([-5, 5], _side(direction))
            _line(body.metal, screw, 1.5, 1.8, detector)
    if "cannula" in incidental:  # a thin metal tube, and its plastic hub on the skin
        start = np.array([rng.uniform(-6, 4), rng.uniform(30, 45)])
        _line(body.metal, start + np.array([[0.0, 0.0], [3.0, -22.0]]), 0.9, 0.12, detector)
        _line(body.soft, start + np.array([[-0.8, 6.0], [0.0, 0.0]]), 5.0, 30.0, detector)
