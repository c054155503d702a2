"""What the public datasets have in common: their metadata table, labels, official splits, and the
films made of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, near_match
from rahelpers.data.sources.film import JOINT_COLUMNS, JOINT_SCHEMA, FilmFile, no_joints
from rahelpers.data.sources.folder import make_labels
from rahelpers.data.sources.walk import text_of
from rahelpers.data.sources.words import read_ages, read_sex, show_cell

OFFICIAL_SPLITS = ("train", "val", "validation", "test")
TABLE_COLUMNS = (
    "image_id",
    "patient_id",
    "path",
    "laterality",
    "centre",
    "age",
    "sex",
    "official_split",
    "why",
)
TRUTH = {
    "1": 1.0,
    "1.0": 1.0,
    "true": 1.0,
    "yes": 1.0,
    "ra": 1.0,
    "0": 0.0,
    "0.0": 0.0,
    "false": 0.0,
    "no": 0.0,
    "non-ra": 0.0,
}


@dataclass(frozen=True)
class Dataset:
    """A public dataset, its tables read and its films named, none of them opened.

    Attributes
    ----------
    table : DataFrame
        `TABLE_COLUMNS`, then the columns that a label can be made from. `path` is None where the
        film is missing; `why` says why a film cannot be used, '' where it can.
    joints : dict
        image_id -> joint table without image_id.
    lesions : dict
        image_id -> COCO segmentations of its erosions; no entry where nothing is known.
    faults : list of str
        What is wrong with the files: folders or films that are missing, films that no table knows.
    notes : list of str
        What is as the authors published it, and worth knowing.
    """

    table: pd.DataFrame
    joints: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    lesions: Mapping[str, tuple[dict, ...]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def require_folder(folder: Path, name: str, layout: tuple[str, ...]) -> None:
    """Refuse a folder that is not there, or that lacks what the adapter cannot do without.

    Raises
    ------
    ValueError
        Says what was expected, what was found, and how to get the files.
    """
    help_text = (
        f"get the files with `rahelpers data fetch {name}`, or see `rahelpers data info {name}` for"
        " how to place them by hand"
    )
    if not folder.is_dir():
        raise ValueError(f"{name}: there is no folder {folder}; {help_text}")
    missing = [part for part in layout if not (folder / part).exists()]
    if missing:
        found = (
            ", ".join(sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))[:8])
            or "nothing"
        )
        raise ValueError(
            f"{name}: {folder} lacks {', '.join(missing)}; expected {', '.join(layout)}, found"
            f" {found}; {help_text}"
        )


def plain(text: object) -> str:
    """Letters and digits alone, lower case: 'Normalized PatientID' and 'NormalizedPatientID' are
    one header.
    """
    return re.sub(r"[^a-z0-9]", "", str(text).lower())


def bare_stem(name: object) -> str:
    """A film's name without `.bmp` and without the side: what the metadata table joins on."""
    return re.sub(r"_[lr]$", "", re.sub(r"\.bmp$", "", str(name).strip().lower()))


def side_of(stem: str) -> str:
    """'L' or 'R' from the end of a film's stem, '' where it says neither.

    From the stem, not from `filename[-4]` as in the authors' loaders: that character is the dot, so
    their left hands were never mirrored.
    """
    found = re.search(r"_([LR])$", stem, re.IGNORECASE)
    return found.group(1).upper() if found else ""


