"""What the public datasets have in common: metadata table, labels, official splits and films."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, near_match
from rahelpers.data.sources.film import CORNERS, JOINT_COLUMNS, JOINT_SCHEMA, FilmFile, no_joints
from rahelpers.data.sources.folder import make_labels
from rahelpers.data.sources.walk import text_of
from rahelpers.data.sources.words import read_ages, read_sex, show_cell

OFFICIAL_SPLITS = ("train", "val", "validation", "test")
TABLE_COLUMNS = (
    *("image_id", "patient_id", "path", "laterality", "centre", "age", "sex"),
    *("official_split", "why"),
)
SUMS = ("erosion_sum", "jsn_sum", "damage")  # columns that are kept for every film
FROM_SCORES = ("erosive", *SUMS)  # label columns that are made from SvdH scores
TRUTH = dict.fromkeys(("1", "1.0", "true", "yes", "ra"), 1.0) | dict.fromkeys(
    ("0", "0.0", "false", "no", "non-ra"), 0.0
)


@dataclass(frozen=True)
class Dataset:
    """A public dataset: its tables are read and its films are listed, but none is opened.

    Attributes
    ----------
    table : DataFrame
        `TABLE_COLUMNS`, then the columns that a label can be made from. `path` is None where the
        film is missing; `why` says why a film cannot be used, and is '' where it can.
    joints : dict
        image_id -> joint table without image_id.
    lesions : dict
        image_id -> COCO run lengths of its erosions; no entry where nothing is known.
    faults : list of str
        What is wrong with the files: missing folders and films, films that are in no table.
    notes : list of str
        What is worth knowing although it is as the authors published it.
    """

    table: pd.DataFrame
    joints: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    lesions: Mapping[str, tuple[dict, ...]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def require_folder(folder: Path, name: str, layout: tuple[str, ...]) -> None:
    """Refuse a folder that does not exist, or that lacks a part which the adapter needs.

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
    """Letters and digits only, in lower case.

    'Normalized PatientID' and 'NormalizedPatientID' are the same header.
    """
    return re.sub(r"[^a-z0-9]", "", str(text).lower())


def bare_stem(name: object) -> str:
    """A film's name without `.bmp` and without the side: the key of the metadata table."""
    return re.sub(r"_[lr]$", "", re.sub(r"\.bmp$", "", str(name).strip().lower()))


def side_of(stem: str) -> str:
    """'L' or 'R' from the end of a film's stem; '' where it is neither.

    The authors' loaders look at `filename[-4]` instead. That character is the dot, so they never
    mirrored a left hand.
    """
    found = re.search(r"_([LR])$", stem, re.IGNORECASE)
    return found.group(1).upper() if found else ""


