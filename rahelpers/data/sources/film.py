"""What a source yields: references to films, and films read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.store import sha256_of
from rahelpers.films.radiograph import Radiograph, RadiographError
from rahelpers.films.reading import read_radiograph

JOINT_SCHEMA = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str),
        "site": pa.Column(str),
        "erosion": pa.Column(float, pa.Check.in_range(0, 5), nullable=True),
        "jsn": pa.Column(float, pa.Check.in_range(0, 4), nullable=True),
        **{side: pa.Column(float, pa.Check.in_range(0, 1)) for side in ("x0", "y0", "x1", "y1")},
        "jsw_mm": pa.Column(float, pa.Check.ge(0), nullable=True),
    },
    coerce=True,
    strict=True,
)
JOINT_COLUMNS = list(JOINT_SCHEMA.columns)


def first_fault(error: pa.errors.SchemaErrors, names: Sequence[str]) -> str:
    """The first thing that a schema finds wrong with a table: the name of the row, the column and
    the value.
    """
    first = error.failure_cases.iloc[0]
    row = "" if pd.isna(first["index"]) else f"{names[int(first['index'])]}, "
    return f"{row}column {first['column']}: {first['failure_case']} fails {first['check']}"


@cache
def no_joints() -> pd.DataFrame:
    """A joint table without rows, as a source gives it for one film: without image_id. One for all;
    not to be changed.
    """
    return pd.DataFrame(columns=JOINT_COLUMNS[1:])


@dataclass(frozen=True)
class SourceItem:
    """One film of a source, read.

    Attributes
    ----------
    row : dict
        Manifest fields that the source knows: image_id, patient_id, file, label, age, sex, centre,
        condition, sha256.
    radiograph : Radiograph or None
        None where the film cannot be used; `fault` says why.
    joints : DataFrame
        Columns of the joint table without image_id; boxes as fractions of width and height of the
        film. May be empty.
    lesion : bool array (H, W) or None
        The exact lesion mask where the source knows it: erosions, narrowed and fused joints.
    signs : bool array (H, W) or None
        Every sign of the disease where the source knows it, also those without an edge (swelling,
        osteopenia).
    """

    row: dict
    radiograph: Radiograph | None
    joints: pd.DataFrame = field(default_factory=no_joints)
    lesion: np.ndarray | None = None
    signs: np.ndarray | None = None
    fault: str = ""


@dataclass(frozen=True)
class FilmFile:
    """A film in a file, not yet read. It can be sent to another process.

    Attributes
    ----------
    row : dict
        image_id, patient_id, file (under the source's folder, for the manifest), label (0, 1 or
        None where not known), age, sex, centre, condition.
    path : Path or None
        None where the file is missing.
    laterality : str
        'L' or 'R' where a table says so, else '': then the file's own counts.
    joints : DataFrame
        As in SourceItem.
    lesion : tuple of dict or None
        COCO segmentations (run lengths or polygons, with `size`) that together make the lesion
        mask; None where the source knows none.
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
        """The file's SHA-256, and what tables say of side, joints and lesion; empty where there is
        no file.
        """
        if self.fault or self.path is None or not self.path.is_file():
            return ""
        joints = self.joints.to_csv(index=False) if len(self.joints) else ""
        return f"{sha256_of(self.path)} {self.laterality} {joints} {self.lesion}"

    def read(self) -> SourceItem:
        """The film; a file that cannot be read gives an item with the fault, never an error."""
        row = self.row | {"sha256": ""}
        if self.fault or self.path is None:
            return SourceItem(row, None, fault=self.fault or "the file is missing")
        try:
            row["sha256"] = sha256_of(self.path)
            film = read_radiograph(self.path)
        except (RadiographError, OSError) as error:
            return SourceItem(row, None, fault=str(error))
        film = replace(film, laterality=self.laterality or film.laterality)
        try:
            lesion = None if self.lesion is None else decode_masks(self.lesion, film.image.shape)
        except ValueError as error:
            return SourceItem(row, None, fault=str(error))
        return SourceItem(row, film, self.joints, lesion)


def decode_masks(segmentations: Sequence[dict], shape: tuple[int, int]) -> np.ndarray:
    """COCO segmentations of one film as one mask, bool (H, W).

    Parameters
    ----------
    segmentations : sequence of dict
        `counts` and `size` (run lengths, compressed or not), or `polygons`: lists of x, y, x, y …
        in pixels.
    shape : (H, W)

    Raises
    ------
    ValueError
        If a mask has another size than the film.
    """
    from pycocotools import mask as coco

    found = np.zeros(shape, bool)
    for one in segmentations:
        if "polygons" in one:
            runs = coco.frPyObjects(one["polygons"], *shape)
        else:
            if tuple(one["size"]) != tuple(shape):
                raise ValueError(
                    f"a mask is {one['size'][1]} x {one['size'][0]} pixels, its film {shape[1]} x"
                    f" {shape[0]}"
                )
            runs = [
                one if isinstance(one["counts"], (bytes, str)) else coco.frPyObjects(one, *shape)
            ]
        found |= coco.decode(coco.merge(runs)).astype(bool)
    return found
