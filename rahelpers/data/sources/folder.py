"""A folder of films with a table: the source for a researcher's own films."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.config import RunConfig, near_match
from rahelpers.core.store import sha256_of
from rahelpers.data.sources.film import (
    CORNERS,
    JOINT_COLUMNS,
    JOINT_SCHEMA,
    FilmFile,
    first_fault,
    no_joints,
)
from rahelpers.data.sources.walk import find_files, is_inside, listing_hash, text_of
from rahelpers.data.sources.words import read_ages, read_sex, read_side, show_cell
from rahelpers.films.radiograph import MOST_NAME

MOST_DIGITS = 300  # of a number: float64 holds 308
OPERATORS = (">=", "<=", "==", ">", "<", "=")  # of a label rule; the longer ones first
COLUMN_KEYS = (  # the options that name a column of the table
    *("id_column", "patient_column", "label_column", "file_column", "laterality_column"),
    *("centre_column", "age_column", "sex_column"),
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hashes of the tables, and one of the films' names, sizes and times."""
    root = Path(config.images)
    found = {
        "table": sha256_of(Path(config.table)),
        "images": listing_hash(find_files(root, SUFFIXES)[0], root.resolve()),
    }
    return found | ({"boxes": sha256_of(Path(config.boxes))} if config.boxes else {})


def parse_rule(positive: str) -> tuple[str, str]:
    """Operator and operand of a label rule: '>=120' -> ('>=', '120'); 'M' -> ('==', 'M').

    Raises
    ------
    ValueError
        If the rule has no operand.
    """
    rule = positive.strip()
    operator = next((one for one in OPERATORS if rule.startswith(one)), "")
    operand = rule.removeprefix(operator).strip()
    if not operand:
        raise ValueError(
            f"positive={positive!r}: expected a value such as 'M' or a threshold such as '>=120'"
        )
    return "==" if operator in ("", "=") else operator, operand


def make_labels(values: pd.Series, positive: str) -> pd.Series:
    """Make labels 0 and 1 from a column and a rule; missing values stay missing.

    Parameters
    ----------
    values : Series
    positive : str
        A rule as `parse_rule` takes it: which values are positive.

    Returns
    -------
    Series of float
        1, 0, or NaN where the value is missing.

    Raises
    ------
    ValueError
        If a threshold is applied to words, or the rule puts every film into one class.
    """
    operator, operand = parse_rule(positive)
    numbers, threshold = _numbers(values), _number(operand)
    if operator == "==":
        all_numbers = numbers.notna().sum() == values.notna().sum()
        if threshold is None:
            hit = values.astype(str).str.strip().eq(operand)
        elif all_numbers:  # 1, 1.0 and "1" are the same label
            hit = numbers.eq(threshold)
        else:
            hit = values.astype(str).eq(operand)
    else:
        if threshold is None:
            raise ValueError(f"positive={positive!r}: expected a number after {operator}")
        words = values[values.notna() & numbers.isna()]
        if len(words):
            raise ValueError(
                f"positive={positive!r} needs numbers, but the label column holds"
                f" {show_cell(words.iloc[0])[:MOST_NAME]}"
            )
        compare = {">=": numbers.ge, "<=": numbers.le, ">": numbers.gt, "<": numbers.lt}
        hit = compare[operator](threshold)
    labels = hit.astype(float).where(values.notna())
    if labels.dropna().nunique() < 2:
        seen = ", ".join(map(str, pd.unique(values.dropna())[:5]))
        raise ValueError(
            f"positive={positive!r} puts every film into one class; the label column holds:"
            f" {seen} …"
        )
    return labels


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(values: pd.Series) -> pd.Series:
    """The numbers of a column; NaN for words, for infinity, and for what no float can hold."""
    try:
        numbers = pd.to_numeric(values, errors="coerce")
    except OverflowError:  # one whole number of hundreds of digits, and pandas gives up on them all
        short = values.where(values.map(lambda value: len(str(value)) < MOST_DIGITS))
        numbers = pd.to_numeric(short, errors="coerce")
    return numbers.where(np.isfinite(numbers.astype(float)))


