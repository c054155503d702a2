"""Two hands on one film: find them, and say where to cut."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from rahelpers.films.normalisation import (
    SURE_CONTRAST,
    TURN_CONFIDENCE,
    NetworkInput,
    Window,
    bounds,
    find_hand,
    find_turn,
    normalise_intensity,
    to_network_input,
)
from rahelpers.films.radiograph import Radiograph

NARROW = 0.62  # of the film: a hand that takes less, and is on one side, may have a neighbour
# area of one hand divided by the other's: 0.6 to 1.7 on 450 films put together from two real hands
SIMILAR = (0.5, 2.0)
WIDE = 1.1  # width to height of a film whose two hands may touch
LEAST_PART = 24  # pixels on the side of a part
CUT_SHARE = 0.12  # of the height: what a cut between two hands that touch may go through


@dataclass(frozen=True)
class OneHand:
    """One hand of a film.

    Attributes
    ----------
    place : str
        Where it is on a film of two: left, right, upper or lower; '' where the film shows one.
    film : Radiograph
        The whole film; its laterality is this hand's.
    window : (top, bottom, left, right)
        The part of the film that belongs to this hand, pixels.
    seen : NetworkInput
    """

    place: str
    film: Radiograph
    window: Window
    seen: NetworkInput


def cut_hands(film: Radiograph, size: int, mirror_right: bool = True) -> list[OneHand]:
    """Cut a film into its hands: one, or two.

    On a PA view of both hands, as it hangs, the left hand is on the left.

    Parameters
    ----------
    film : Radiograph
    size : int
        Side of the network's square, pixels.
    mirror_right : bool
        See `to_network_input`.

    Returns
    -------
    list of OneHand

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers import Radiograph, films, phantom
    >>> patient = phantom.make_patient(31, 0)
    >>> both = [phantom.render(patient, side, 160, dose_ugy=2.5).image for side in "LR"]
    >>> hands = films.cut_hands(Radiograph(np.hstack(both)), size=96)
    >>> [(hand.place, hand.film.laterality, hand.seen.image.shape) for hand in hands]
    [('left', 'L', (96, 96)), ('right', 'R', (96, 96))]
    """
    whole = to_network_input(film, size, mirror_right)
    windows = find_two_hands(film.image, whole.hand.mask)
    if windows is None:
        return [OneHand("", film, (0, film.image.shape[0], 0, film.image.shape[1]), whole)]
    lying = windows[0][2:] == windows[1][2:]
    which = (("upper", ""), ("lower", "")) if lying else (("left", "L"), ("right", "R"))
    hands = []
    for window, (place, side) in zip(windows, which, strict=True):
        own = dataclasses.replace(film, laterality=side)
        hands.append(OneHand(place, own, window, to_network_input(own, size, mirror_right, window)))
    return hands


def find_two_hands(image: np.ndarray, mask: np.ndarray) -> tuple[Window, Window] | None:
    """Find the parts of a film that hold one hand each, in reading order.

    Both parts must hold a hand that points the same way, of about the same size, with a clear
    outline.

    Parameters
    ----------
    image : float32 array (H, W)
        Grey values in [0, 1]; bone bright or dark.
    mask : bool array (h, w)
        What was taken for the hand on the whole film (`NetworkInput.hand`).

    Returns
    -------
    (Window, Window) or None
        Left and right part, or upper and lower where the film is on its side; None where the film
        holds one hand, or none.
    """
    if not mask.any():
        return None
    height, width = image.shape
    for lying in (False, True):
        upright, hand = (image.T, mask.T) if lying else (image, mask)
        for cut in (_column_next_to(upright, hand), _column_through(hand)):
            if cut is None:
                continue
            at = round(cut * upright.shape[1] / hand.shape[1])
            if _are_hands(upright, at):
                if lying:
                    return (0, at, 0, width), (at, height, 0, width)
                return (0, height, 0, at), (0, height, at, width)
    return None


def _column_next_to(image: np.ndarray, mask: np.ndarray) -> int | None:
    """The column of the mask next to the one hand that was found where the film is most even: air.

    None where that hand leaves no room.
    """
    _, _, left, right = bounds(mask)
    columns = mask.shape[1]
    if right - left > NARROW * columns or max(left, columns - right) < (1 - NARROW) * columns:
        return None
    if left > columns - right:
        start, stop = max(left - columns // 6, 1), left
    else:
        start, stop = right, min(right + columns // 6, columns - 1)
    spread = [
        image[:, round(column * image.shape[1] / columns)].std() for column in range(start, stop)
    ]
    return start + int(np.argmin(spread)) if spread else None


def _column_through(mask: np.ndarray) -> int | None:
    """The column that cuts least of a mask that two hands share.

    None where the film is not wide, or the cut would go through a hand.
    """
    rows, columns = mask.shape
    if columns < WIDE * rows:
        return None
    middle = slice(int(0.35 * columns), int(0.65 * columns))
    covered = mask[:, middle].mean(axis=0)
    if covered.min() > CUT_SHARE:
        return None
    return middle.start + int(np.median(np.flatnonzero(covered == covered.min())))


def _are_hands(image: np.ndarray, cut: int) -> bool:
    """Whether both sides of a cut hold a hand: clear outlines, same way up, similar in size."""
    if min(cut, image.shape[1] - cut) < LEAST_PART:
        return False
    found, areas = [], []
    for side in (image[:, :cut], image[:, cut:]):
        part = normalise_intensity(side)
        hand = max(find_hand(part), find_hand(1 - part), key=lambda h: h.contrast)
        if hand.contrast < SURE_CONTRAST:
            return False
        found.append(find_turn(hand.mask))
        areas.append(hand.mask.mean() * part.size)
    (turns, confidence), (other_turns, other_confidence) = found
    return (
        turns == other_turns
        and min(confidence, other_confidence) >= TURN_CONFIDENCE
        and SIMILAR[0] <= areas[0] / areas[1] <= SIMILAR[1]
    )
