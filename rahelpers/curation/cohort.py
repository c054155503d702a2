"""A curated cohort: its manifest, the schema that checks it, and how it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.store import Run, read_table
from rahelpers.curation.duplicates import read_pairs
from rahelpers.curation.splits import SPLITS, find_leaks
from rahelpers.data.sources.film import first_fault

# may be empty
TEXT_COLUMNS = (
    "laterality",
    "sex",
    "file",
    "condition",
    "centre",
    "part",
    "file_format",
    "stored_colour",
    "reason",
)
QUALITY_COLUMNS = ["image_id", "check", "action", "value", "limit", "words", "picture"]
MANIFEST_SCHEMA = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, unique=True),
        "patient_id": pa.Column(str),
        "file": pa.Column(str, nullable=True),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "laterality": pa.Column(str, pa.Check.isin(["L", "R", ""])),
        "age": pa.Column(float, pa.Check.in_range(0, 120), nullable=True),
        "sex": pa.Column(str, pa.Check.isin(["F", "M", ""])),
        "source": pa.Column(str),
        "width": pa.Column(int, pa.Check.ge(1)),
        "height": pa.Column(int, pa.Check.ge(1)),
        "spacing_mm": pa.Column(float, pa.Check.gt(0), nullable=True),
        "sha256": pa.Column(str, pa.Check.str_length(64, 64)),
        "condition": pa.Column(str),
        "centre": pa.Column(str),
        "part": pa.Column(str, pa.Check.isin(["", "left", "right", "upper", "lower"])),
        "file_format": pa.Column(str),
        "bits_stored": pa.Column(int, pa.Check.in_range(0, 64)),
        "stored_colour": pa.Column(str),
        "marker": pa.Column(float, pa.Check.in_range(0, 1)),
        "border": pa.Column(float, pa.Check.in_range(0, 1)),
        "action": pa.Column(str, pa.Check.isin(["keep", "fix"])),
        "reason": pa.Column(str),
    },
    coerce=True,
    strict=True,
)


@dataclass(frozen=True)
class Cohort:
    """A curated cohort.

    Attributes
    ----------
    manifest : DataFrame, n rows
        One film a row; columns of `MANIFEST_SCHEMA`.
    images : uint8 array (n, S, S)
        Network inputs in manifest order, read from disk as needed.
    joints : DataFrame
        The joint table; boxes as fractions of the S x S square. Empty where the source knows no
        joints.
    lesions : bool array (n, S, S) or None
        Exact lesion masks: erosions, narrowed and fused joints; None where the source knows none.
    signs : bool array (n, S, S) or None
        Every sign of the disease, also those without an edge (swelling, osteopenia); None where the
        source knows none.
    excluded : DataFrame
        image_id and reason of every film that was left out.
    quality : DataFrame
        Every finding of quality control, on kept and excluded films: image_id, check, action,
        value, limit, words, and the number of its picture in the gallery (-1: none).
    pairs : DataFrame
        Films of different patients that show, or may show, one hand: columns of
        `duplicates.PAIR_COLUMNS`.
    gallery : uint8 array (k, T, T)
        Films with a finding, as read.
    """

    manifest: pd.DataFrame
    images: np.ndarray
    joints: pd.DataFrame
    lesions: np.ndarray | None
    signs: np.ndarray | None
    excluded: pd.DataFrame
    quality: pd.DataFrame
    pairs: pd.DataFrame
    gallery: np.ndarray

    def split(self, name: str) -> np.ndarray:
        """Row indices of one split: train, validation or test."""
        if name not in SPLITS:
            raise ValueError(f"split {name!r} is not known: expected {', '.join(SPLITS)}")
        return np.flatnonzero(self.manifest["split"].to_numpy() == name)

    def counts(self) -> pd.DataFrame:
        """Films and patients of each split, by class."""
        table = self.manifest.groupby(["split", "label"]).agg(
            films=("image_id", "size"), patients=("patient_id", "nunique")
        )
        return table.unstack("label").reindex(
            [s for s in SPLITS if s in set(self.manifest["split"])]
        )

    def joints_of(self, row: int) -> pd.DataFrame:
        """The joint table of one film."""
        return self.joints[self.joints["image_id"] == self.manifest["image_id"].iloc[row]]


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest with its declared types.

    Raises
    ------
    ValueError
        If a column or value is not as the schema says, or a patient stands in two splits.
    """
    manifest = manifest.assign(**{column: manifest[column].fillna("") for column in TEXT_COLUMNS})
    try:
        manifest = MANIFEST_SCHEMA.validate(manifest, lazy=True)
    except pa.errors.SchemaErrors as error:
        films = [f"film {image_id}" for image_id in manifest["image_id"]]
        raise ValueError(f"manifest: {first_fault(error, films)}") from None
    leaks = find_leaks(manifest)
    if leaks:
        raise ValueError(f"manifest: {leaks[0]} ({len(leaks)} leaks in all)")
    return manifest


def load_cohort(run: Run) -> Cohort:
    """The cohort that step 01 wrote.

    Raises
    ------
    MissingArtefactError
        If step 01 has not been run.
    """
    text = dict.fromkeys(("image_id", "patient_id", *TEXT_COLUMNS), str)
    path = run.file("curate", "manifest.csv")
    manifest = check_manifest(pd.read_csv(path, dtype=text, keep_default_na=True))

    def masks(name: str) -> np.ndarray | None:
        file = path.parent / f"{name}.npy"
        return np.load(file, mmap_mode="r") if file.exists() else None

    return Cohort(
        manifest,
        np.load(run.file("curate", "images.npy"), mmap_mode="r"),
        read_table(run.file("curate", "joints.csv")),
        masks("lesions"),
        masks("signs"),
        read_table(run.file("curate", "excluded.csv")),
        read_table(run.file("curate", "quality.csv")),
        read_pairs(run.file("curate", "pairs.csv")),
        np.load(run.file("curate", "gallery.npy"), mmap_mode="r"),
    )