def read_film_table(config: RunConfig) -> pd.DataFrame:
    """Read and check the table of the folder source.

    Returns
    -------
    DataFrame
        The table's own columns, and: image_id, patient_id, path (or None), why (there is no path),
        label (0, 1, or NaN where the table has none), label_value (what it was made from),
        condition, laterality, centre, age, sex.

    Raises
    ------
    ValueError
        If a folder, file or column is missing, ids are not unique, the labels do not make two
        classes, or a cell of age, sex or side is not understood.
    """
    _check_paths(config)
    table = _read_csv("table", config.table, {config.id_column: str, config.patient_column: str})
    _check_columns(table, config)

    # labels, kept next to what they were made from: our column may have the same name as theirs
    values = table[config.label_column]
    is_blank = values.astype(str).str.strip() == ""
    table["label_value"] = values.mask(is_blank)
    table["label"] = make_labels(table["label_value"], config.positive)
    # words of the label column tell who the controls are; numbers would be too many kinds
    has_words = not pd.api.types.is_numeric_dtype(values)
    words = table["label_value"].fillna("").astype(str).str.strip()
    table["condition"] = words if has_words else ""

    # who: two spellings of one name would be two patients, or two hospitals
    ids, patients = table[config.id_column], table[config.patient_column].str.strip()
    table["image_id"], table["patient_id"] = ids, patients
    _refuse_spellings("patients", table["patient_id"])
    age = _covariate_column(table, config.age_column, "age", config.label_column)
    sex = _covariate_column(table, config.sex_column, "sex", config.label_column)
    side, centre = config.laterality_column, config.centre_column
    table["laterality"] = read_side(table[side]).checked(side) if side else ""
    table["age"] = read_ages(table[age]).checked(age) if age else np.nan
    table["sex"] = read_sex(table[sex]).checked(sex) if sex else ""
    table["centre"] = table[centre].fillna("").astype(str).str.strip() if centre else ""
    _refuse_spellings("hospitals", table["centre"])

    # which file: last, because it is the only part that looks at the disk
    table["path"], table["why"] = _find_films(table, config)
    if config.max_films and len(table) > config.max_films:
        table = table.sample(config.max_films, random_state=config.seed).sort_index()
    return table


def _check_paths(config: RunConfig) -> None:
    """Refuse a folder or file that does not exist; boxes are optional."""
    if not Path(config.images).is_dir():
        raise ValueError(f"images={config.images}: there is no such folder")
    for key, path in (("table", config.table), ("boxes", config.boxes)):
        if not Path(path).is_file() and (key == "table" or path):
            raise ValueError(f"{key}={path}: there is no such file")


def _check_columns(table: pd.DataFrame, config: RunConfig) -> None:
    """Refuse columns that are missing, ids that are empty or not unique, and empty patients."""
    for key in COLUMN_KEYS:
        column = getattr(config, key)
        if column and column not in table.columns:
            raise ValueError(
                f"{key}={column!r} is not a column of {Path(config.table).name}"
                f"{near_match(column, list(table.columns))}{_other_comma(table)}"
            )
    ids = table[config.id_column]
    bad = ids[ids.isna() | ids.duplicated()]
    if len(bad):
        raise ValueError(
            f"{config.id_column} must be unique and not empty: row {bad.index[0] + 2} has"
            f" {bad.iloc[0]!r}"
        )
    nobody = table[config.patient_column].fillna("").str.strip() == ""
    if nobody.any():
        raise ValueError(f"{config.patient_column} is empty in row {table.index[nobody][0] + 2}")


def _covariate_column(table: pd.DataFrame, named: str, usual: str, label_column: str) -> str:
    """The column of age or sex: the one that the configuration names, else the one with the usual
    name in any case. '' where there is none, or where it makes the label.
    """
    columns = sorted(table.columns, reverse=True)
    found = named or next((c for c in columns if str(c).strip().casefold() == usual), "")
    return "" if found == label_column else found


def _refuse_spellings(what: str, names: pd.Series) -> None:
    """Refuse names that differ only in upper and lower case.

    Two spellings of one patient would end up in two splits, and two spellings of one hospital would
    be held out only in part.
    """
    for _, spellings in names.drop_duplicates().groupby(names.str.casefold()):
        if len(spellings) > 1:
            (row, one), (other_row, other) = list(spellings.items())[:2]
            raise ValueError(
                f"{what} {one!r} (row {row + 2}) and {other!r} (row {other_row + 2}) differ only in"
                " upper and lower case; use one spelling"
            )


