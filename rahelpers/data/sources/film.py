"""What a source yields: references to films, and films that have been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.store import sha256_of
from rahelpers.data.sources.coco import compress
from rahelpers.films.radiograph import Radiograph, RadiographError
from rahelpers.films.reading import read_radiograph

CORNERS = ["x0", "y0", "x1", "y1"]  # of a joint's box, as fractions of width and height
JOINT_SCHEMA = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str),
        "site": pa.Column(str),
        "erosion": pa.Column(float, pa.Check.in_range(0, 5), nullable=True),
        "jsn": pa.Column(float, pa.Check.in_range(0, 4), nullable=True),
        **{corner: pa.Column(float, pa.Check.in_range(0, 1)) for corner in CORNERS},
        "jsw_mm": pa.Column(float, pa.Check.ge(0), nullable=True),
    },
    coerce=True,
    strict=True,
)
JOINT_COLUMNS = list(JOINT_SCHEMA.columns)


def first_fault(error: pa.errors.SchemaErrors, names: Sequence[str]) -> str:
    """The first fault that a schema finds in a table: row by its name, column, and value."""
    first = error.failure_cases.iloc[0]
    row = "" if pd.isna(first["index"]) else f"{names[int(first['index'])]}, "
    return f"{row}column {first['column']}: {first['failure_case']} fails {first['check']}"


@cache
def no_joints() -> pd.DataFrame:
    """An empty joint table, as a source gives it for one film: without image_id.

    All films share this one table, so it must not be changed.
    """
    return pd.DataFrame(columns=JOINT_COLUMNS[1:])


@dataclass(frozen=True, kw_only=True)
class SourceItem:
    """One film of a source, read.

    Attributes
    ----------
    row : dict
        Manifest fields that the source knows: image_id, patient_id, file, label, age, sex, centre,
        condition, sha256.
    radiograph : Radiograph or None
        None where the film cannot be used; `fault` gives the reason.
    joints : DataFrame
        Columns of the joint table without image_id; boxes as fractions of the film's width and
        height. May be empty.
    lesion : bool array (H, W) or None
        The exact lesion mask where the source knows it: erosions, narrowed and fused joints.
    signs : bool array (H, W) or None
        Every sign of the disease where the source knows it, including signs without an edge
        (swelling, osteopenia).
    fault : str
        Why the film cannot be used; '' where it can.
    """

    row: dict
    radiograph: Radiograph | None
    joints: pd.DataFrame = field(default_factory=no_joints)
    lesion: np.ndarray | None = None
    signs: np.ndarray | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class FilmFile:
    """A film in a file, not yet read. It can be sent to another process.

    Attributes
    ----------
    row : dict
        image_id, patient_id, file (under the source's folder, for the manifest), label (0, 1, or
        None where not known), age, sex, centre, condition.
    path : Path or None
        None where the file is missing.
    laterality : str
        'L' or 'R' where a table says so; '' leaves it to the file's own header.
    joints : DataFrame
        As in SourceItem.
    lesion : tuple of dict or None
        COCO run lengths (`counts`, `size`) that together make the lesion mask; None where the
        source knows none.
    fault : str
        Why the film cannot be used, where that is known before it is read.
    """

    row: dict
    path: Path | None = None
    laterality: str = ""
    joints: pd.DataFrame = field(default_factory=no_joints)
    lesion: tuple[dict, ...] | None = None
    fault: str = ""

    def content_key(self) -> str:
        """The file's SHA-256, and what the tables say about side, joints and lesion.

        Empty where there is no file.
        """
        if self.fault or self.path is None or not self.path.is_file():
            return ""
        joints = self.joints.to_csv(index=False) if len(self.joints) else ""
        return f"{sha256_of(self.path)} {self.laterality} {joints} {self.lesion}"

    def read(self) -> SourceItem:
        """Read the film. A file that cannot be read gives an item with a fault, never an error."""
        row = self.row | {"sha256": ""}
        if self.fault or self.path is None:
            return SourceItem(row=row, radiograph=None, fault=self.fault or "the file is missing")
        try:
            row["sha256"] = sha256_of(self.path)
            film = read_radiograph(self.path)
        except (RadiographError, OSError) as error:
            return SourceItem(row=row, radiograph=None, fault=str(error))
        film = replace(film, laterality=self.laterality or film.laterality)
        try:
            lesion = None if self.lesion is None else decode_masks(self.lesion, film.image.shape)
        except ValueError as error:
            return SourceItem(row=row, radiograph=None, fault=str(error))
        return SourceItem(row=row, radiograph=film, joints=self.joints, lesion=lesion)


def decode_masks(segmentations: Sequence[dict], shape: tuple[int, int]) -> np.ndarray:
    """Draw the COCO segmentations of one film as one mask, bool (H, W).

    Parameters
    ----------
    segmentations : sequence of dict
        Run lengths with `counts`, compressed or not, and `size`, as `to_run_lengths` gives them.
    shape : (H, W)

    Raises
    ------
    ValueError
        If a mask and the film differ in size.
    """
    from pycocotools import mask as coco

    found = np.zeros(shape, bool)
    for one in segmentations:
        if tuple(one["size"]) != tuple(shape):
            raise ValueError(
                f"a mask is {one['size'][1]} x {one['size'][0]} pixels, its film {shape[1]} x"
                f" {shape[0]}"
            )
        found |= coco.decode(compress(one)).astype(bool)
    return found
