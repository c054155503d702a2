"""Is this a film of one hand at all? The gate before the network, for films that somebody brings. Every limit was measured on real films."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rahelpers.normalisation import NetworkInput, bounds
from rahelpers.quality import Finding

# Of 900 real hands these limits refuse 20, each for one reason or two; of 26 pictures of other things one passed (stained tissue).
LEAST_CONTRAST = 0.035  # along the outline; real hands: from 0.032
LEAST_SHARE = 0.10  # of the film
LEAST_FINGERS = 0.35  # turn confidence: fingers on one side and a wrist on the other; of 900 real hands 14 have less
WIDEST = 1.15  # width to height of an upright hand; of 900 real hands 1 are wider
TWO_HANDS = 2.2  # turn confidence: more pieces side by side than one hand has fingers; real hands: up to 2.1

ADVICE = {
    "size": "Export the film at its full resolution.",
    "grey levels": "Export the film as 8 or 16 bit grey, not as a drawing or a screenshot.",
    "hand": "Bring one plain PA radiograph of a hand, with all fingers and the wrist on the film.",
    "two": "Crop the film so that it shows one hand, and bring each hand as a file of its own.",
    "file": "Bring a PNG, JPEG, TIFF, BMP or DICOM file of one radiograph.",
}


@dataclass(frozen=True)
class Refusal:
    """Why a file or film gets no answer, and what its owner can do."""

    name: str
    reason: str
    advice: str


def refuse_film(name: str, findings: Iterable[Finding], seen: NetworkInput) -> Refusal | None:
    """Why the network must not be asked about a film, or None.

    Parameters
    ----------
    name : str
        What the person calls the film.
    findings : iterable of Finding
        Of quality control.
    seen : NetworkInput
    """
    for finding in findings:
        if finding.action == "exclude":
            return Refusal(name, finding.words[:1].upper() + finding.words[1:], ADVICE.get(finding.check, ADVICE["file"]))
    mask = seen.hand.mask
    if seen.hand.contrast < LEAST_CONTRAST or mask.mean() < LEAST_SHARE:
        return Refusal(name, "No hand was found on this picture", ADVICE["hand"])
    if seen.turn_confidence > TWO_HANDS:
        return Refusal(name, "There seem to be two hands on this film, too close together to be cut apart", ADVICE["two"])
    top, bottom, left, right = bounds(np.rot90(mask, seen.placement.quarter_turns))
    if seen.turn_confidence < LEAST_FINGERS or (right - left) / (bottom - top) > WIDEST:
        return Refusal(name, "What was found does not look like a hand: no fingers side by side above a wrist", ADVICE["hand"])
    return None
