"""RSNA Pediatric Bone Age 2017: left hands of children with bone age and sex, nothing about RA.

Halabi et al., Radiology 2019;290:498.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, dataset_folder
from rahelpers.data.sources.film import FilmFile
from rahelpers.data.sources.public import Dataset, make_films, plain, require_folder
from rahelpers.data.sources.tables import read_checked_csv
from rahelpers.data.sources.walk import find_files, listing_hash

NAME = "rsna-bone-age"
TABLES = {
    "train.csv": "train",
    "boneage-training-dataset.csv": "train",
    "Validation Dataset.csv": "val",
}
HEADERS = {
    "id": ("id", "Image ID", "Case ID"),
    "bone_age_months": ("boneage", "Bone Age (months)"),
    "male": ("male", "Sex"),
}
MALE = {"true": "M", "false": "F", "m": "M", "f": "F", "1": "M", "0": "F"}


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film per row of the tables."""
    folder = dataset_folder(config)
    return make_films(read_dataset(folder), folder, config)


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hash of names, sizes and times of films and tables."""
    folder = dataset_folder(config)
    require_folder(folder, NAME, ())
    return {"images": listing_hash(find_files(folder, (".png", ".csv"))[0], folder.resolve())}


def read_dataset(folder: Path) -> Dataset:
    """Read the tables of the training and validation sets, and join the films to them by id.

    Label columns: `bone_age_months`, `sex`. Every film counts as a patient of its own, because no
    patient column is published.

    Raises
    ------
    ValueError
        If there is no table, a header is not known, or an id appears twice.
    """
    require_folder(folder, NAME, ())
    root = folder.resolve()

    # the tables, joined
    tables = [p for p in find_files(root, (".csv",))[0] if p.name in TABLES]
    if not tables:
        found = (
            ", ".join(sorted(p.name for p in root.iterdir() if not p.name.startswith("."))[:8])
            or "nothing"
        )
        raise ValueError(
            f"{NAME}: {root} holds none of the tables {', '.join(TABLES)}; found {found}; see"
            f" `rahelpers data info {NAME}`"
        )
    table = pd.concat([_read_ages_and_sex(p) for p in tables], ignore_index=True)
    both = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(both):
        raise ValueError(
            f"{NAME}: film {both.iloc[0]} appears twice in {' and '.join(p.name for p in tables)};"
            " expected every film once"
        )

    # the film of each row
    faults: list[str] = []
    paths, unusable = find_files(root, (".png",))
    films: dict[str, Path] = {}
    for path in paths:
        if path.stem in films:
            faults.append(
                f"{path.relative_to(root)}: there is another film of that name; the first is used"
            )
        films.setdefault(path.stem, path)
    table["path"] = [films.get(name) for name in table["image_id"]]
    missing = table.loc[table["path"].isna(), "image_id"]
    faults += [f"{path}: {why}" for path, why in unusable.items()] + [
        f"{name}: in the table, but there is no film {name}.png" for name in missing
    ]

    # films that no table lists
    notes = []
    known = set(table["image_id"])
    unknown = [p for name, p in films.items() if name not in known]
    if unknown:
        notes.append(
            f"{len(unknown)} films are in no table, such as {unknown[0].relative_to(root)} (the"
            " test set was published without ages)"
        )
    notes += [
        f"{split}: {n} films in the table"
        for split, n in table["official_split"].value_counts().items()
    ]
    return Dataset(table, faults=faults, notes=notes)


def _read_ages_and_sex(path: Path) -> pd.DataFrame:
    """One of the tables, with our column names."""
    raw = read_checked_csv("table", path)

    # the columns, which have other names in each table
    known = {plain(c): c for c in raw.columns}
    columns = {}
    for ours, headers in HEADERS.items():
        columns[ours] = next((known[plain(h)] for h in headers if plain(h) in known), None)
        if columns[ours] is None:
            raise ValueError(
                f"{path}: expected a column {' or '.join(map(repr, headers))}; found"
                f" {', '.join(raw.columns)}"
            )

    # their cells
    ids = raw[columns["id"]].astype(str).str.strip().str.removesuffix(".png")
    ages = pd.to_numeric(raw[columns["bone_age_months"]], errors="coerce")
    words = raw[columns["male"]].astype(str).str.strip().str.lower()
    if not set(words) <= set(MALE) | {"nan", ""}:
        raise ValueError(
            f"{path}: column {columns['male']!r} holds {sorted(set(words) - set(MALE))[0]!r};"
            " expected True or False"
        )
    return pd.DataFrame(
        {
            "image_id": ids,
            "patient_id": ids,
            "path": None,
            "laterality": "L",  # the challenge has left hands only
            "centre": "",
            "age": np.nan,  # bone age is not age
            "sex": words.map(MALE).fillna(""),
            "official_split": TABLES[path.name],
            "why": "",
            "bone_age_months": ages,
        }
    )
