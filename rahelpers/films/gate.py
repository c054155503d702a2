"""Is this a film of one hand at all? The gate in front of the network, for films people bring.

Every limit was measured on real films.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from rahelpers.films.normalisation import NetworkInput, bounds, count_pieces
from rahelpers.films.quality import Finding

# These limits refuse 27 of 900 real hands. Of 625 other pictures they let 37 pass, and 13 once
# quality control has looked at the file too (docs/panel.md).
LEAST_CONTRAST = 0.035  # along the outline; real hands: from 0.032
LEAST_SHARE = 0.10  # of the film
# turn confidence: fingers at one end and a wrist at the other; of 900 real hands 14 have less
LEAST_FINGERS = 0.35
LEAST_ROWS = 0.10  # share of the upper half's rows that cut three fingers or more
LEAST_OUTLINE = 6.5  # length of the outline in square roots of the area; a disc has 3.5
WIDEST = 1.15  # width to height of an upright hand; of 900 real hands 1 is wider
# turn confidence: more pieces side by side than one hand has fingers; real hands: up to 2.1
TWO_HANDS = 2.2

ADVICE = {
    "modality": "Bring a plain radiograph of the hand; the model knows only this kind of picture.",
    "size": "Export the film at its full resolution.",
    "colour": (
        "Bring the film itself, stored as grey, not a photograph, a drawing or a coloured overlay"
        " of it."
    ),
    "grey levels": "Export the film as 8 or 16 bit grey, not as a drawing or a screenshot.",
    "hand": "Bring one plain PA radiograph of a hand, with all fingers and the wrist on the film.",
    "two": "Crop the film so that it shows one hand, and bring each hand as a file of its own.",
    "file": "Bring a PNG, JPEG, TIFF, BMP or DICOM file of one radiograph.",
}


@dataclass(frozen=True)
class Refusal:
    """Why a file or film gets no answer, and what its owner can do about it."""

    name: str
    reason: str
    advice: str


def refuse_film(name: str, findings: Iterable[Finding], seen: NetworkInput) -> Refusal | None:
    """Say why the network must not be asked about a film, or None.

    Parameters
    ----------
    name : str
        What the person calls the film.
    findings : iterable of Finding
        From quality control.
    seen : NetworkInput

    Returns
    -------
    Refusal or None

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers import Radiograph, films
    >>> noise = Radiograph(np.random.default_rng(0).random((96, 96), dtype=np.float32))
    >>> refusal = films.refuse_film("noise.png", [], films.to_network_input(noise, 64))
    >>> refusal.reason
    'No hand was found on this picture'
    """
    # what quality control found
    for finding in findings:
        if finding.action == "exclude":
            reason = finding.words[:1].upper() + finding.words[1:]
            return Refusal(name, reason, ADVICE.get(finding.check, ADVICE["file"]))
    # no hand, or two
    mask = seen.hand.mask
    if seen.hand.contrast < LEAST_CONTRAST or mask.mean() < LEAST_SHARE:
        return Refusal(name, "No hand was found on this picture", ADVICE["hand"])
    if seen.turn_confidence > TWO_HANDS:
        reason = "There seem to be two hands on this film, too close together to be cut apart"
        return Refusal(name, reason, ADVICE["two"])
    # something that is not shaped like a hand
    hand = np.rot90(mask, seen.placement.quarter_turns)
    top, bottom, left, right = bounds(hand)
    hand = hand[top:bottom, left:right]
    is_wide = hand.shape[1] / hand.shape[0] > WIDEST
    if (
        seen.turn_confidence < LEAST_FINGERS
        or is_wide
        or _rows_of_fingers(hand) < LEAST_ROWS
        or _outline_length(hand) < LEAST_OUTLINE
    ):
        reason = "What was found does not look like a hand: no fingers side by side above a wrist"
        return Refusal(name, reason, ADVICE["hand"])
    return None


def _rows_of_fingers(hand: np.ndarray) -> float:
    """Share of the rows of a mask's upper half that cut three pieces or more."""
    return float((count_pieces(hand)[: len(hand) // 2] >= 3).mean())


def _outline_length(hand: np.ndarray) -> float:
    """Length of a mask's outline in square roots of its area."""
    outlines, _ = cv2.findContours(
        np.pad(hand, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    largest = max(outlines, key=cv2.contourArea)
    return float(cv2.arcLength(largest, True) / np.sqrt(max(cv2.contourArea(largest), 1)))
