"""Hand normalisation: find the hand, crop it, turn it upright, and fit it into a square.

The square is what the network gets; every hand looks like a left one there. Every step moves whole
pixels or scales, so points and boxes travel both ways: a heat map goes back onto the original film.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.films.radiograph import Radiograph

MASK_SIDE = 192  # pixels on the long side of the film on which the hand is looked for
# grey value below which the film is noise: skin against air is a step in the logarithm, however
# dark the fingers
LOG_OFFSET = 0.06
# a line at the film's edge whose 96 % range and SD are below these is frame or air
UNIFORM = (0.10, 0.035)
HAND_SHARE = (0.06, 0.75)  # of the field
# of its bounding box: a hand fills at most 0.70 (100 real films); what fills more is an exposed
# field
FULLEST = 0.75
LEAST_EDGE = 40  # pixels of the outline inside the field
TOUCH = 0.35  # a hand does not run along more than this share of the field's rim
# of 900 real films, those below show an exposed field that is dark against the rest of the detector
HAND_CONTRAST = 0.03
# Below UNSURE a film is also looked at inverted, and inverted where a hand with fingers is clearly
# easier to see that way. Of 900 real films as they are, with a wide and with a narrow frame, 0, 2
# and 2 were inverted wrongly; of the same films stored inverted, 860, 852 and 860 were corrected.
UNSURE_CONTRAST = 0.15
SURE_CONTRAST = 0.1
CLEARLY = 1.7  # times the evidence
MOST_FINGERS = 2.0  # finger pieces per row that count as evidence: more are creases
TURN_CONFIDENCE = 0.5  # pieces per row; of 900 upright real films none was turned
LEAST_FIELD = 32  # pixels of an exposed field's side
MARGIN = 0.03  # of the hand's longer side, around the crop
OPENING = 5  # pixels: cuts strips of frame and marker plates off the hand
# top, bottom, left, right in pixels; bottom and right are one beyond
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class HandMask:
    """Where the hand is.

    Attributes
    ----------
    mask : bool array (h, w)
        At MASK_SIDE pixels; all False where no hand was found.
    contrast : float
        Median step of the logarithm of the grey value along the outline: the higher, the more
        certain. 0 where no hand was found.
    """

    mask: np.ndarray
    contrast: float


def find_hand(image: np.ndarray) -> HandMask:
    """Find the hand, soft tissue and forearm included.

    Of many thresholds, the one whose outline has the strongest edge is taken.

    Parameters
    ----------
    image : float32 array (H, W)
        Grey values in [0, 1], bone bright.

    Returns
    -------
    HandMask
    """
    # a small film without its frame; the size of the edges in it
    scale = MASK_SIDE / max(image.shape)
    width, height = (max(8, round(side * scale)) for side in image.shape[::-1])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    top, bottom, left, right = inside_frame(small)
    field = np.log(np.float32(LOG_OFFSET) + small[top:bottom, left:right])
    field = cv2.GaussianBlur(field, (0, 0), 1.0)
    step = np.hypot(cv2.Sobel(field, cv2.CV_32F, 1, 0), cv2.Sobel(field, cv2.CV_32F, 0, 1)) / 8
    best, found = 0.0, None
    for threshold in np.unique(np.quantile(field, np.linspace(0.2, 0.85, 27))):
        # a piece as large as a hand, and not as compact as a field
        piece = _largest_piece(field > threshold)
        if piece is None or not HAND_SHARE[0] < piece.mean() < HAND_SHARE[1]:
            continue
        if _fullness(piece) > FULLEST:
            continue
        # how strong the edge along its outline is; where it touches the rim there is no outline
        rim = piece[0].sum() + piece[-1].sum() + piece[:, 0].sum() + piece[:, -1].sum()
        touch = rim / (2 * sum(piece.shape))
        inside = cv2.erode(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        outline = piece & ~inside
        outline[[0, -1]] = outline[:, [0, -1]] = False
        if touch > TOUCH or outline.sum() < LEAST_EDGE:
            continue
        contrast = float(np.median(step[outline])) * (1 - touch)
        if contrast > best:
            best, found = contrast, piece
    # without what sticks to the hand: strips of frame, marker plates
    mask = np.zeros(small.shape, bool)
    if found is not None:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENING, OPENING))
        piece = _largest_piece(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0)
        mask[top:bottom, left:right] = found if piece is None else piece
    return HandMask(mask, best)


def inside_frame(film: np.ndarray) -> Window:
    """The field that remains once uniform lines at the film's edges are left out."""
    top, bottom, left, right = 0, film.shape[0], 0, film.shape[1]

    def is_uniform(line: np.ndarray) -> bool:
        ordered = np.sort(line)  # for a short line faster than a percentile
        tail = round(0.02 * (len(line) - 1))
        return bool(ordered[-1 - tail] - ordered[tail] < UNIFORM[0] and line.std() < UNIFORM[1])

    changed = True
    while changed and bottom - top > 40 and right - left > 40:
        before = (top, bottom, left, right)
        top += is_uniform(film[top, left:right])
        bottom -= is_uniform(film[bottom - 1, left:right])
        left += is_uniform(film[top:bottom, left])
        right -= is_uniform(film[top:bottom, right - 1])
        changed = before != (top, bottom, left, right)
    margin = 2  # the frame's own blur
    return top + margin, bottom - margin, left + margin, right - margin


