"""Quality control: what is wrong with a film, in words, and what was done about it.

Each check is a small function, and its limit is a constant.
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
USABLE_SIDE = 64  # pixels: below it a joint space is less than a pixel wide
# grey levels: a film has hundreds, a drawing or a thumbnail of a screenshot a handful
LEAST_LEVELS = 24
MOST_COLOURED = 0.05  # share of the film: an arrow takes less, a photograph or a heat map more
LEAST_RANGE = 0.15  # of the grey range, between the air and the brightest bone
MOST_SATURATED = 0.10  # share of the crop at the brightest value: bone is burnt out
LEAST_HAND = 0.08  # share of the film
MOST_BORDER = 0.5  # share of the film: of 900 real films, one in fifty has more
MOST_MARKER = 0.03  # share of the film
# in a row: none of 300 real films with side and initials in lead has that many; of 100 with a name
# burnt in, 99 are found
TEXT_LETTERS = 5
STROKE_WIDTH = 0.012  # of the long side: twice as wide is no longer a stroke but a bone
STROKE_CONTRAST = 0.4  # of the grey range
TEXT_HEIGHT = (5, 60)  # pixels
TEXT_SIDE = 1600  # pixels: a longer film is reduced to this
EDGE_ROWS = 3  # of the mask: the frame takes two, so this is the first row of the field


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    check : str
    action : str
        keep: noted only; fix: corrected on the way to the network; exclude: the film is not used.
    value, limit : float
        What was measured, and the limit that it crossed.
    words : str
        For the person who is responsible for the films.
    """

    check: str
    action: str
    value: float
    limit: float
    words: str

    @property
    def rank(self) -> int:
        """Order of findings: the most severe first."""
        return -ACTIONS.index(self.action)


def check_film(film: Radiograph, seen: NetworkInput, place: str = "") -> list[Finding]:
    """Check one film: every finding, the most severe first; empty where nothing is wrong.

    Parameters
    ----------
    film : Radiograph
        As read.
    seen : NetworkInput
        The same film as the network gets it.
    place : str
        Which hand of a film with two it is: left, right, upper or lower; '' where the film shows
        one.

    Returns
    -------
    list of Finding

    Examples
    --------
    >>> from rahelpers import Radiograph, films, phantom
    >>> patient = phantom.make_patient(31, 0)
    >>> film = Radiograph(1 - phantom.render(patient, "L", 320, dose_ugy=2.5).image)
    >>> [(f.check, f.action) for f in films.check_film(film, films.to_network_input(film, 96))]
    [('inverted', 'fix')]
    """
    found = [finding for check in CHECKS if (finding := check(film, seen))]
    found += [describe_two_hands(place, film.laterality)] if place else []
    return sorted(found, key=lambda f: f.rank)