def _read_csv(key: str, path: str, types: dict[str, type]) -> pd.DataFrame:
    return read_checked_csv(key, Path(path), types)


def read_checked_csv(key: str, path: Path, types: dict[str, type] | None = None) -> pd.DataFrame:
    """Read a CSV file in which every row has as many values as the header.

    pandas on its own fills a row that is too short with empty values. Where the header is too
    short, it makes the first column the index, and every label moves over by one column.

    Parameters
    ----------
    key : str
        What the file is for, such as 'table': messages start with it.
    path : Path
    types : dict, optional
        Column -> type; pandas chooses the others.

    Raises
    ------
    ValueError
        If the file is not a UTF-8 CSV file with a header and rows; says what it is instead.
    """
    text = _decode(key, path, path.read_bytes())
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(number, row) for number, row in enumerate(lines, start=1) if row]
    except csv.Error as error:
        raise ValueError(f"{key}={path}: not a CSV file ({error})") from None
    if len(rows) < 2:
        raise ValueError(
            f"{key}={path}: {'is empty' if not rows else 'has a header but no rows'}; expected a"
            " header and one row per film"
        )
    header = rows[0][1]
    twice = [name for i, name in enumerate(header) if name in header[:i]]
    if twice:
        raise ValueError(f"{key}={path}: two columns are called {twice[0]!r}")
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{key}={path}: row {number} has {len(row)} values, the header {len(header)}; a"
                " value with a comma needs quotes"
            )
    return pd.read_csv(io.StringIO(text, newline=""), dtype=types, index_col=False)


def _decode(key: str, path: Path, data: bytes) -> str:
    """The text of a UTF-8 file; an error that says which other encoding it may have."""
    refusal = f"{key}={path}: not a UTF-8 CSV file:"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(
            f"{refusal} it is UTF-16, as spreadsheets write 'Unicode text'; save it as 'CSV UTF-8'"
        )
    if b"\0" in data:
        raise ValueError(f"{refusal} byte {data.index(0)} is NUL, so it is a binary file or UTF-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{refusal} row {row} holds the byte 0x{data[error.start]:02x}; save it as 'CSV UTF-8'"
        ) from None


def _other_comma(table: pd.DataFrame) -> str:
    """A hint where the file's columns are separated by something other than commas."""
    name = str(table.columns[0])
    if len(table.columns) > 1 or not re.search("[;\t|]", name):
        return ""
    return f". Its only column is {name!r}: save it with commas"


def _find_films(table: pd.DataFrame, config: RunConfig) -> tuple[list[Path | None], list[str]]:
    """The file of each row, and why there is none.

    Where a column names the files, that is a path under `images`, or the only film of that name.
    Otherwise it is the only film whose name is the image_id, with or without suffix.
    """
    root = Path(config.images).resolve()

    # the folder's films by name
    by_name: dict[str, set[Path]] = {}
    paths, unreadable = find_files(root, SUFFIXES)
    for path in paths:
        for key in (path.stem, path.name):
            by_name.setdefault(key, set()).add(path)
    hidden = (
        f"; {len(unreadable)} folders could not be read, such as {unreadable[0]}"
        if unreadable
        else ""
    )
    if not by_name:
        raise ValueError(
            f"images={root}: holds no film; expected files that end in"
            f" {', '.join(SUFFIXES)}{hidden}"
        )

    # the file of each row
    nothing = f"no file of that name under the image folder{hidden}"
    found: list[Path | None] = []
    why = []
    for name in table[config.file_column or "image_id"].fillna("").astype(str):
        if config.file_column and not Path(os.path.normpath(root / name)).is_relative_to(root):
            # not looked up by its last part either: that would be a different file
            found.append(None)
            why.append(f"{name!r} is outside the image folder")
            continue
        find = _film_at if config.file_column else _only_film
        film = find(name, by_name, root)
        found.append(film)
        why.append("" if film else f"{name[:MOST_NAME]!r}: {nothing}" if name else nothing)
    return found, why


