"""Curation: any source becomes a manifest, network inputs, a joint table and patient-grouped splits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.artifacts import Run, Step
from rahelpers.normalisation import Geometry, to_network_input
from rahelpers.progress import show_progress
from rahelpers.quality import check_film
from rahelpers.sources import JOINT_COLUMNS, first_fault, list_films, source_fingerprint
from rahelpers.splits import SPLITS, find_leaks, split_by_patient

CONFIG_KEYS = (
    "source", "seed", "n_patients", "spectrum", "image_size", "task", "test_fraction", "validation_fraction", "images", "table", "id_column",
    "file_column", "patient_column", "label_column", "positive", "laterality_column", "boxes", "max_films",
)  # fmt: skip

QUALITY_COLUMNS = ["image_id", "check", "action", "value", "limit", "words"]
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
        The joint table; boxes as fractions of the S x S square. Empty where the source knows no joints.
    lesions : bool array (n, S, S) or None
        Exact lesion masks: erosions, narrowed and fused joints; None where the source knows none.
    signs : bool array (n, S, S) or None
        Every sign of the disease, also those without an edge (swelling, osteopenia); None where the source knows none.
    excluded : DataFrame
        image_id and reason of every film that was left out.
    quality : DataFrame
        Every finding of quality control, on kept and excluded films: image_id, check, action, value, limit, words.
    """

    manifest: pd.DataFrame
    images: np.ndarray
    joints: pd.DataFrame
    lesions: np.ndarray | None
    signs: np.ndarray | None
    excluded: pd.DataFrame
    quality: pd.DataFrame

    def split(self, name: str) -> np.ndarray:
        """Row indices of one split: train, validation or test."""
        if name not in SPLITS:
            raise ValueError(f"split {name!r} is not known: expected {', '.join(SPLITS)}")
        return np.flatnonzero(self.manifest["split"].to_numpy() == name)

    def counts(self) -> pd.DataFrame:
        """Films and patients of each split, by class."""
        table = self.manifest.groupby(["split", "label"]).agg(films=("image_id", "size"), patients=("patient_id", "nunique"))
        return table.unstack("label").reindex([s for s in SPLITS if s in set(self.manifest["split"])])

    def joints_of(self, row: int) -> pd.DataFrame:
        """The joint table of one film."""
        return self.joints[self.joints["image_id"] == self.manifest["image_id"].iloc[row]]


def curate(run: Run) -> Cohort:
    """Step 01: read the source, fit every film into the network's square, split by patient, write everything down.

    Raises
    ------
    ValueError
        If too few patients of a class remain, or anything stands in two splits.
    """
    config = run.config
    run.save_config()
    step = run.step("curate", config.subset(*CONFIG_KEYS), source_fingerprint(config))
    if not step.is_done():
        _curate(run, step)
    return load_cohort(run)