def check_modality(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Not a plain radiograph, as the file itself says."""
    other = film.provenance.other_modality
    if not other:
        return None
    words = (
        f"the DICOM file says that it comes from {other}; expected a plain radiograph (CR, DX, RG)"
    )
    return Finding("modality", "exclude", 1, 0, words)


def check_size(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Too few pixels."""
    height, width = film.image.shape
    side = min(height, width)
    if side >= USABLE_SIDE:
        return None
    words = f"{width} x {height} pixels; expected at least {USABLE_SIDE} on the shorter side"
    return Finding("size", "exclude", side, USABLE_SIDE, words)


def check_levels(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Hardly any grey levels."""
    levels = len(np.unique(np.rint(film.image * 255)))
    if levels >= LEAST_LEVELS:
        return None
    words = f"{levels} grey levels; expected at least {LEAST_LEVELS}: not a radiograph?"
    return Finding("grey levels", "exclude", levels, LEAST_LEVELS, words)


def check_colour(film: Radiograph, _: NetworkInput) -> Finding | None:
    """Colours of its own, beyond the tint that a whole film may have."""
    coloured = film.provenance.coloured
    if coloured <= MOST_COLOURED:
        return None
    words = (
        f"{coloured:.0%} of the picture is coloured, as photographs, drawings and overlays are;"
        " expected grey"
    )
    return Finding("colour", "exclude", coloured, MOST_COLOURED, words)


def check_inverted(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Stored with bone dark."""
    if not seen.inverted:
        return None
    return Finding("inverted", "fix", 1, 0, "bone was stored dark; inverted")


def check_turned(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Lying on its side or upside down."""
    degrees = 90 * seen.placement.quarter_turns
    if not degrees:
        return None
    words = f"fingers did not point up; turned by {degrees} degrees counterclockwise"
    return Finding("turned", "fix", seen.turn_confidence, TURN_CONFIDENCE, words)


def check_hand(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """No hand found, or a very small one."""
    if seen.hand.contrast < HAND_CONTRAST:
        words = "no hand was found; the whole film is used: look at it"
        return Finding("hand", "keep", seen.hand.contrast, HAND_CONTRAST, words)
    share = float(seen.hand.mask.mean())
    if share < LEAST_HAND:
        words = f"the hand takes {share:.0%} of the film: look at it"
        return Finding("hand", "keep", share, LEAST_HAND, words)
    return None


def check_exposure(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """Bone is burnt out, or hand and air have nearly the same grey."""
    top, bottom, left, right = seen.placement.box
    kept = film.image[top:bottom, left:right]
    kept = 1 - kept if seen.inverted else kept
    air, bone = np.percentile(kept, [2, 99])
    apart = bone - air
    if apart < LEAST_RANGE:
        words = f"hand and air are {apart:.0%} of the grey range apart: over- or under-exposed"
        return Finding("exposure", "keep", float(apart), LEAST_RANGE, words)
    saturated = float((kept >= 0.995).mean())
    if saturated > MOST_SATURATED:
        words = f"{saturated:.0%} of the picture has the brightest value: burnt out"
        return Finding("exposure", "keep", saturated, MOST_SATURATED, words)
    return None


def check_cut_off(_: Radiograph, seen: NetworkInput) -> Finding | None:
    """Fingertips beyond the edge of the film."""
    upright = np.rot90(seen.hand.mask, seen.placement.quarter_turns)
    reaching = float(upright[:EDGE_ROWS].any(axis=0).mean())
    if reaching == 0:
        return None
    words = "fingers reach the edge of the film: tips may be cut off"
    return Finding("cut off", "keep", reaching, 0, words)


def measure_surroundings(film: Radiograph, seen: NetworkInput) -> tuple[float, float]:
    """Measure how much of the film is border, and how much is bright marks next to the hand.

    These facts may give a label away.

    Returns
    -------
    marker, border : float in [0, 1]
        Shares of the film.
    """
    mask = seen.hand.mask
    small = cv2.resize(_window(film, seen), mask.shape[::-1], interpolation=cv2.INTER_AREA)
    top, bottom, left, right = inside_frame(small)
    border = 1 - max(bottom - top, 0) * max(right - left, 0) / small.size
    # next to the hand with a margin, inside the exposed field
    outside = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    field = np.zeros(mask.shape, bool)
    field[top:bottom, left:right] = True
    return float(find_marks(small, field & outside).mean()), float(border)


def _window(film: Radiograph, seen: NetworkInput) -> np.ndarray:
    """The part of the film where the hand was looked for, bone bright, normalised."""
    top, bottom, left, right = seen.window
    part = normalise_intensity(film.image[top:bottom, left:right])
    return 1 - part if seen.inverted else part


def check_surroundings(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """A wide border or much empty air, or large marks next to the hand.

    A network can learn from them in which room a film was made.
    """
    marker, border = measure_surroundings(film, seen)
    if border > MOST_BORDER:
        words = f"border and empty air take {border:.0%} of the film"
        return Finding("border", "keep", border, MOST_BORDER, words)
    if marker > MOST_MARKER:
        words = (
            f"bright marks next to the hand take {marker:.0%} of the film: marker, plate or edge"
        )
        return Finding("marker", "keep", marker, MOST_MARKER, words)
    return None


def check_text(film: Radiograph, seen: NetworkInput) -> Finding | None:
    """A row of letters burnt into the picture: it may name the patient."""
    letters = _longest_row(_find_letters(film.image, seen))
    if letters < TEXT_LETTERS:
        return None
    words = (
        f"about {letters} letters in a row are burnt into the picture: they may name the patient;"
        " look at it"
    )
    return Finding("text", "keep", letters, TEXT_LETTERS, words)


def _find_letters(image: np.ndarray, seen: NetworkInput) -> np.ndarray:
    """Find small bright or dark pieces with sharp edges: their boxes, int array (k, 4).

    A box is x, y, width, height.
    """
    top, bottom, left, right = seen.window
    part = np.ascontiguousarray(image[top:bottom, left:right])
    scale = TEXT_SIDE / max(part.shape)
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    width = max(7, 2 * round(STROKE_WIDTH * max(part.shape)) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    found = []
    for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):  # white on black, black on white
        strokes = cv2.morphologyEx(part, operation, kernel) > STROKE_CONTRAST
        _, _, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
        _, _, wide, tall, area = stats[1:].T
        is_letter = (tall >= TEXT_HEIGHT[0]) & (tall <= TEXT_HEIGHT[1]) & (wide <= 3 * tall)
        is_filled = area > 0.15 * wide * tall
        found.append(stats[1:][is_letter & is_filled, :4])
    return max(found, key=len)


def _longest_row(boxes: np.ndarray) -> int:
    """Count the letters in the longest row of pieces of similar height, side by side."""
    longest, from_left = 0, boxes[np.argsort(boxes[:, 0])]
    for first in from_left:
        # the row that starts with this piece: each next one is close, as high, and on the line
        count, end = _count_letters(first), first[0] + first[2]
        line, height = first[1] + first[3] / 2, first[3]
        for box in from_left:
            is_next = 0 <= box[0] - end <= 1.5 * height
            is_level = abs(box[1] + box[3] / 2 - line) < 0.4 * height
            if is_next and is_level and 0.55 < box[3] / height < 1.8:
                count, end = count + _count_letters(box), box[0] + box[2]
        longest = max(longest, count)
    return longest


def _count_letters(box: np.ndarray) -> int:
    """How many letters a piece may be: letters that touch form one wide piece."""
    return max(1, round(box[2] / (0.9 * box[3])))


def describe_two_hands(place: str, laterality: str) -> Finding:
    """The finding for one hand of a film that was cut into two hands."""
    side = ": check which side it is"
    if laterality:
        which = "left" if laterality == "L" else "right"
        side = f"; taken as the {which} hand of a PA view: check it"
    words = f"two hands on one film; this is the {place} one{side}"
    return Finding("two hands", "fix", 2, 1, words)


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
