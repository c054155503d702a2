"""Quality control: what is wrong with a film, in words, and what was done about it. Each check is a
small function with its limit beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.films.marks import find_marks
from rahelpers.films.normalisation import (
    HAND_CONTRAST,
    TURN_CONFIDENCE,
    NetworkInput,
    inside_frame,
    normalise_intensity,
)
from rahelpers.films.radiograph import Radiograph

ACTIONS = ("keep", "fix", "exclude")  # from mild to severe
LEAST_SIDE = 64  # pixels: below it a joint space is less than a pixel wide
# grey levels: a film has hundreds, a drawing or a thumbnail of a screenshot a handful
LEAST_LEVELS = 24
MOST_COLOURED = 0.05  # share of the film: an arrow takes less, a photograph or a heat map more
LEAST_RANGE = 0.15  # of the grey range, between the air and the brightest bone
MOST_SATURATED = 0.10  # share of the crop at the brightest value: bone has burnt out
LEAST_HAND = 0.08  # share of the film
MOST_BORDER = 0.5  # share of the film: of 900 real films, one in fifty has more
MOST_MARKER = 0.03  # share of the film
# in a row: of 300 real films with side and initials in lead none has so many; of 100 with a name
# burnt in, 99 are found
TEXT_LETTERS = 5
STROKE_WIDTH = 0.012  # of the long side: twice as wide is no stroke any more but a bone
STROKE_CONTRAST = 0.4  # of the grey range
TEXT_HEIGHT = (5, 60)  # pixels
TEXT_SIDE = 1600  # pixels: a longer film is looked at smaller
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

    @property
    def rank(self) -> int:
        """The severest first."""
        return -ACTIONS.index(self.action)


def check_film(film: Radiograph, seen: NetworkInput, place: str = "") -> list[Finding]:
    """Every finding on one film, the severest first; empty where nothing is wrong.

    Parameters
    ----------
    film : Radiograph
        As read.
    seen : NetworkInput
        The same film as the network gets it.
    place : str
        Which hand of a film with two it is: left, right, upper or lower; '' where the film shows
        one.
    """
    found = [finding for check in CHECKS if (finding := check(film, seen))]
    found += [two_hands(place, film.laterality)] if place else []
    return sorted(found, key=lambda f: f.rank)


def check_modality(film: Radiograph, _: NetworkInput) -> Finding | None:
    """No plain radiograph, by the file's own word."""
    other = film.provenance.other_modality
    if not other:
        return None
    return Finding(
        "modality",
        "exclude",
        1,
        0,
        f"the DICOM file says that it comes from {other}; expected a plain radiograph (CR, DX, RG)",
    )