def _curate(run: Run, step: Step) -> None:
    config = run.config
    rows: list[dict] = []
    images: list[np.ndarray] = []
    masks: dict[str, list[np.ndarray | None]] = {"lesions": [], "signs": []}
    joints: list[pd.DataFrame] = []
    excluded: list[dict] = []
    quality: list[dict] = []
    films = list_films(config)
    for film_file in show_progress(films, "reading films", len(films)):
        item = film_file.read()
        if item.radiograph is None:
            excluded.append({"image_id": item.row["image_id"], "reason": item.fault})
            continue
        film = item.radiograph
        height, width = film.image.shape
        seen = to_network_input(film, config.image_size)
        findings = check_film(film, seen)
        quality += [{"image_id": item.row["image_id"]} | dataclasses.asdict(finding) for finding in findings]
        if findings and findings[0].action == "exclude":
            excluded.append({"image_id": item.row["image_id"], "reason": findings[0].words})
            continue
        images.append(seen.image)
        for name, mask in (("lesions", item.lesion), ("signs", item.signs)):
            masks[name].append(None if mask is None else seen.fit_mask(mask))
        if len(item.joints):
            joints.append(_fit_joints(item.joints, item.row["image_id"], seen.geometry))
        rows.append(item.row | {"laterality": film.laterality, "width": width, "height": height,
                                "spacing_mm": film.spacing_mm if film.spacing_mm else np.nan, "source": config.source,
                                "action": findings[0].action if findings else "keep", "reason": "; ".join(f.words for f in findings)})  # fmt: skip
    if not rows:
        raise ValueError(f"no film could be used; the first reason: {excluded[0]['reason'] if excluded else 'the source is empty'}")
    manifest = pd.DataFrame(rows)
    keep = _without_duplicates(manifest, excluded)
    manifest = manifest[keep].reset_index(drop=True)
    kept = np.flatnonzero(keep)
    manifest["split"] = split_by_patient(manifest["patient_id"], manifest["label"], config.test_fraction, config.validation_fraction, config.seed)
    manifest = check_manifest(manifest[list(MANIFEST_SCHEMA.columns)])
    step.write("manifest.csv", lambda p: manifest.to_csv(p, index=False))
    step.write("images.npy", lambda p: np.save(p, np.stack([images[i] for i in kept])))
    for name, found in masks.items():
        if all(found[i] is not None for i in kept):
            step.write(f"{name}.npy", lambda p, f=found: np.save(p, np.stack([f[i] for i in kept])))
    table = pd.concat(joints, ignore_index=True) if joints else pd.DataFrame(columns=JOINT_COLUMNS)
    step.write("joints.csv", lambda p: table.to_csv(p, index=False))
    step.write("quality.csv", lambda p: pd.DataFrame(quality, columns=QUALITY_COLUMNS).to_csv(p, index=False))
    step.write("excluded.csv", lambda p: pd.DataFrame(excluded, columns=["image_id", "reason"]).to_csv(p, index=False))
    step.finish()


def _fit_joints(joints: pd.DataFrame, image_id: str, geometry: Geometry) -> pd.DataFrame:
    fitted = joints.copy()
    corners = ["x0", "y0", "x1", "y1"]
    fitted[corners] = np.clip(geometry.boxes_to_square(fitted[corners].to_numpy(dtype=float)), 0, 1)
    fitted.insert(0, "image_id", image_id)
    return fitted[JOINT_COLUMNS]


def _without_duplicates(manifest: pd.DataFrame, excluded: list[dict]) -> np.ndarray:
    """Keep the first of files with the same content; the others are listed as excluded, with the reason."""
    duplicate = manifest["sha256"].duplicated().to_numpy()
    first = manifest.drop_duplicates("sha256").set_index("sha256")["image_id"]
    for row in manifest[duplicate].itertuples():
        excluded.append({"image_id": row.image_id, "reason": f"same content as {first[row.sha256]}"})
    return ~duplicate


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest with its declared types.

    Raises
    ------
    ValueError
        If a column or value is not as the schema says, or a patient stands in two splits.
    """
    manifest = manifest.assign(
        sex=manifest["sex"].fillna("").astype(str).str.upper().str[:1].where(lambda s: s.isin(["F", "M"]), ""),
        laterality=manifest["laterality"].fillna(""),
        file=manifest["file"].fillna(""),
        condition=manifest["condition"].fillna(""),
        reason=manifest["reason"].fillna(""),
    )
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
    MissingArtefact
        If step 01 has not been run.
    """
    text = {"image_id": str, "patient_id": str, "sex": str, "laterality": str, "file": str, "condition": str, "reason": str}
    path = run.file("curate", "manifest.csv")
    manifest = check_manifest(pd.read_csv(path, dtype=text, keep_default_na=True))

    def masks(name: str) -> np.ndarray | None:
        file = path.parent / f"{name}.npy"
        return np.load(file, mmap_mode="r") if file.exists() else None

    return Cohort(
        manifest,
        np.load(run.file("curate", "images.npy"), mmap_mode="r"),
        pd.read_csv(run.file("curate", "joints.csv"), dtype={"image_id": str}),
        masks("lesions"),
        masks("signs"),
        pd.read_csv(run.file("curate", "excluded.csv"), dtype={"image_id": str}),
        pd.read_csv(run.file("curate", "quality.csv"), dtype={"image_id": str}),
    )