def read_metadata(
    path: Path, required: Mapping[str, tuple[str, ...]], optional: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    """Read the metadata workbook, with our column names.

    Parameters
    ----------
    path : Path
    required, optional : dict
        Our name -> headers that mean it. Other columns keep their own names.

    Returns
    -------
    DataFrame
        One row per study; the index is the bare stem. The column `unread` says which cells of age
        and sex were not understood.

    Raises
    ------
    ValueError
        If a required header is missing (the message names what was expected and what was found), or
        one stem has two patients.
    """
    try:
        table = pd.read_excel(path, dtype=str)
    except Exception as error:
        # openpyxl raises anything from BadZipFile to KeyError on a broken workbook
        raise ValueError(
            f"{path}: not a readable .xlsx workbook ({type(error).__name__}: {error})"
        ) from None

    # our names for the columns
    known = {plain(column): column for column in table.columns}
    names: dict[str, str] = {}
    for ours, headers in {**required, **optional}.items():
        found = next((known[plain(h)] for h in headers if plain(h) in known), None)
        if found is not None:
            names[found] = ours
        elif ours in required:
            raise ValueError(
                f"{path}: expected a column {' or '.join(map(repr, headers))}; found"
                f" {', '.join(map(str, table.columns)) or 'no columns'}"
            )

    # one row per study
    table = table.rename(columns=names).dropna(subset="stem")
    table["stem"] = table["stem"].map(bare_stem)
    table["patient_id"] = table["patient_id"].str.strip()
    two = table.groupby("stem")["patient_id"].nunique()
    if (two > 1).any():
        raise ValueError(
            f"{path}: {two.index[two > 1][0]!r} has two patients; expected one row per study"
        )

    # age, sex and diagnosis; what is not understood counts as not known, and is reported
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
    """One sentence per kind of metadata cell that was not understood and counts as not known."""
    counts = metadata.loc[metadata["unread"] != "", "unread"].value_counts()
    return [
        f"Metadata.xlsx: {words} is not understood and counts as not known, in {n} rows"
        for words, n in counts.items()
    ]


def sum_of_scores(scores: Mapping[str, float], n_sites: int, what: str) -> tuple[float, float, str]:
    """Sum a film's scores, and say whether any is above 0 or why that is not known.

    Parameters
    ----------
    scores : dict
        Site -> score.
    n_sites : int
        Number of sites in a complete reading.
    what : str
        Kind of score, for the reason: such as 'erosion (BE)'.

    Returns
    -------
    total : float
        NaN unless every site is scored.
    positive : float
        1 where any site is above 0, 0 where every site is scored 0, NaN otherwise: an incomplete
        reading cannot show that there is nothing.
    why : str
        Why `positive` is not known; '' where it is.
    """
    if not scores:
        return np.nan, np.nan, f"no {what} scores"
    is_complete = len(scores) == n_sites
    total = float(sum(scores.values()))
    if total > 0:
        return total if is_complete else np.nan, 1.0, ""
    if is_complete:
        return 0.0, 0.0, ""
    why = f"{len(scores)} of {n_sites} {what} scores, all 0: not known to be 0 everywhere"
    return np.nan, np.nan, why


def joint_tables(rows: Mapping[str, list[dict]]) -> dict[str, pd.DataFrame]:
    """Make the joint tables of all films from their rows.

    One check of the schema serves all films; boxes are clipped to the film.

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
    table[CORNERS] = table[CORNERS].clip(0, 1)
    table = JOINT_SCHEMA.validate(table.reindex(columns=JOINT_COLUMNS))
    return {
        name: joints[JOINT_COLUMNS[1:]].reset_index(drop=True)
        for name, joints in table.groupby("image_id", sort=False)
    }


def make_films(dataset: Dataset, folder: Path, config: RunConfig) -> list[FilmFile]:
    """Make one film per row of the table; a film that cannot be used carries its reason.

    Raises
    ------
    ValueError
        If the label column does not exist, or the rule puts every film into one class.
    """
    # labels
    table = dataset.table
    choices = [c for c in table.columns if c not in TABLE_COLUMNS or c in ("age", "sex", "centre")]
    if config.label_column not in choices:
        raise ValueError(
            f"label_column={config.label_column!r} is not a column of"
            f" {config.source}{near_match(config.label_column, choices)}"
        )
    values = table[config.label_column]
    is_blank = values.astype(str).str.strip() == ""
    table = table.assign(label=make_labels(values.mask(is_blank), config.positive))
    if config.max_films and len(table) > config.max_films:
        usable = table[table["path"].notna() & table["label"].notna() & (table["patient_id"] != "")]
        table = usable.sample(
            min(config.max_films, len(usable)), random_state=config.seed
        ).sort_index()

    # films
    root = folder.resolve()
    extra = [c for c in SUMS if c in table.columns]
    films = []
    for record in table.to_dict("records"):
        label, path, name = record["label"], record["path"], record["image_id"]
        row = {k: record[k] for k in ("image_id", "patient_id", "age", "sex", "centre", *extra)}
        row |= {
            "file": text_of(path, root) if path is not None else "",
            "label": None if np.isnan(label) else int(label),
            "condition": "",
            "label_value": record[config.label_column],
        }
        # as in the folder source: what the label is made from is not a covariate
        if config.label_column in ("age", "sex"):
            row[config.label_column] = np.nan if config.label_column == "age" else ""
        films.append(
            FilmFile(
                row=row,
                path=path,
                laterality=record["laterality"],
                joints=dataset.joints.get(name, no_joints()),
                lesion=dataset.lesions.get(name),
                fault=_fault(record, config),
            )
        )
    return films


def _fault(record: dict, config: RunConfig) -> str:
    if record["path"] is None:
        return record["why"] or "the film is missing"
    if record["patient_id"] == "":
        return "no patient is known: neither the metadata nor the film's name says who it is"
    if np.isnan(record["label"]):
        why = record["why"] if config.label_column in FROM_SCORES else ""
        return why or f"no value in {config.label_column}"
    return ""


def audit_official_split(table: pd.DataFrame, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Look at the authors' own split: which patients are in two parts, and how labels are spread.

    Parameters
    ----------
    table : DataFrame
        Of a `Dataset`.
    label : str
        The column to count.

    Returns
    -------
    patients : DataFrame
        patient_id and official splits of every patient who is in more than one of them.
    counts : DataFrame
        Films of each official split by value of `label`; 'not known' where there is none.
    """
    placed = table[(table["official_split"] != "") & (table["patient_id"] != "")]
    splits = placed.assign(official_split=placed["official_split"].str.split("+")).explode(
        "official_split"
    )
    where = splits.groupby("patient_id")["official_split"].agg(lambda s: ", ".join(sorted(set(s))))
    patients = where[where.str.contains(",")].rename("splits").reset_index()
    known = splits[label].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v))
    values = known.mask(splits[label].isna() | splits[label].eq(""), "not known")
    return patients, pd.crosstab(splits["official_split"], values.rename(label))


def split_notes(table: pd.DataFrame, labels: tuple[str, ...]) -> list[str]:
    """The result of `audit_official_split` as sentences."""
    notes = []
    patients, _ = audit_official_split(table, labels[0])
    if len(patients):
        first = patients.iloc[0]
        notes.append(
            f"{len(patients)} patients are in more than one official split, such as"
            f" {first['patient_id']} ({first['splits']}); that split is not used here"
        )
    for label in labels:
        counts = audit_official_split(table, label)[1]
        for split, row in counts.iterrows():
            found = ", ".join(f"{value}: {n}" for value, n in row.items())
            notes.append(f"official split {split}: {label} {found}")
    return notes