def check_size(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Too few pixels."""
    height, width = film.image.shape
    if min(height, width) < LEAST_SIDE:
        return Finding(
            "size",
            "exclude",
            min(height, width),
            LEAST_SIDE,
            f"{width} x {height} pixels; expected at least {LEAST_SIDE} on the shorter side",
        )
    return None


def check_levels(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Hardly any grey levels."""
    levels = len(np.unique(np.rint(film.image * 255)))
    if levels < LEAST_LEVELS:
        return Finding(
            "grey levels",
            "exclude",
            levels,
            LEAST_LEVELS,
            f"{levels} grey levels; expected at least {LEAST_LEVELS}: not a radiograph?",
        )
    return None


def check_colour(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Colours of its own, beyond the tint that a whole film may have."""
    coloured = film.provenance.coloured
    if coloured > MOST_COLOURED:
        words = (
            f"{coloured:.0%} of the picture is coloured, as photographs, drawings and overlays are;"
            " expected grey"
        )
        return Finding("colour", "exclude", coloured, MOST_COLOURED, words)
    return None


def check_inverted(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Stored with bone dark."""
    return (
        Finding("inverted", "fix", 1, 0, "bone was stored dark; inverted")
        if seen.inverted
        else None
    )


def check_turned(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Lying on its side or upside down."""
    if seen.placement.quarter_turns:
        degrees = 90 * seen.placement.quarter_turns
        return Finding(
            "turned",
            "fix",
            seen.turn_confidence,
            TURN_CONFIDENCE,
            f"fingers did not point up; turned by {degrees} degrees counterclockwise",
        )
    return None


def check_hand(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """No hand found, or a very small one."""
    if seen.hand.contrast < HAND_CONTRAST:
        return Finding(
            "hand",
            "keep",
            seen.hand.contrast,
            HAND_CONTRAST,
            "no hand was found; the whole film is used: look at it",
        )
    share = float(seen.hand.mask.mean())
    if share < LEAST_HAND:
        return Finding(
            "hand", "keep", share, LEAST_HAND, f"the hand takes {share:.0%} of the film: look at it"
        )
    return None


def check_exposure(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """Bone burnt out, or hand and air hardly apart."""
    top, bottom, left, right = seen.placement.box
    kept = (
        1 - film.image[top:bottom, left:right]
        if seen.inverted
        else film.image[top:bottom, left:right]
    )
    air, bone = np.percentile(kept, [2, 99])
    if bone - air < LEAST_RANGE:
        return Finding(
            "exposure",
            "keep",
            float(bone - air),
            LEAST_RANGE,
            f"hand and air lie {bone - air:.0%} of the grey range apart: over- or under-exposed",
        )
    saturated = float((kept >= 0.995).mean())
    if saturated > MOST_SATURATED:
        return Finding(
            "exposure",
            "keep",
            saturated,
            MOST_SATURATED,
            f"{saturated:.0%} of the picture has the brightest value: burnt out",
        )
    return None


def check_cut_off(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Fingertips beyond the edge of the film."""
    upright = np.rot90(seen.hand.mask, seen.placement.quarter_turns)
    reaching = float(upright[:EDGE_ROWS].any(axis=0).mean())
    if reaching > 0:
        return Finding(
            "cut off",
            "keep",
            reaching,
            0,
            "fingers reach the edge of the film: tips may be cut off",
        )
    return None


def measure_surroundings(film: Radiograph, seen: NetworkInput) -> tuple[float, float]:
    """Shares of the film that border, and bright marks beside the hand, take: facts that may give a
    label away.

    Returns
    -------
    marker, border : float in [0, 1]
    """
    mask = seen.hand.mask
    small = cv2.resize(_window(film, seen), mask.shape[::-1], interpolation=cv2.INTER_AREA)
    top, bottom, left, right = inside_frame(small)
    border = 1 - max(bottom - top, 0) * max(right - left, 0) / small.size
    beside = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    field = np.zeros(mask.shape, bool)
    field[top:bottom, left:right] = True
    return float(find_marks(small, field & beside).mean()), float(border)


def _window(film: Radiograph, seen: NetworkInput) -> np.ndarray:
    """The part of the film where the hand was looked for, bone bright, normalised."""
    top, bottom, left, right = seen.window
    part = normalise_intensity(film.image[top:bottom, left:right])
    return 1 - part if seen.inverted else part


def check_surroundings(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """A wide border or much empty air, or large marks beside the hand: a network can learn the room
    from them.
    """
    marker, border = measure_surroundings(film, seen)
    if border > MOST_BORDER:
        return Finding(
            "border",
            "keep",
            border,
            MOST_BORDER,
            f"border and empty air take {border:.0%} of the film",
        )
    if marker > MOST_MARKER:
        return Finding(
            "marker",
            "keep",
            marker,
            MOST_MARKER,
            f"bright marks beside the hand take {marker:.0%} of the film: marker, plate or edge",
        )
    return None


def check_text(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """A row of letters burnt into the picture: it may name the patient."""
    letters = _longest_row(_find_letters(film.image, seen))
    if letters < TEXT_LETTERS:
        return None
    return Finding(
        "text",
        "keep",
        letters,
        TEXT_LETTERS,
        f"about {letters} letters in a row are burnt into the picture: they may name the patient;"
        " look at it",
    )


def _find_letters(image: np.ndarray, seen: NetworkInput) -> np.ndarray:
    """Boxes x, y, width, height of small bright or dark pieces with sharp edges; int array (k, 4)."""
    top, bottom, left, right = seen.window
    part = image[top:bottom, left:right]
    scale = min(1.0, TEXT_SIDE / max(part.shape))
    part = (
        cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if scale < 1
        else np.ascontiguousarray(part)
    )
    width = max(7, 2 * round(STROKE_WIDTH * max(part.shape)) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    found = []
    for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):  # white on black, black on white
        strokes = cv2.morphologyEx(part, operation, kernel) > STROKE_CONTRAST
        _, _, boxes, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
        boxes = boxes[1:]
        tall = (
            (boxes[:, 3] >= TEXT_HEIGHT[0])
            & (boxes[:, 3] <= TEXT_HEIGHT[1])
            & (boxes[:, 2] <= 3 * boxes[:, 3])
        )
        filled = boxes[:, 4] > 0.15 * boxes[:, 2] * boxes[:, 3]
        found.append(boxes[tall & filled, :4])
    return max(found, key=len)


def _longest_row(boxes: np.ndarray) -> int:
    """Letters in the longest row of pieces of like height, side by side."""
    longest, left = 0, boxes[np.argsort(boxes[:, 0])]
    for first in left:
        count, x, y, height = (
            _letters(first),
            first[0] + first[2],
            first[1] + first[3] / 2,
            first[3],
        )
        for box in left:
            if (
                0 <= box[0] - x <= 1.5 * height
                and abs(box[1] + box[3] / 2 - y) < 0.4 * height
                and 0.55 < box[3] / height < 1.8
            ):
                count, x = count + _letters(box), box[0] + box[2]
        longest = max(longest, count)
    return longest


def _letters(box: np.ndarray) -> int:
    """How many letters a piece may be: letters that touch make one wide piece."""
    return max(1, round(box[2] / (0.9 * box[3])))


def two_hands(part: str, laterality: str) -> Finding:
    """The finding of a film that was cut into two hands."""
    side = (
        f"; taken as the {'left' if laterality == 'L' else 'right'} hand of a PA view: check it"
        if laterality
        else ": check which side it is"
    )
    return Finding("two hands", "fix", 2, 1, f"two hands on one film; this is the {part} one{side}")


CHECKS: tuple[Callable[[Radiograph, NetworkInput], Finding | None], ...] = (
    check_modality,
    check_colour,
    check_size,
    check_levels,
    check_inverted,
    check_turned,
    check_hand,
    check_exposure,
    check_cut_off,
    check_surroundings,
    check_text,
)
