"""From bones in millimetres to thickness maps and X-ray attenuation.

Attenuation at an effective energy of 30 keV (about 50 kVp): water 0.3756 cm2/g; cortical bone (ICRU-44) 1.331 cm2/g at
1.92 g/cm3. Source: NIST XCOM / Hubbell & Seltzer tables (NISTIR 5632). Trabecular bone: a fifth of cortical, assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.phantom.anatomy import Hand
from rahelpers.phantom.disease import Findings

MU_SOFT = 0.0376  # per mm
MU_CORTICAL = 0.2556
MU_TRABECULAR = 0.2 * MU_CORTICAL
CORTEX_MM = 1.1  # assumption
SUBPIXEL = 4  # bits of cv2's fixed-point coordinates


@dataclass(frozen=True)
class Detector:
    """Where the hand lies: pixels per mm, turn in radians, and pixel position of the wrist; all on the drawing grid."""

    scale: float
    turn: float
    origin: np.ndarray
    size: int

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) in mm -> pixels (n, 2), x to the right, y down."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        turned = np.asarray(points) @ np.array([[c, s], [-s, c]])
        return self.origin + turned * np.array([1.0, -1.0]) * self.scale


def project(hand: Hand, findings: Findings, detector: Detector, density: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation (sum of mu times thickness) and the lesion mask.

    Parameters
    ----------
    hand : Hand
    findings : Findings
    detector : Detector
    density : float
        Trabecular density, 1 normal.
    rng : Generator
        For texture and the place of lesions.

    Returns
    -------
    attenuation : float32 array (n, n)
    lesion : bool array (n, n)
    """
    size, scale = detector.size, detector.scale
    soft = _soft_tissue(hand, findings, detector)
    texture = cv2.resize(rng.normal(0, 1, (size // 2, size // 2)).astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    trabecular_density = density * (1 + 0.12 * texture) * (1 - findings.osteopenia * _near_joints(hand, detector))
    bone = np.zeros((size, size), np.float32)
    any_bone = np.zeros((size, size), np.uint8)
    for item in hand.bones:
        _add_bone(bone, any_bone, detector.to_pixels(item.outline), item.half_width, scale, trabecular_density)
    if findings.osteophytes:
        _add_osteophytes(bone, hand, findings, detector, rng)
    lesion = _erode(bone, any_bone, hand, findings, detector, rng) | _narrowed(hand, findings, detector)
    return MU_SOFT * soft + bone, lesion


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**SUBPIXEL).astype(np.int32).reshape(-1, 1, 2)


def _soft_tissue(hand: Hand, findings: Findings, detector: Detector) -> np.ndarray:
    mask = np.zeros((detector.size, detector.size), np.uint8)
    for line, width in hand.strokes:
        thickness = max(1, round(width * detector.scale))
        cv2.polylines(mask, [_fixed(detector.to_pixels(line))], False, 255, thickness, cv2.LINE_8, SUBPIXEL)
    for name, joint in hand.joints.items():
        if findings.swelling and name.startswith(("MCP", "PIP")):
            radius = (joint.half_width * 1.35 + 2.5 * findings.swelling) * detector.scale
            cv2.circle(mask, tuple(int(v) for v in detector.to_pixels(joint.centre[None])[0]), round(radius), 255, -1)
    # the web between the fingers: closing fills narrow gaps of the palm
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(3.5 * detector.scale) + 1,) * 2)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / detector.scale
    radius = 10.0
    depth = np.minimum(depth, radius)
    return 2 * np.sqrt(depth * (2 * radius - depth))


def _near_joints(hand: Hand, detector: Detector) -> np.ndarray:
    """1 at finger joints, falling to 0 within about 12 mm: where osteopenia begins."""
    near = np.zeros((detector.size, detector.size), np.float32)
    for name, joint in hand.joints.items():
        if name.startswith(("MCP", "PIP", "CMC", "SC")):
            centre = tuple(int(v) for v in detector.to_pixels(joint.centre[None])[0])
            cv2.circle(near, centre, round(10 * detector.scale), 1.0, -1)
    return cv2.blur(near, (2 * round(4 * detector.scale) + 1,) * 2)


