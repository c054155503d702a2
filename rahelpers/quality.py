"""Quality control: what is wrong with a film, in words, and what was done about it. Each check is a small function with its limit beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rahelpers.normalisation import HAND_CONTRAST, TURN_CONFIDENCE, NetworkInput
from rahelpers.radiograph import Radiograph

ACTIONS = ("keep", "fix", "exclude")  # from mild to severe
LEAST_SIDE = 64  # pixels: below it a joint space is less than a pixel wide
LEAST_LEVELS = 24  # grey levels: a film has hundreds, a drawing or a thumbnail of a screenshot a handful
LEAST_RANGE = 0.15  # of the grey range, between the air and the brightest bone
MOST_SATURATED = 0.10  # share of the crop at the brightest value: bone has burnt out
LEAST_HAND = 0.08  # share of the film
EDGE_ROWS = 3  # of the mask: the frame takes two, so this is the first row of the field


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    check : str
    action : str
        keep: noted only; fix: mended on the way to the network; exclude: the film is not used.
    value, limit : float
        What was measured, and the limit that it crossed.
    words : str
        For the person who looks after the films.
    """

    check: str
    action: str
    value: float
    limit: float
    words: str


def check_film(film: Radiograph, seen: NetworkInput) -> list[Finding]:
    """Every finding on one film, the severest first; empty where nothing is wrong.

    Parameters
    ----------
    film : Radiograph
        As read.
    seen : NetworkInput
        The same film as the network gets it.
    """
    found = [finding for check in CHECKS if (finding := check(film, seen))]
    return sorted(found, key=lambda f: -ACTIONS.index(f.action))


def check_size(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Too few pixels."""
    height, width = film.image.shape
    if min(height, width) < LEAST_SIDE:
        return Finding("size", "exclude", min(height, width), LEAST_SIDE, f"{width} x {height} pixels; expected at least {LEAST_SIDE} on the shorter side")
    return None


def check_levels(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Hardly any grey levels."""
    levels = len(np.unique(np.rint(film.image * 255)))
    if levels < LEAST_LEVELS:
        return Finding("grey levels", "exclude", levels, LEAST_LEVELS, f"{levels} grey levels; expected at least {LEAST_LEVELS}: not a radiograph?")
    return None


def check_inverted(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Stored with bone dark."""
    return Finding("inverted", "fix", 1, 0, "bone was stored dark; inverted") if seen.inverted else None


def check_turned(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Lying on its side or upside down."""
    if seen.placement.quarter_turns:
        degrees = 90 * seen.placement.quarter_turns
        return Finding("turned", "fix", seen.turn_confidence, TURN_CONFIDENCE, f"fingers did not point up; turned by {degrees} degrees counterclockwise")
    return None


def check_hand(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """No hand found, or a very small one."""
    if seen.hand.contrast < HAND_CONTRAST:
        return Finding("hand", "keep", seen.hand.contrast, HAND_CONTRAST, "no hand was found; the whole film is used: look at it")
    share = float(seen.hand.mask.mean())
    if share < LEAST_HAND:
        return Finding("hand", "keep", share, LEAST_HAND, f"the hand takes {share:.0%} of the film: look at it")
    return None


def check_exposure(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """Bone burnt out, or hand and air hardly apart."""
    top, bottom, left, right = seen.placement.box
    kept = 1 - film.image[top:bottom, left:right] if seen.inverted else film.image[top:bottom, left:right]
    air, bone = np.percentile(kept, [2, 99])
    if bone - air < LEAST_RANGE:
        return Finding("exposure", "keep", float(bone - air), LEAST_RANGE, f"hand and air lie {bone - air:.0%} of the grey range apart: over- or under-exposed")
    saturated = float((kept >= 0.995).mean())
    if saturated > MOST_SATURATED:
        return Finding("exposure", "keep", saturated, MOST_SATURATED, f"{saturated:.0%} of the picture has the brightest value: burnt out")
    return None


def check_cut_off(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Fingertips beyond the edge of the film."""
    upright = np.rot90(seen.hand.mask, seen.placement.quarter_turns)
    reaching = float(upright[:EDGE_ROWS].any(axis=0).mean())
    if reaching > 0:
        return Finding("cut off", "keep", reaching, 0, "fingers reach the edge of the film: tips may be cut off")
    return None


CHECKS: tuple[Callable[[Radiograph, NetworkInput], Finding | None], ...] = (
    check_size, check_levels, check_inverted, check_turned, check_hand, check_exposure, check_cut_off,
)  # fmt: skip
