"""Where the joints of a hand are on a film that nobody has marked.

They are found from the outline of the fingers, with proportions measured on the phantom. Each
finger has a tip and, where it leaves the hand, a base. A joint is at a fixed share of the way
between them; the wrist is at a fixed place relative to the knuckles. The shares are medians over
phantom hands (`places.toml`, written by tests/benchmarks/joint_places.py). This locates regions, it
does not measure: children's and deformed hands have other proportions. docs/explanations.md gives
the hit rate on real films.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
import pandas as pd
from scipy.signal import find_peaks

from rahelpers.films.normalisation import find_hand

SIDE = 320  # pixels: every film is looked at in this size
FINGERS = ("5", "4", "3", "2", "1")  # from left to right on an upright left hand; the thumb is 1
COLUMNS = ["site", "x0", "y0", "x1", "y1"]
# for fingers (numbered from the left, 0 to 4) with one web: the direction of their free side, x to
# the right and y down
OUTWARDS = {0: (-1.0, 0.5), 3: (1.0, 0.5), 4: (0.5, 1.0)}
TIP_STANDS_OUT = 0.35  # of the palm's radius: less is a dent in the outline
# mean length of the four long fingers in thumbs: shorter ones have a closed gap next to them, with
# longer ones the thumb is cut off
LENGTHS = (0.85, 1.9)
# least depth of the shallowest of the three webs between long fingers, in depths of the deepest
EVEN = 0.55

Move = Callable[[np.ndarray], np.ndarray]  # points (2,) or (n, 2) to points


@dataclass(frozen=True)
class Fingers:
    """The five fingers of an upright hand, as if it were a left hand.

    Attributes
    ----------
    tips, bases : float array (5, 2)
        x and y in pixels of a square of side `SIDE`, in the order of FINGERS.
    webs : float array (4, 2)
        Where neighbouring fingers separate.
    mirrored : bool
        The thumb is on the left: the points are those of the mirrored film.
    """

    tips: np.ndarray
    bases: np.ndarray
    webs: np.ndarray
    mirrored: bool


@dataclass(frozen=True)
class Located:
    """Joint boxes, or why there are none.

    Attributes
    ----------
    joints : DataFrame
        A joint table without grades: site, x0, y0, x1, y1 as fractions.
    reason : str
        Why the table is empty; '' where joints were found.
    """

    joints: pd.DataFrame
    reason: str


def locate_joints(image: np.ndarray) -> Located:
    """Locate the SvdH sites of a hand, as boxes.

    Parameters
    ----------
    image : uint8 array (S, S)
        A film as the network gets it: one hand, upright, bone bright.

    Returns
    -------
    Located
        Without boxes where the five fingers are not separate in the outline: two that touch would
        move every joint.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers import Radiograph, films, phantom
    >>> film = phantom.render(phantom.make_patient(99, 3), "L", 256)
    >>> seen = films.to_network_input(Radiograph(film.image), 256)
    >>> films.locate_joints(seen.image).joints.columns.tolist()
    ['site', 'x0', 'y0', 'x1', 'y1']
    >>> films.locate_joints(np.zeros((128, 128), np.uint8)).reason
    'no hand was found'
    """
    fingers = find_fingers(image)
    if isinstance(fingers, str):
        return Located(pd.DataFrame(columns=COLUMNS), fingers)
    # middles of the finger joints, each in its finger's frame, then those of the wrist from them
    places, middles = load_places(), {}
    for row in places[places["frame"] != "hand"].itertuples():
        middles[row.site] = finger_frame(fingers, row.frame)[1](np.array([row.u, row.v]))
    _, to_square, length = hand_frame(middles)
    for row in places[places["frame"] == "hand"].itertuples():
        middles[row.site] = to_square(np.array([row.u, row.v]))
    # boxes as fractions, in the order of the places
    halves = places.set_index("site")["half"] * length
    rows = []
    for site in places["site"]:
        (x, y), half = middles[site], halves[site]
        x = SIDE - x if fingers.mirrored else x
        box = ((x - half) / SIDE, (y - half) / SIDE, (x + half) / SIDE, (y + half) / SIDE)
        rows.append((site, *box))
    return Located(pd.DataFrame(rows, columns=COLUMNS), "")


@cache
def load_places() -> pd.DataFrame:
    """Load the proportions.

    Returns
    -------
    DataFrame
        site; frame (a finger, or 'hand'); u and v, shares of the frame's length; half, half the
        side of a box in lengths of the frame 'hand'.
    """
    places = tomllib.loads(resources.files("rahelpers.films").joinpath("places.toml").read_text())
    return pd.DataFrame([{"site": site} | place for site, place in places.items()])


def find_fingers(image: np.ndarray) -> Fingers | str:
    """Find the fingers of a film, or say in words why they were not found.

    Parameters
    ----------
    image : uint8 array (S, S)
        A film as the network gets it.

    Returns
    -------
    Fingers or str
    """
    outline = _find_outline(image)
    if outline is None:
        return "no hand was found"
    hand, contour = outline
    # the palm: the largest disc in the hand
    depth = cv2.distanceTransform(hand, cv2.DIST_L2, 5)
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    palm, radius = np.array([x, y], dtype=float), float(depth[y, x])
    # tips: peaks of the outline's distance from the palm, not towards the wrist
    away = cv2.GaussianBlur(np.hypot(*(contour - palm).T)[None].astype(np.float32), (0, 0), 3)[0]
    peaks, _ = find_peaks(away, prominence=TIP_STANDS_OUT * radius, distance=8)
    turn = np.arctan2(contour[:, 0] - palm[0], palm[1] - contour[:, 1])
    at = np.array([p for p in peaks if abs(turn[p]) < np.radians(120) and away[p] > 1.3 * radius])
    if len(at) != 5:
        return f"{len(at)} separate fingertips in the outline, expected 5"
    # webs between neighbours; then from left to right, as on a left hand
    tips = contour[at]
    webs = np.array([_find_web(contour[a : b + 1]) for a, b in zip(at[:-1], at[1:], strict=True)])
    if tips[0, 0] > tips[-1, 0]:
        tips, webs = tips[::-1], webs[::-1]
    mirrored = bool(tips[0, 1] > tips[-1, 1])  # the thumb's tip is the lower of the two outer ones
    if mirrored:
        tips, webs = (points[::-1] * [-1, 1] + [SIDE, 0] for points in (tips, webs))
        hand = hand[:, ::-1]
    # bases: between two webs, or straight across the finger from its only web
    inner = [(webs[0] + webs[1]) / 2, (webs[1] + webs[2]) / 2]
    bases = np.array(
        [
            _cross(hand, tips[i], webs[w], OUTWARDS[i]) if i in OUTWARDS else inner[i - 1]
            for i, w in enumerate((0, 0, 1, 2, 3))
        ]
    )
    # a finger that touches its neighbour hides a web, one that is cut off is short
    length = np.hypot(*(tips - bases).T)
    depths = [_height(webs[w], tips[w], tips[w + 1]) for w in range(3)]
    has_lengths = LENGTHS[0] <= length[:4].mean() / length[4] <= LENGTHS[1]
    if not has_lengths or min(depths) < EVEN * max(depths):
        return "the fingers are too close together, or one is cut off"
    return Fingers(tips, bases, webs, mirrored)


def _find_outline(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The hand, uint8 (SIDE, SIDE), and its contour, float (n, 2); None where there is no hand.

    The contour begins at its lowest point.
    """
    found = find_hand(image.astype(np.float32) / 255).mask.astype(np.uint8)
    mask = cv2.resize(found, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    hand = cv2.drawContours(np.zeros_like(mask), [largest], -1, 1, cv2.FILLED)
    contour = largest[:, 0, :].astype(float)
    return hand, np.roll(contour, -int(np.argmax(contour[:, 1])), axis=0)


def _height(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance of points from the line through two others."""
    along = end - start
    return np.abs((point - start) @ np.array([along[1], -along[0]])) / np.hypot(*along)


def _find_web(between: np.ndarray) -> np.ndarray:
    """The place of an outline between two tips that is farthest from the line through them.

    More exactly, the middle of all that is nearly as far.
    """
    height = _height(between, between[0], between[-1])
    return between[height >= 0.98 * height.max()].mean(axis=0)


def _cross(
    hand: np.ndarray, tip: np.ndarray, web: np.ndarray, outwards: tuple[float, float]
) -> np.ndarray:
    """The middle of a finger where it leaves the hand: halfway from its web straight across it."""
    base = web
    for _ in range(3):  # the finger's direction depends on its base, and the base on the direction
        along = (tip - base) / np.hypot(*(tip - base))
        across = np.array([-along[1], along[0]])
        across = across * (1 if across @ np.array(outwards) >= 0 else -1)
        steps = np.arange(3, max(0.6 * np.hypot(*(tip - web)), 5))
        line = np.clip(np.rint(web + np.outer(steps, across)).astype(int), 0, SIDE - 1)
        outside = hand[line[:, 1], line[:, 0]] == 0
        # the web is on the outline: the line may run next to the finger first
        outside[: int(np.argmin(outside))] = False
        base = web + across * (steps[int(np.argmax(outside))] if outside.any() else steps[-1]) / 2
    return base


def _frame(origin: np.ndarray, end: np.ndarray) -> tuple[Move, Move, float]:
    """The way from the square into a frame, the way back, and the frame's length in pixels.

    The frame starts at `origin`; its first axis leads to `end` and is 1 there.
    """
    along = end - origin
    length = float(np.hypot(*along))
    axes = np.stack([along, [-along[1], along[0]]]) / length

    def to_frame(point: np.ndarray) -> np.ndarray:
        return (point - origin) @ axes.T / length

    def to_square(point: np.ndarray) -> np.ndarray:
        return point @ axes * length + origin

    return to_frame, to_square, length


def finger_frame(fingers: Fingers, finger: str) -> tuple[Move, Move, float]:
    """The frame of a finger in FINGERS, from its base to its tip."""
    i = FINGERS.index(finger)
    return _frame(fingers.bases[i], fingers.tips[i])


def hand_frame(middles: dict[str, np.ndarray]) -> tuple[Move, Move, float]:
    """The frame of the hand: from the middle of MCP 2 to 5 to the middle of PIP 2 to 5."""
    knuckles, finger_joints = (
        np.mean([middles[f"{joint}{k}"] for k in range(2, 6)], axis=0) for joint in ("MCP", "PIP")
    )
    return _frame(knuckles, finger_joints)
