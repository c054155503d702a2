"""A curated cohort: its manifest, the schema that checks it, and how it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.store import Run, read_table
from rahelpers.curation.duplicates import read_pairs
from rahelpers.curation.splits import SPLITS, find_leaks, splits_of
from rahelpers.data.sources.film import first_fault

TEXT_COLUMNS = (  # that may be empty
    *("laterality", "sex", "file", "condition", "centre", "part", "file_format"),
    *("stored_colour", "reason"),
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


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A curated cohort: what step 01 wrote.

    Attributes
    ----------
    manifest : DataFrame, n rows
        One row per film; columns of `MANIFEST_SCHEMA`.
    images : uint8 array (n, S, S)
        Network inputs in the order of the manifest, read from disk as needed.
    joints : DataFrame
        The joint table; boxes as fractions of the S x S square. Empty where the source knows no
        joints.
    lesions : bool array (n, S, S) or None
        Exact lesion masks: erosions, narrowed and fused joints. None where the source has none.
    signs : bool array (n, S, S) or None
        Every sign of the disease, including those without an edge (swelling, osteopenia). None
        where the source has none.
    excluded : DataFrame
        image_id and reason of every film that was left out.
    quality : DataFrame
        Every finding of quality control, on kept and on excluded films: image_id, check, action,
        value, limit, words, and the number of its picture in the gallery (-1: none).
    pairs : DataFrame
        Films of different patients that show, or may show, one hand: columns
        `duplicates.PAIR_COLUMNS`.
    gallery : uint8 array (k, T, T)
        Films with a finding, as read.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> cohort = load_cohort(run)
    >>> cohort.images.shape == (len(cohort.manifest), 48, 48)
    True
    >>> cohort.images[cohort.split("test")].shape
    (20, 48, 48)
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
        """Row numbers of one split: train, validation, test or external."""
        if name not in SPLITS:
            raise ValueError(f"split {name!r} is not known: expected {', '.join(SPLITS)}")
        return np.flatnonzero(self.manifest["split"].to_numpy() == name)

    def counts(self) -> pd.DataFrame:
        """Films and patients of each split, by class."""
        table = self.manifest.groupby(["split", "label"]).agg(
            films=("image_id", "size"), patients=("patient_id", "nunique")
        )
        return table.unstack("label").reindex(splits_of(self.manifest))

    def joints_of(self, row: int) -> pd.DataFrame:
        """The joint table of one film."""
        return self.joints[self.joints["image_id"] == self.manifest["image_id"].iloc[row]]


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """Check a manifest against its schema.

    Parameters
    ----------
    manifest : DataFrame

    Returns
    -------
    DataFrame
        The manifest, with the types that `MANIFEST_SCHEMA` declares.

    Raises
    ------
    ValueError
        If a column or value is not as the schema says, or a patient is in two splits.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> from rahelpers.curation import check_manifest
    >>> manifest = load_cohort(run).manifest
    >>> len(check_manifest(manifest)) == len(manifest)
    True
    >>> check_manifest(manifest.assign(label=2))
    Traceback (most recent call last):
        ...
    ValueError: manifest: film P00000_L, column label: 2 fails isin([0, 1])
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
    """Load the cohort that step 01 wrote.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Cohort

    Raises
    ------
    MissingArtefactError
        If step 01 has not been run.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> cohort = load_cohort(run)
    >>> cohort.manifest["patient_id"].nunique(), sorted(set(cohort.manifest["split"]))
    (40, ['test', 'train', 'validation'])
    """
    path = run.file("curate", "manifest.csv")
    manifest = check_manifest(read_table(path, ("image_id", "patient_id", *TEXT_COLUMNS)))

    def masks(name: str) -> np.ndarray | None:
        file = path.parent / f"{name}.npy"
        return np.load(file, mmap_mode="r") if file.exists() else None

    return Cohort(
        manifest=manifest,
        images=np.load(run.file("curate", "images.npy"), mmap_mode="r"),
        joints=read_table(run.file("curate", "joints.csv")),
        lesions=masks("lesions"),
        signs=masks("signs"),
        excluded=read_table(run.file("curate", "excluded.csv")),
        quality=read_table(run.file("curate", "quality.csv")),
        pairs=read_pairs(run.file("curate", "pairs.csv")),
        gallery=np.load(run.file("curate", "gallery.npy"), mmap_mode="r"),
    )