def _add_bone(bone: np.ndarray, any_bone: np.ndarray, outline: np.ndarray, half_width: float, scale: float, density: np.ndarray) -> None:
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3, bone.shape[0])
    if (high <= low).any():
        return
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [_fixed(outline - low)], 255, cv2.LINE_8, SUBPIXEL)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / scale
    depth = np.minimum(depth, half_width)
    whole = 2 * np.sqrt(depth * (2 * half_width - depth))
    inner_radius = max(half_width - CORTEX_MM, 0.5)
    inner_depth = np.clip(depth - CORTEX_MM, 0, inner_radius)
    inner = 2 * np.sqrt(inner_depth * (2 * inner_radius - inner_depth))
    added = MU_CORTICAL * (whole - inner) + MU_TRABECULAR * inner * density[window]
    bone[window] = np.maximum(bone[window], added) + 0.25 * np.minimum(bone[window], added)
    any_bone[window] |= mask


def _side(direction: np.ndarray) -> np.ndarray:
    return np.array([direction[1], -direction[0]])


def _add_osteophytes(bone: np.ndarray, hand: Hand, findings: Findings, detector: Detector, rng: np.random.Generator) -> None:
    spurs = np.zeros_like(bone)
    for name in findings.osteophytes:
        joint = hand.joints[name]
        for sign in (-1, 1):
            place = joint.centre + sign * _side(joint.direction) * joint.half_width * 0.98
            radius = rng.uniform(0.9, 1.9)
            cv2.circle(spurs, tuple(int(v) for v in detector.to_pixels(place[None])[0]), max(1, round(radius * detector.scale)), 0.45, -1)
        ends = joint.centre + np.outer([-0.8, 0.8], _side(joint.direction) * joint.half_width)
        cv2.polylines(spurs, [_fixed(detector.to_pixels(ends))], False, 0.35, max(1, round(2.2 * detector.scale)), cv2.LINE_8, SUBPIXEL)
    bone += cv2.blur(spurs, (3, 3))


def _erode(bone: np.ndarray, any_bone: np.ndarray, hand: Hand, findings: Findings, detector: Detector, rng: np.random.Generator) -> np.ndarray:
    """Bites at the bare area: beside the joint, on the margin of the bone. Larger by grade and in larger bones."""
    mask = np.zeros(bone.shape, np.uint8)
    for name, grade in findings.erosion.items():
        joint = hand.joints[name]
        for k in range(min(1 + grade // 2, 3) if grade else 0):
            sign = 1 if (k + rng.integers(2)) % 2 else -1
            along = rng.uniform(1.5, 4.0) * (1 if rng.random() < 0.35 else -1)
            place = joint.centre + sign * _side(joint.direction) * joint.half_width * rng.uniform(0.7, 0.95) + joint.direction * along
            radius = (1.2 + 0.5 * grade) * (joint.half_width / 6.0) ** 0.5 * rng.uniform(0.85, 1.15)
            axes = (max(1, round(radius * detector.scale)), max(1, round(radius * rng.uniform(0.7, 1.0) * detector.scale)))
            cv2.ellipse(mask, tuple(int(v) for v in detector.to_pixels(place[None])[0]), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    mask &= any_bone
    soft_edge = cv2.blur(mask.astype(np.float32) / 255, (3, 3))
    bone *= 1 - 0.92 * soft_edge
    return mask > 0


def _narrowed(hand: Hand, findings: Findings, detector: Detector) -> np.ndarray:
    """The joint spaces that are too narrow, as lesions. Osteoarthritis narrows too, but it is not what makes a film RA."""
    mask = np.zeros((detector.size, detector.size), np.uint8)
    if not findings.osteophytes:
        for name, lost in findings.narrowing.items():
            joint = hand.joints[name]
            if lost < 0.1:
                continue
            ends = joint.centre + np.outer([-0.9, 0.9], _side(joint.direction) * joint.half_width)
            cv2.polylines(mask, [_fixed(detector.to_pixels(ends))], False, 255, max(1, round(1.6 * detector.scale)), cv2.LINE_8, SUBPIXEL)
    return mask > 0