def read_metadata(
    path: Path, required: Mapping[str, tuple[str, ...]], optional: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    """The metadata workbook with our column names, one row a study, indexed by the bare stem.
    `unread`: what of age and sex was not understood.

    Parameters
    ----------
    path : Path
    required, optional : dict
        Our name -> headers that mean it. Other columns are kept under their own names.

    Raises
    ------
    ValueError
        If a required header is missing (names what was expected and what was found), or one stem
        has two patients.
    """
    try:
        table = pd.read_excel(path, dtype=str)
    except Exception as error:
        # openpyxl raises anything from BadZipFile to KeyError on a broken workbook
        raise ValueError(
            f"{path}: not a readable .xlsx workbook ({type(error).__name__}: {error})"
        ) from None
    known = {plain(column): column for column in table.columns}
    names: dict[str, str] = {}
    for ours, headers in (required | optional).items():
        found = next((known[plain(h)] for h in headers if plain(h) in known), None)
        if found is not None:
            names[found] = ours
        elif ours in required:
            raise ValueError(
                f"{path}: expected a column {' or '.join(map(repr, headers))}; found"
                f" {', '.join(map(str, table.columns)) or 'no columns'}"
            )
    table = table.rename(columns=names).dropna(subset="stem")
    table["stem"] = table["stem"].map(bare_stem)
    table["patient_id"] = table["patient_id"].str.strip()
    two = table.groupby("stem")["patient_id"].nunique()
    if (two > 1).any():
        raise ValueError(
            f"{path}: {two.index[two > 1][0]!r} has two patients; expected one row a study"
        )
    for ours in optional:
        if ours not in table.columns:
            table[ours] = np.nan
    lost = []
    for ours, reading in (("age", read_ages(table["age"])), ("sex", read_sex(table["sex"]))):
        table[ours] = reading.values
        lost.append(reading.unread.map(lambda value, name=ours: f"{name} {show_cell(value)}"))
    table["unread"] = (
        pd.concat(lost).groupby(level=0).agg(", ".join).reindex(table.index, fill_value="")
    )
    if "is_ra" in table.columns:
        table["is_ra"] = _read_truth(table["is_ra"], path)
    return table.drop_duplicates("stem").set_index("stem")


def _read_truth(values: pd.Series, path: Path) -> pd.Series:
    words = values.str.strip().str.lower()
    unknown = words[words.notna() & ~words.isin(TRUTH)]
    if len(unknown):
        raise ValueError(f"{path}: the RA column holds {unknown.iloc[0]!r}; expected 0 or 1")
    return words.map(TRUTH).astype(float)


def unread_notes(metadata: pd.DataFrame) -> list[str]:
    """A sentence for each kind of cell of a metadata table that was not understood, and so counts
    as not known.
    """
    counts = metadata.loc[metadata["unread"] != "", "unread"].value_counts()
    return [
        f"Metadata.xlsx: {words} is not understood and counts as not known, in {n} rows"
        for words, n in counts.items()
    ]


def sum_of_scores(scores: Mapping[str, float], n_sites: int, what: str) -> tuple[float, float, str]:
    """Sum of a film's scores, whether any is above 0, and why that is not known.

    Parameters
    ----------
    scores : dict
        Site -> score.
    n_sites : int
        Sites that a whole reading has.
    what : str
        Such as 'erosion (BE)', for the reason.

    Returns
    -------
    total : float
        NaN unless every site is scored.
    positive : float
        1 where any site is above 0, 0 where every site is scored 0, NaN otherwise: a reading with
        gaps cannot say that there is nothing.
    why : str
    """
    if not scores:
        return float("nan"), float("nan"), f"no {what} scores"
    whole = len(scores) == n_sites
    total = float(sum(scores.values()))
    if total > 0:
        return total if whole else float("nan"), 1.0, ""
    return (
        (0.0, 0.0, "")
        if whole
        else (
            float("nan"),
            float("nan"),
            f"{len(scores)} of {n_sites} {what} scores, all 0: not known to be 0 everywhere",
        )
    )


def joint_tables(rows: Mapping[str, list[dict]]) -> dict[str, pd.DataFrame]:
    """Joint tables of all films from their rows, checked by the schema in one go; boxes are clipped
    to the film.

    Parameters
    ----------
    rows : dict
        image_id -> rows with site, x0, y0, x1, y1, and erosion or jsn.

    Returns
    -------
    dict
        image_id -> joint table without image_id; no entry for a film without rows.
    """
    table = pd.DataFrame(
        [{"image_id": name} | row for name, given in rows.items() for row in given]
    )
    if table.empty:
        return {}
    for column in ("erosion", "jsn", "jsw_mm"):
        if column not in table.columns:
            table[column] = np.nan
    corners = ["x0", "y0", "x1", "y1"]
    table[corners] = table[corners].clip(0, 1)
    table = JOINT_SCHEMA.validate(table[JOINT_COLUMNS])
    return {
        name: joints[JOINT_COLUMNS[1:]].reset_index(drop=True)
        for name, joints in table.groupby("image_id", sort=False)
    }


def make_films(dataset: Dataset, folder: Path, config: RunConfig) -> list[FilmFile]:
    """One film for each row of the table; what cannot be used carries its reason.

    Raises
    ------
    ValueError
        If the label column does not exist, or the rule makes one class only.
    """
    table = dataset.table
    choices = [c for c in table.columns if c not in TABLE_COLUMNS or c in ("age", "sex", "centre")]
    if config.label_column not in choices:
        raise ValueError(
            f"label_column={config.label_column!r} is not a column of"
            f" {config.source}{near_match(config.label_column, choices)}"
        )
    values = table[config.label_column]
    table = table.assign(
        label=make_labels(values.where(values.astype(str).str.strip() != ""), config.positive)
    )
    if config.max_films and len(table) > config.max_films:
        usable = table[table["path"].notna() & table["label"].notna() & (table["patient_id"] != "")]
        table = usable.sample(
            min(config.max_films, len(usable)), random_state=config.seed
        ).sort_index()
    root = folder.resolve()
    extra = [c for c in ("erosion_sum", "jsn_sum", "damage") if c in table.columns]
    films = []
    for record in table.to_dict("records"):
        label, path, name = record["label"], record["path"], record["image_id"]
        row = {k: record[k] for k in ("image_id", "patient_id", "age", "sex", "centre", *extra)}
        row |= {
            "file": text_of(path, root) if path is not None else "",
            "label": None if np.isnan(label) else int(label),
            "condition": "",
        }
        row["label_value"] = record[config.label_column]
        if config.label_column in (
            "age",
            "sex",
        ):  # as in the folder source: what the label is made from is no covariate
            row[config.label_column] = np.nan if config.label_column == "age" else ""
        films.append(
            FilmFile(
                row,
                path,
                record["laterality"],
                dataset.joints.get(name, no_joints()),
                dataset.lesions.get(name),
                _fault(record, config),
            )
        )
    return films


def _fault(record: dict, config: RunConfig) -> str:
    if record["path"] is None:
        return record["why"] or "the film is missing"
    if record["patient_id"] == "":
        return "no patient is known: neither the metadata nor the film's name says who it is"
    if np.isnan(record["label"]):
        by_scores = (
            config.label_column in ("erosive", "erosion_sum", "damage", "jsn_sum") and record["why"]
        )
        return record["why"] if by_scores else f"no value in {config.label_column}"
    return ""


def audit_official_split(table: pd.DataFrame, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the authors' own split does, and why it is not used here.

    Parameters
    ----------
    table : DataFrame
        A `Dataset.table`.
    label : str
        Column that is counted.

    Returns
    -------
    patients : DataFrame
        patient_id and the official splits of every patient who stands in more than one.
    counts : DataFrame
        Films of each official split by value of `label`; 'not known' where there is none.
    """
    placed = table[(table["official_split"] != "") & (table["patient_id"] != "")]
    splits = placed.assign(official_split=placed["official_split"].str.split("+")).explode(
        "official_split"
    )
    where = splits.groupby("patient_id")["official_split"].agg(lambda s: ", ".join(sorted(set(s))))
    patients = where[where.str.contains(",")].rename("splits").reset_index()
    values = splits[label].map(
        lambda v: (
            "not known" if pd.isna(v) or v == "" else f"{v:g}" if isinstance(v, float) else str(v)
        )
    )
    return patients, pd.crosstab(splits["official_split"], values.rename(label))


def split_notes(table: pd.DataFrame, labels: tuple[str, ...]) -> list[str]:
    """`audit_official_split` as sentences."""
    notes = []
    patients, _ = audit_official_split(table, labels[0])
    if len(patients):
        first = patients.iloc[0]
        notes.append(
            f"{len(patients)} patients stand in more than one official split, such as"
            f" {first['patient_id']} ({first['splits']}); it is not used here"
        )
    for label in labels:
        counts = audit_official_split(table, label)[1]
        for split, row in counts.iterrows():
            notes.append(
                f"official split {split}: {label} "
                + ", ".join(f"{value}: {n}" for value, n in row.items())
            )
    return notes
