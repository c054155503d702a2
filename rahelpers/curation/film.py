"""Curate one film: read it, cut two hands apart, normalise, check, take its fingerprint.

The result is the same bytes wherever this is done: here, in another process, on another machine.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.curation.duplicates import Fingerprint, fingerprint_of
from rahelpers.data.sources.film import CORNERS, JOINT_COLUMNS, SourceItem
from rahelpers.data.sources.registry import SourceFilm
from rahelpers.films.normalisation import Geometry, make_thumbnail
from rahelpers.films.quality import Finding, check_film, measure_surroundings
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.two_hands import OneHand, cut_hands

THUMBNAIL = 160  # side of the picture of a film with a finding, pixels
ARRAYS = ("image", "lesions", "signs", "thumbnail")  # fields of CuratedHand that hold one


@dataclass(frozen=True, kw_only=True)
class CuratedHand:
    """One hand of one film, curated; or the reason why it cannot be used.

    Attributes
    ----------
    row : dict
        Manifest fields.
    reason : str
        Why the hand is excluded; '' where it is used.
    findings : list of Finding
    joints : DataFrame
        Columns of the joint table without image_id; boxes as fractions of the square.
    image : uint8 array (S, S) or None
    lesions, signs : bool array (S, S) or None
    thumbnail : uint8 array (T, T) or None
        The film as read, where there is a finding.
    fingerprint : Fingerprint or None
    """

    row: dict
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)
    joints: pd.DataFrame | None = None
    image: np.ndarray | None = None
    lesions: np.ndarray | None = None
    signs: np.ndarray | None = None
    thumbnail: np.ndarray | None = None
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True)
class FilmJob:
    """A film to curate at a given size. Calling the job gives the film's hands as bytes.

    It can be sent to another process or machine.
    """

    film: SourceFilm
    size: int
    with_fingerprint: bool = True

    def __call__(self) -> bytes:
        """Curate the film and pack its hands."""
        return pack_hands(curate_film(self.film, self.size, self.with_fingerprint))


def curate_film(film: SourceFilm, size: int, with_fingerprint: bool = True) -> list[CuratedHand]:
    """Curate the hands of a film.

    Parameters
    ----------
    film : SourceFilm
    size : int
        Side of the network's square, pixels.
    with_fingerprint : bool
        False where the source's patients are certain, so that no hand has to be recognised.

    Returns
    -------
    list of CuratedHand
        Two for a film that shows two hands, else one. It has no image where it cannot be used.
    """
    item = film.read()
    if item.radiograph is None:
        return [CuratedHand(row=item.row, reason=item.fault)]
    hands = cut_hands(item.radiograph, size)
    return [
        _curate_hand(_part_of(item, hand) if hand.place else item, hand, with_fingerprint)
        for hand in hands
    ]


def _part_of(item: SourceItem, hand: OneHand) -> SourceItem:
    """What belongs to one of two hands on a film: an image_id of its own, and its joints."""
    row = item.row | {"image_id": f"{item.row['image_id']}_{hand.place}"}
    return dataclasses.replace(item, row=row, joints=_inside(item.joints, hand.window, hand.film))


def _inside(
    joints: pd.DataFrame, window: tuple[int, int, int, int], film: Radiograph
) -> pd.DataFrame:
    """The joints whose middle is inside a window of the film."""
    height, width = film.image.shape
    x, y = (joints["x0"] + joints["x1"]) / 2 * width, (joints["y0"] + joints["y1"]) / 2 * height
    return joints[(y >= window[0]) & (y < window[1]) & (x >= window[2]) & (x < window[3])]


def _curate_hand(item: SourceItem, hand: OneHand, with_fingerprint: bool) -> CuratedHand:
    film, seen = hand.film, hand.seen
    findings = check_film(film, seen, hand.place)
    thumbnail = make_thumbnail(film.image, THUMBNAIL) if findings else None

    # what the film adds to the fields that the source knows
    height, width = film.image.shape
    origin = film.provenance
    marker, border = measure_surroundings(film, seen)
    row = item.row | {
        "laterality": film.laterality,
        "width": width,
        "height": height,
        "spacing_mm": film.spacing_mm,
        "part": hand.place,
        "file_format": origin.format,
        "bits_stored": origin.bits_stored,
        "stored_colour": origin.colour,
        "marker": round(marker, 4),
        "border": round(border, 4),
    }

    # the most serious finding comes first
    if findings and findings[0].action == "exclude":
        return CuratedHand(
            row=row, reason=findings[0].words, findings=findings, thumbnail=thumbnail
        )
    return CuratedHand(
        row=row,
        findings=findings,
        joints=_fit_joints(item.joints, seen.geometry) if len(item.joints) else None,
        image=seen.image,
        lesions=None if item.lesion is None else seen.fit_mask(item.lesion),
        signs=None if item.signs is None else seen.fit_mask(item.signs),
        thumbnail=thumbnail,
        fingerprint=fingerprint_of(film, seen) if with_fingerprint else None,
    )


def _fit_joints(joints: pd.DataFrame, geometry: Geometry) -> pd.DataFrame:
    fitted = joints.copy()
    fitted[CORNERS] = np.clip(geometry.boxes_to_square(fitted[CORNERS].to_numpy(dtype=float)), 0, 1)
    return fitted[JOINT_COLUMNS[1:]]


def pack_hands(hands: list[CuratedHand]) -> bytes:
    """Pack hands as bytes: a JSON text, then the arrays that it refers to by number.

    Nothing in it is code, so reading a packed hand runs none.
    """
    arrays: list[np.ndarray] = []

    def keep(array: np.ndarray | None) -> int | None:
        if array is None:
            return None
        arrays.append(np.packbits(array) if array.dtype == bool and array.ndim == 2 else array)
        return len(arrays) - 1

    def keep_fields(marks: Fingerprint | None) -> dict[str, int | None] | None:
        if marks is None:
            return None
        return {f.name: keep(getattr(marks, f.name)) for f in dataclasses.fields(marks)}

    described = [
        {
            "row": hand.row,
            "reason": hand.reason,
            "findings": [dataclasses.asdict(finding) for finding in hand.findings],
            "joints": None if hand.joints is None else hand.joints.to_dict("list"),
            "arrays": {name: keep(getattr(hand, name)) for name in ARRAYS},
            "fingerprint": keep_fields(hand.fingerprint),
        }
        for hand in hands
    ]
    buffer = io.BytesIO()
    text = json.dumps(described, default=_plain).encode()
    for array in (np.frombuffer(text, np.uint8), *arrays):
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """A NumPy number as one that JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def unpack_hands(data: bytes) -> list[CuratedHand]:
    """Unpack what `pack_hands` packed."""
    buffer = io.BytesIO(data)
    described = json.loads(np.load(buffer, allow_pickle=False).tobytes())
    arrays = []
    while buffer.tell() < len(data):
        arrays.append(np.load(buffer, allow_pickle=False))

    hands = []
    for one in described:
        kept: dict[str, Any] = {
            name: None if at is None else arrays[at] for name, at in one["arrays"].items()
        }
        for mask in ("lesions", "signs"):  # packed, eight pixels in a byte
            if kept[mask] is not None:
                shape = kept["image"].shape
                bits = np.unpackbits(kept[mask], count=shape[0] * shape[1])
                kept[mask] = bits.reshape(shape).astype(bool)
        marks = one["fingerprint"]
        hands.append(
            CuratedHand(
                row=one["row"],
                reason=one["reason"],
                findings=[Finding(**finding) for finding in one["findings"]],
                joints=None if one["joints"] is None else pd.DataFrame(one["joints"]),
                fingerprint=marks and Fingerprint(**{n: arrays[at] for n, at in marks.items()}),
                **kept,
            )
        )
    return hands