def _film_at(name: str, by_name: dict[str, set[Path]], root: Path) -> Path | None:
    """The film at a path under the image folder; else the only film of that name, if its path ends
    as `name` says: 'images/7.png' is found even if the image folder itself is called images.
    """
    path = root / name
    if is_inside(path, root):  # whatever its suffix: DICOM files often have none
        return path
    film = _only_film(Path(name).name, by_name, root)
    if film is None:
        return None
    said = Path(name).with_suffix("").parts
    # a file of that name in another folder may be another patient's
    return film if film.with_suffix("").parts[-len(said) :] == said else None


def _only_film(name: str, by_name: dict[str, set[Path]], root: Path) -> Path | None:
    """The film of that name. Two are an error: guessing could give a film another film's label."""
    found = sorted(by_name.get(name, ()))
    if len(found) > 1:
        two = " and ".join(str(p.relative_to(root)) for p in found[:2])
        raise ValueError(
            f"images={root}: '{name}' could be {two}; add a column with the file of each row, and"
            " name that column with --file-column"
        )
    return found[0] if found else None


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film per row of the table, in its order."""
    table = read_film_table(config)
    boxes = dict(list(read_boxes(config).groupby("image_id")))
    root = Path(config.images).resolve()
    films = []
    for record in table.to_dict("records"):
        path, label, image_id = record["path"], record["label"], record["image_id"]
        row = {k: record[k] for k in ("image_id", "patient_id", "age", "sex", "centre")}
        row |= {
            "file": text_of(path, root) if path else "",
            "label": None if np.isnan(label) else int(label),
            "condition": record["condition"],
            "label_value": record["label_value"],
        }
        no_label = f"no value in {config.label_column}" if np.isnan(label) else ""
        joints = boxes[image_id].drop(columns="image_id") if image_id in boxes else no_joints()
        films.append(
            FilmFile(
                row=row,
                path=path,
                laterality=record["laterality"],
                joints=joints,
                fault=record["why"] if path is None else no_label,
            )
        )
    return films


def read_boxes(config: RunConfig) -> pd.DataFrame:
    """Read the joint boxes of the folder source.

    Joints of the same name on one film are numbered from left to right, so that names are unique.

    Returns
    -------
    DataFrame
        Columns of the joint table; empty where the configuration names no boxes.

    Raises
    ------
    ValueError
        If a column is missing, or a box is not four fractions with x0 < x1 and y0 < y1; the message
        names row and value.
    """
    if not config.boxes:
        return pd.DataFrame(columns=JOINT_COLUMNS)
    boxes = _read_csv("boxes", config.boxes, {"image_id": str})
    name = "joint" if "joint" in boxes.columns else "site"
    missing = [c for c in ("image_id", name, *CORNERS) if c not in boxes.columns]
    if missing:
        raise ValueError(
            f"boxes={config.boxes}: column {missing[0]} is missing; expected image_id, joint, x0,"
            " y0, x1, y1"
        )
    boxes = boxes.rename(columns={name: "site"}).reindex(columns=JOINT_COLUMNS)
    try:
        boxes = JOINT_SCHEMA.validate(boxes, lazy=True)
    except pa.errors.SchemaErrors as error:
        # counted as a person counts them in the file: the header is row 1
        rows = [f"row {i + 2}" for i in range(len(boxes))]
        raise ValueError(
            f"boxes={config.boxes}: {first_fault(error, rows)}; expected corners as fractions of"
            " width and height"
        ) from None
    flat = boxes.index[(boxes["x0"] >= boxes["x1"]) | (boxes["y0"] >= boxes["y1"])]
    if len(flat):
        raise ValueError(
            f"boxes={config.boxes}: row {flat[0] + 2} has no area; expected x0 < x1 and y0 < y1"
        )
    boxes = boxes.sort_values(["image_id", "site", "x0"], kind="stable")
    same_name = boxes.groupby(["image_id", "site"])
    number = (same_name.cumcount() + 1).astype(str)
    is_only = same_name["x0"].transform("size") == 1
    boxes["site"] = boxes["site"].where(is_only, boxes["site"] + " " + number)
    return boxes