def bounds(mask: np.ndarray) -> Window:
    """The bounding box of what is True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _fullness(piece: np.ndarray) -> float:
    """Share of its bounding box that a piece fills."""
    top, bottom, left, right = bounds(piece)
    return float(piece[top:bottom, left:right].mean())


def _largest_piece(mask: np.ndarray) -> np.ndarray | None:
    """The largest connected piece, with its holes filled; None where there is none."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    if count < 2:
        return None
    largest = (pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(largest, outlines, -1, 1, cv2.FILLED).astype(bool)


def find_turn(mask: np.ndarray) -> tuple[int, float]:
    """Count the turns by 90 degrees counterclockwise after which the fingers point up.

    Fingers are many pieces side by side, a forearm is one: rows of the upper half are cut into more
    pieces than those of the lower half.

    Parameters
    ----------
    mask : bool array (h, w)

    Returns
    -------
    quarter_turns : int
        0 to 3.
    confidence : float
        By how many pieces per row the best way leads the second best; 0 for an empty mask.
    """
    if not mask.any():
        return 0, 0.0
    top, bottom, left, right = bounds(mask)
    hand = mask[top:bottom, left:right]
    lead = []
    for turns in range(4):
        turned = np.rot90(hand, turns)
        pieces = count_pieces(turned)
        half = len(pieces) // 2
        lead.append(pieces[:half].mean() - pieces[half:].mean())
    order = np.argsort(lead)[::-1]
    return int(order[0]), float(lead[order[0]] - lead[order[1]])


def count_pieces(mask: np.ndarray) -> np.ndarray:
    """Count the pieces that each row of a mask, bool (h, w), is cut into: int (h,)."""
    return (np.diff(np.pad(mask, ((0, 0), (1, 0))).astype(np.int8), axis=1) == 1).sum(axis=1)


@dataclass(frozen=True)
class Geometry:
    """The way from a film to the square and back.

    Attributes
    ----------
    matrix : float array (3, 3)
        Film pixel (x, y, 1) -> square pixel. Pixel centres are at whole numbers plus one half, so
        (0, 0) is the film's corner.
    film_shape : (H, W)
    size : int
        Side of the square, pixels.
    """

    matrix: np.ndarray
    film_shape: tuple[int, int]
    size: int

    @property
    def _film_size(self) -> np.ndarray:
        return np.array(self.film_shape[::-1])

    @property
    def _square_size(self) -> np.ndarray:
        return np.array([self.size, self.size])

    def to_square(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2), x and y in film pixels -> square pixels."""
        return _apply(self.matrix, points)

    def to_film(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2), x and y in square pixels -> film pixels."""
        return _apply(np.linalg.inv(self.matrix), points)

    def boxes_to_square(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) x0, y0, x1, y1 as fractions of the film -> fractions of the square."""
        return _move_boxes(self.to_square, boxes, self._film_size, self._square_size)

    def boxes_to_film(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) x0, y0, x1, y1 as fractions of the square -> fractions of the film."""
        return _move_boxes(self.to_film, boxes, self._square_size, self._film_size)

    def map_to_film(self, heatmap: np.ndarray) -> np.ndarray:
        """A map of the square, float (S, S), on the original film, float32 (H, W).

        It is 0 where the square did not reach.
        """
        # cv2 counts from the middle of the first pixel
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        centres = np.linalg.inv(half) @ self.matrix @ half
        height, width = self.film_shape
        return cv2.warpAffine(
            np.asarray(heatmap, np.float32),
            centres[:2],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _move_boxes(
    move: Callable[[np.ndarray], np.ndarray],
    boxes: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    first, second = move(boxes[:, :2] * before) / after, move(boxes[:, 2:] * before) / after
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)


@dataclass(frozen=True)
class Placement:
    """What is kept of a film, and how it is turned.

    Attributes
    ----------
    box : (top, bottom, left, right)
        Pixels of the film.
    quarter_turns : int
        Turns of 90 degrees, counterclockwise.
    mirror : bool
        Left and right are exchanged, after turning.
    """

    box: Window
    quarter_turns: int = 0
    mirror: bool = False


def fit_to_square(
    image: np.ndarray, size: int, placement: Placement
) -> tuple[np.ndarray, Geometry]:
    """Crop, turn, mirror and letterbox a film.

    Parameters
    ----------
    image : float array (H, W)
    size : int
        Side of the square, pixels.
    placement : Placement

    Returns
    -------
    square : float32 array (size, size)
        Centred, with the aspect kept, and 0 where the film does not reach.
    geometry : Geometry
    """
    # crop, turn, mirror: each step adds its matrix
    top, bottom, left, right = placement.box
    part = image[top:bottom, left:right]
    matrix = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
    for _ in range(placement.quarter_turns % 4):
        matrix = np.array([[0, 1, 0], [-1, 0, part.shape[1]], [0, 0, 1.0]]) @ matrix
        part = np.rot90(part)
    if placement.mirror:
        matrix = np.array([[-1, 0, part.shape[1]], [0, 1, 0], [0, 0, 1.0]]) @ matrix
        part = part[:, ::-1]
    # scale, and put into the middle of the square
    height, width = part.shape
    scale = size / max(height, width)
    fitted_h, fitted_w = max(1, round(height * scale)), max(1, round(width * scale))
    above, beside = (size - fitted_h) // 2, (size - fitted_w) // 2
    smoothly = cv2.INTER_AREA if fitted_h < height else cv2.INTER_LINEAR
    square = np.zeros((size, size), np.float32)
    square[above : above + fitted_h, beside : beside + fitted_w] = cv2.resize(
        np.ascontiguousarray(part, np.float32), (fitted_w, fitted_h), interpolation=smoothly
    )
    fit = np.array([[fitted_w / width, 0, beside], [0, fitted_h / height, above], [0, 0, 1.0]])
    return square, Geometry(fit @ matrix, (image.shape[0], image.shape[1]), size)


def make_thumbnail(image: np.ndarray, size: int) -> np.ndarray:
    """Letterbox a whole film, float (H, W) in [0, 1], as uint8 (size, size).

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.films import make_thumbnail
    >>> small = make_thumbnail(np.ones((60, 30), np.float32), 20)
    >>> small.shape, int(small[:, :5].max()), int(small[:, 5:15].min())
    ((20, 20), 0, 255)
    """
    square, _ = fit_to_square(image, size, Placement((0, image.shape[0], 0, image.shape[1])))
    return np.rint(square * 255).astype(np.uint8)


def normalise_intensity(image: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Stretch the 1st to the 99.5th percentile to [0, 1], float32.

    Exposure differs from film to film, and is not disease. With `like`, the percentiles are those
    of that image: `image` is put on its grey scale.
    """
    scale = image if like is None else like
    low, high = np.percentile(scale, [1.0, 99.5])
    if high <= low:
        low, high = float(scale.min()), max(float(scale.max()), float(scale.min()) + 1e-6)
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """A film as the network sees it.

    Attributes
    ----------
    image : uint8 array (S, S)
        Bone bright.
    placement : Placement
    geometry : Geometry
        Carries points, boxes and heat maps to the film and back.
    inverted : bool
        The film was stored with bone dark; bone is bright here.
    hand : HandMask
        On the window, before turning; below HAND_CONTRAST the whole window was kept.
    turn_confidence : float
        See find_turn; below TURN_CONFIDENCE the film was not turned.
    window : Window
        The part of the film where the hand was looked for: all of it, or one half of a film with
        two hands.
    """

    image: np.ndarray
    placement: Placement
    geometry: Geometry
    inverted: bool
    hand: HandMask
    turn_confidence: float
    window: Window

    def fit_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the film, bool (H, W), in the square, bool (S, S).

        A pixel that is a quarter lesion counts as lesion, or a thin one would vanish.
        """
        size = self.image.shape[0]
        return fit_to_square(mask.astype(np.float32), size, self.placement)[0] >= 0.25


def to_network_input(
    radiograph: Radiograph, size: int, mirror_right: bool = True, window: Window | None = None
) -> NetworkInput:
    """Make the square that the network gets from a film.

    Find the hand, make bone bright, crop, turn it upright, mirror right hands, fit, normalise:
    training, evaluation and the panel all use this function.

    Parameters
    ----------
    radiograph : Radiograph
    size : int
        Side of the square, pixels.
    mirror_right : bool
        Mirror a film whose laterality is 'R', so that every hand looks like a left one.
    window : (top, bottom, left, right), optional
        Look for the hand only in this part of the film, pixels: for a film with two hands. The
        geometry remains that of the whole film.

    Returns
    -------
    NetworkInput

    Examples
    --------
    >>> from rahelpers import Radiograph, films, phantom
    >>> film = phantom.render(phantom.make_patient(7, 0), "R", 128)
    >>> seen = films.to_network_input(Radiograph(1 - film.image, laterality="R"), size=96)
    >>> seen.image.shape, seen.inverted, seen.placement.mirror
    ((96, 96), True, True)
    """
    height, width = radiograph.image.shape
    window = window or (0, height, 0, width)
    seen = _look(radiograph, size, mirror_right, window)
    if seen.hand.contrast < HAND_CONTRAST:
        field = _dark_field(radiograph.image, window)
        inside = _look(radiograph, size, mirror_right, field) if field else seen
        seen = inside if inside.hand.contrast >= SURE_CONTRAST else seen
    return seen


def _look(radiograph: Radiograph, size: int, mirror_right: bool, window: Window) -> NetworkInput:
    """Look for the hand in one window of the film."""
    part = normalise_intensity(radiograph.image[window[0] : window[1], window[2] : window[3]])
    # the hand, on the film as stored or inverted
    hand, inverted, turns, confidence = find_hand(part), False, 0, 0.0
    if hand.contrast < UNSURE_CONTRAST:
        other = find_hand(1 - part)
        has_fingers = (
            other.contrast >= HAND_CONTRAST and find_turn(other.mask)[1] >= TURN_CONFIDENCE
        )
        if has_fingers and _evidence(other) > CLEARLY * _evidence(hand):
            part, hand, inverted = 1 - part, other, True
    # what to keep of the window, and which way up
    top, bottom, left, right = 0, part.shape[0], 0, part.shape[1]
    if hand.contrast >= HAND_CONTRAST:
        top, bottom, left, right = _crop(hand.mask, part.shape)
        turns, confidence = find_turn(hand.mask)
    box = (top + window[0], bottom + window[0], left + window[2], right + window[2])
    placement = Placement(
        box=box,
        quarter_turns=turns if confidence >= TURN_CONFIDENCE else 0,
        mirror=mirror_right and radiograph.laterality == "R",
    )
    # into the square, by way of the whole film, so that the geometry is the film's
    kept = np.zeros(radiograph.image.shape, np.float32)
    kept[box[0] : box[1], box[2] : box[3]] = normalise_intensity(part[top:bottom, left:right])
    square, geometry = fit_to_square(kept, size, placement)
    return NetworkInput(
        image=np.rint(square * 255).astype(np.uint8),
        placement=placement,
        geometry=geometry,
        inverted=inverted,
        hand=hand,
        turn_confidence=confidence,
        window=window,
    )


def _evidence(hand: HandMask) -> float:
    """How much suggests a hand: a sharp outline, and fingers at one end.

    The air around a hand has just as sharp an outline, but no fingers.
    """
    return hand.contrast * (0.2 + min(find_turn(hand.mask)[1], MOST_FINGERS))


def _dark_field(image: np.ndarray, window: Window) -> Window | None:
    """The exposed field of a film whose unexposed part is bright, or None.

    It is the largest dark piece of the window, where that is a rectangle.
    """
    part = normalise_intensity(image[window[0] : window[1], window[2] : window[3]])
    scale = MASK_SIDE / max(part.shape)
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    levels = np.rint(small * 255).astype(np.uint8)
    _, dark = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    piece = _largest_piece(dark > 0)
    if piece is None or not HAND_SHARE[0] < piece.mean() < HAND_SHARE[1]:
        return None
    if _fullness(piece) < FULLEST:
        return None
    inset = 1  # the field's edge is brighter than its air
    top, bottom, left, right = (
        round((edge + side * inset) / scale)
        for edge, side in zip(bounds(piece), (1, -1, 1, -1), strict=True)
    )
    if min(bottom - top, right - left) < LEAST_FIELD:
        return None
    return (
        window[0] + top,
        window[0] + min(bottom, part.shape[0]),
        window[2] + left,
        window[2] + min(right, part.shape[1]),
    )


def _crop(mask: np.ndarray, shape: tuple[int, int]) -> Window:
    """The hand's bounding box with a margin, in pixels of a picture of that shape."""
    height, width = shape
    top, bottom, left, right = (edge * height / mask.shape[0] for edge in bounds(mask))
    margin = MARGIN * max(bottom - top, right - left)
    return (
        max(int(top - margin), 0),
        min(int(bottom + margin), height),
        max(int(left - margin), 0),
        min(int(right + margin), width),
    )


def foreground(image: np.ndarray) -> np.ndarray:
    """The hand in a network input; the whole picture where no hand is found.

    Parameters
    ----------
    image : uint8 array (S, S)

    Returns
    -------
    bool array (S, S)
    """
    mask = find_hand(image.astype(np.float32) / 255).mask
    if not mask.any():
        return np.ones(image.shape, bool)
    size = image.shape[::-1]
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
