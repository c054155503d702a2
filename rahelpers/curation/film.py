"""Curate one film: read it, cut two hands apart, normalise, check, take its fingerprint. The same
bytes come out wherever it is done.
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
from rahelpers.data.sources.film import JOINT_COLUMNS, SourceItem
from rahelpers.data.sources.registry import SourceFilm
from rahelpers.films.normalisation import Geometry, make_thumbnail
from rahelpers.films.quality import Finding, check_film, measure_surroundings
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.two_hands import OneHand, cut_hands

THUMBNAIL = 160  # pixels: a film that somebody should look at
CORNERS = ["x0", "y0", "x1", "y1"]


@dataclass(frozen=True)
class CuratedHand:
    """One hand of one film, curated; or the reason why there is none.

    Attributes
    ----------
    row : dict
        Manifest fields.
    reason : str
        Why the film is excluded; '' where it is used.
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
    """A film and the size that it is curated for; calling it gives the film's hands as bytes. It
    can be sent to another machine.
    """

    film: SourceFilm
    size: int
    with_fingerprint: bool = True

    def __call__(self) -> bytes:
        """The hands of the film, packed."""
        return pack_hands(curate_film(self.film, self.size, self.with_fingerprint))


def curate_film(film: SourceFilm, size: int, with_fingerprint: bool = True) -> list[CuratedHand]:
    """The hands of a film: one; two where it shows two; one without a picture where it cannot be
    used.

    Parameters
    ----------
    film : SourceFilm
    size : int
        Side of the network's square, pixels.
    with_fingerprint : bool
        False where the source's patients are certain, and nothing is looked for under another name.
    """
    item = film.read()
    if item.radiograph is None:
        return [CuratedHand(item.row, item.fault)]
    hands = cut_hands(item.radiograph, size)
    return [
        _curate_hand(_part_of(item, hand) if hand.place else item, hand, with_fingerprint)
        for hand in hands
    ]


def _part_of(item: SourceItem, hand: OneHand) -> SourceItem:
    """What belongs to one hand of two: a name of its own, and its joints."""
    row = item.row | {"image_id": f"{item.row['image_id']}_{hand.place}"}
    return dataclasses.replace(item, row=row, joints=_inside(item.joints, hand.window, hand.film))


def _inside(
    joints: pd.DataFrame, window: tuple[int, int, int, int], film: Radiograph
) -> pd.DataFrame:
    """The joints whose middle lies in a window of the film."""
    height, width = film.image.shape
    x, y = (joints["x0"] + joints["x1"]) / 2 * width, (joints["y0"] + joints["y1"]) / 2 * height
    return joints[(y >= window[0]) & (y < window[1]) & (x >= window[2]) & (x < window[3])]


def _curate_hand(item: SourceItem, hand: OneHand, with_fingerprint: bool) -> CuratedHand:
    film, seen = hand.film, hand.seen
    findings = check_film(film, seen, hand.place)
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
    thumbnail = make_thumbnail(film.image, THUMBNAIL) if findings else None
    if findings and findings[0].action == "exclude":
        return CuratedHand(row, findings[0].words, findings, thumbnail=thumbnail)
    return CuratedHand(
        row,
        "",
        findings,
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


ARRAYS = ("image", "lesions", "signs", "thumbnail")


def pack_hands(hands: list[CuratedHand]) -> bytes:
    """Hands as bytes: a JSON text, then the arrays that it names. Nothing in it is code."""
    arrays: list[np.ndarray] = []

    def keep(array: np.ndarray | None) -> int | None:
        if array is None:
            return None
        arrays.append(np.packbits(array) if array.dtype == bool and array.ndim == 2 else array)
        return len(arrays) - 1

    described: list[dict[str, Any]] = []
    for hand in hands:
        marks = hand.fingerprint
        described.append(
            {
                "row": hand.row,
                "reason": hand.reason,
                "findings": [dataclasses.asdict(f) for f in hand.findings],
                "joints": None if hand.joints is None else hand.joints.to_dict("list"),
                "arrays": {name: keep(getattr(hand, name)) for name in ARRAYS},
                "fingerprint": (
                    None
                    if marks is None
                    else {f.name: keep(getattr(marks, f.name)) for f in dataclasses.fields(marks)}
                ),
            }
        )
    buffer = io.BytesIO()
    text = json.dumps(described, default=_plain).encode()
    for array in (np.frombuffer(text, np.uint8), *arrays):
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """NumPy numbers as JSON's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def unpack_hands(data: bytes) -> list[CuratedHand]:
    """What `pack_hands` packed."""
    buffer = io.BytesIO(data)
    described = json.loads(np.load(buffer, allow_pickle=False).tobytes())
    arrays = []
    while buffer.tell() < len(data):
        arrays.append(np.load(buffer, allow_pickle=False))
    hands = []
    for one in described:
        image, thumbnail = (
            None if (at := one["arrays"][name]) is None else arrays[at]
            for name in ("image", "thumbnail")
        )
        masks = {
            name: (
                None
                if (at := one["arrays"][name]) is None
                else np.unpackbits(arrays[at], count=image.size).reshape(image.shape).astype(bool)
            )
            for name in ("lesions", "signs")
        }
        marks = one["fingerprint"]
        hands.append(
            CuratedHand(
                one["row"],
                one["reason"],
                [Finding(**f) for f in one["findings"]],
                None if one["joints"] is None else pd.DataFrame(one["joints"]),
                image,
                **masks,
                thumbnail=thumbnail,
                fingerprint=(
                    None
                    if marks is None
                    else Fingerprint(**{name: arrays[at] for name, at in marks.items()})
                ),
            )
        )
    return hands
