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
    JOINT_COLUMNS,
    JOINT_SCHEMA,
    FilmFile,
    first_fault,
    no_joints,
)
from rahelpers.data.sources.walk import find_files, is_inside, listing_hash, text_of
from rahelpers.data.sources.words import read_ages, read_sex, read_side, show_cell
from rahelpers.films.radiograph import MOST_NAME

MOST_DIGITS = 300  # float64 holds 308
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hashes of the tables, and of the films' names, sizes and times."""
    root = Path(config.images)
    found = {
        "table": sha256_of(Path(config.table)),
        "images": listing_hash(find_files(root, SUFFIXES)[0], root.resolve()),
    }
    return found | ({"boxes": sha256_of(Path(config.boxes))} if config.boxes else {})


def parse_rule(positive: str) -> tuple[str, str]:
    """Operator and operand of a label rule: '>=120' -> ('>=', '120'); 'M' -> ('==', 'M')."""
    operator, operand = re.fullmatch(
        r"\s*(>=|<=|==|>|<|=)?\s*(.*?)\s*", positive, re.DOTALL
    ).groups()
    if not operand:
        raise ValueError(
            f"positive={positive!r}: expected a value such as 'M' or a threshold such as '>=120'"
        )
    return {None: "==", "=": "=="}.get(operator, operator), operand


def make_labels(values: pd.Series, positive: str) -> pd.Series:
    """Labels 0 and 1 from a column and a rule; missing values stay missing.

    Raises
    ------
    ValueError
        If a threshold is asked of words, or the rule makes one class only.
    """
    operator, operand = parse_rule(positive)
    if operator == "==":
        try:  # 1 and 1.0 and "1" are the same label
            number = float(operand)
            numeric = _numbers(values)
            hit = (
                numeric.eq(number)
                if numeric.notna().sum() == values.notna().sum()
                else values.astype(str).eq(operand)
            )
        except ValueError:
            hit = values.astype(str).str.strip().eq(operand)
    else:
        try:
            number = float(operand)
        except ValueError:
            raise ValueError(f"positive={positive!r}: expected a number after {operator}") from None
        numeric = _numbers(values)
        words = values[values.notna() & numeric.isna()]
        if len(words):
            raise ValueError(
                f"positive={positive!r} needs numbers, but the label column holds"
                f" {show_cell(words.iloc[0])[:MOST_NAME]}"
            )
        hit = {">=": numeric.ge, "<=": numeric.le, ">": numeric.gt, "<": numeric.lt}[operator](
            number
        )
    labels = hit.astype(float).where(values.notna())
    if labels.dropna().nunique() < 2:
        seen = ", ".join(map(str, pd.unique(values.dropna())[:5]))
        raise ValueError(
            f"positive={positive!r} puts every film into one class; the label column holds:"
            f" {seen} …"
        )
    return labels


def _numbers(values: pd.Series) -> pd.Series:
    """Numbers of a column; NaN for words, infinity and what is too large to be a number."""
    try:
        numbers = pd.to_numeric(values, errors="coerce")
    except OverflowError:  # pandas makes whole numbers of hundreds of digits into none at all
        numbers = values.map(
            lambda value: (
                pd.to_numeric(value, errors="coerce") if len(str(value)) < MOST_DIGITS else np.nan
            )
        )
    return numbers.where(np.isfinite(numbers.astype(float)))


def read_film_table(config: RunConfig) -> pd.DataFrame:
    """The folder source's table, checked: columns exist, ids are unique, labels make two classes,
    age, sex and side are understood.

    Returns
    -------
    DataFrame
        The columns image_id, patient_id, path (or None), why (there is no path), label (0, 1, or
        NaN where the table has none), label_value (what it was made from), laterality, centre, age,
        sex.
    """
    for key in ("images", "table", "boxes"):
        path = Path(getattr(config, key))
        if (key != "boxes" or config.boxes) and not (
            path.is_dir() if key == "images" else path.is_file()
        ):
            raise ValueError(
                f"{key}={path}: there is no such {'folder' if key == 'images' else 'file'}"
            )
    table = _read_csv("table", config.table, {config.id_column: str, config.patient_column: str})
    for key in (
        "id_column",
        "patient_column",
        "label_column",
        "file_column",
        "laterality_column",
        "centre_column",
        "age_column",
        "sex_column",
    ):
        column = getattr(config, key)
        if column and column not in table.columns:
            raise ValueError(
                f"{key}={column!r} is not a column of"
                f" {Path(config.table).name}{near_match(column, list(table.columns))}{_other_comma(table)}"
            )
    ids = table[config.id_column]
    if ids.isna().any() or ids.duplicated().any():
        bad = ids[ids.isna() | ids.duplicated()]
        raise ValueError(
            f"{config.id_column} must be unique and not empty: row {bad.index[0] + 2} has"
            f" {bad.iloc[0]!r}"
        )
    nobody = table[config.patient_column].fillna("").str.strip() == ""
    if nobody.any():
        raise ValueError(f"{config.patient_column} is empty in row {table.index[nobody][0] + 2}")
    values = table[config.label_column]
    table[config.label_column] = values.mask(
        values.astype(str).str.strip() == ""
    )  # a cell of blanks is an empty cell
    table["label_value"] = table[
        config.label_column
    ]  # kept as it is: a column of ours may bear the same name
    table["label"] = make_labels(table["label_value"], config.positive)
    # words of the label column tell who the controls are; numbers would be too many kinds
    table["condition"] = (
        ""
        if pd.api.types.is_numeric_dtype(values)
        else table["label_value"].fillna("").astype(str).str.strip()
    )
    table["image_id"], table["patient_id"] = ids, table[config.patient_column].str.strip()
    _refuse_twins("patients", table["patient_id"])
    age, sex = (
        _covariate_column(table, getattr(config, f"{name}_column"), name, config.label_column)
        for name in ("age", "sex")
    )
    side = config.laterality_column
    table["laterality"] = read_side(table[side]).refuse(side) if side else ""
    table["age"] = read_ages(table[age]).refuse(age) if age else np.nan
    table["sex"] = read_sex(table[sex]).refuse(sex) if sex else ""
    table["centre"] = (
        table[config.centre_column].fillna("").astype(str).str.strip()
        if config.centre_column
        else ""
    )
    _refuse_twins("hospitals", table["centre"])
    table["path"], table["why"] = _find_films(table, config)
    if config.max_films and len(table) > config.max_films:
        table = table.sample(config.max_films, random_state=config.seed).sort_index()
    return table


def _covariate_column(table: pd.DataFrame, named: str, usual: str, label_column: str) -> str:
    """The column of age or sex: the named one, else one that is called so, in capitals or not; ''
    where there is none, or it makes the label.
    """
    found = named or next(
        (c for c in sorted(table.columns, reverse=True) if str(c).strip().casefold() == usual), ""
    )
    return "" if found == label_column else found


def _refuse_twins(what: str, names: pd.Series) -> None:
    """Two spellings of one patient would stand in two splits, those of a hospital in its own and in
    others.
    """
    for _, spellings in names.drop_duplicates().groupby(names.str.casefold()):
        if len(spellings) > 1:
            (row, one), (other_row, other) = list(spellings.items())[:2]
            raise ValueError(
                f"{what} {one!r} (row {row + 2}) and {other!r} (row {other_row + 2}) differ in"
                " upper and lower case alone; write them alike"
            )


def _read_csv(key: str, path: str, types: dict[str, type]) -> pd.DataFrame:
    return read_checked_csv(key, Path(path), types)


def read_checked_csv(key: str, path: Path, types: dict[str, type] | None = None) -> pd.DataFrame:
    """A CSV file whose rows all have as many values as its header.

    pandas alone takes a row that is too short for one with empty values, and a header that is too
    short for an index column: then every label moves one column.

    Raises
    ------
    ValueError
        Says what the file is, where it is not a UTF-8 CSV file with a header and rows.
    """
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(
            f"{key}={path}: not a UTF-8 CSV file: it is UTF-16, as spreadsheets write 'Unicode"
            " text'; save it as 'CSV UTF-8'"
        )
    if b"\0" in data:
        raise ValueError(
            f"{key}={path}: not a UTF-8 CSV file: byte {data.index(0)} is NUL, so it is a binary"
            " file or UTF-16"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{key}={path}: not a UTF-8 CSV file: row {row} holds the byte"
            f" 0x{data[error.start]:02x}; save it as 'CSV UTF-8'"
        ) from None
    try:
        rows = [
            (number, row)
            for number, row in enumerate(
                csv.reader(io.StringIO(text, newline=""), strict=True), start=1
            )
            if row
        ]
    except csv.Error as error:
        raise ValueError(f"{key}={path}: not a CSV file ({error})") from None
    if len(rows) < 2:
        raise ValueError(
            f"{key}={path}: {'is empty' if not rows else 'holds a header and no row'}; expected a"
            " header and one row a film"
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


def _other_comma(table: pd.DataFrame) -> str:
    """A hint where the file's columns are parted by something else than commas."""
    name = str(table.columns[0])
    return (
        ""
        if len(table.columns) > 1 or not re.search("[;\t|]", name)
        else f". Its one column is {name!r}: save it with commas"
    )


def _find_films(table: pd.DataFrame, config: RunConfig) -> tuple[list[Path | None], list[str]]:
    """The file of each row, and why there is none: its path under `images` where a column names it,
    else the one film of that name.
    """
    root = Path(config.images).resolve()
    by_name: dict[str, set[Path]] = {}
    films, unreadable = find_files(root, SUFFIXES)
    for path in films:
        for name in (path.stem, path.name):
            by_name.setdefault(name, set()).add(path)
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
    nothing = f"no file of that name under the image folder{hidden}"
    found: list[Path | None] = []
    why = []
    for name in table[config.file_column or "image_id"].fillna("").astype(str):
        path = root / name if config.file_column else None
        if path is not None and not Path(os.path.normpath(path)).is_relative_to(root):
            # such a name is not looked up by its last part: it means another file than one of that
            # name in here
            found.append(None)
            why.append(f"{name!r} lies outside the image folder")
            continue
        inside = path is not None and is_inside(
            path, root
        )  # whatever its suffix: DICOM files often have none
        film = (
            path
            if inside
            else _only_film(by_name, Path(name).name if config.file_column else name, root)
        )
        if film is not None and config.file_column and not _ends_as(film, name):
            film = None  # a file of that name in another folder may be another patient's
        found.append(film)
        why.append("" if film else f"{name[:MOST_NAME]!r}: {nothing}" if name else nothing)
    return found, why


def _ends_as(film: Path, name: str) -> bool:
    """Whether a film's path ends as the table says: 'images/7.png' under films/images, when
    `images` names that folder itself.
    """
    said = Path(name).with_suffix("").parts
    return film.with_suffix("").parts[-len(said) :] == said


def _only_film(by_name: dict[str, set[Path]], name: str, root: Path) -> Path | None:
    """The film of that name; an error where two could be meant, because guessing would give a film
    another's label.
    """
    found = sorted(by_name.get(name, ()))
    if len(found) > 1:
        two = " and ".join(str(p.relative_to(root)) for p in found[:2])
        raise ValueError(
            f"images={root}: '{name}' could be {two}; name the file of each row in a column, and"
            " the column with --file-column"
        )
    return found[0] if found else None


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film for each row of the table, in its order."""
    table = read_film_table(config)
    boxes = dict(list(read_boxes(config).groupby("image_id")))
    root = Path(config.images).resolve()
    films = []
    for record in table.to_dict("records"):
        path, label = record["path"], record["label"]
        row = {k: record[k] for k in ("image_id", "patient_id", "age", "sex", "centre")}
        row |= {
            "file": text_of(path, root) if path else "",
            "label": None if np.isnan(label) else int(label),
            "condition": record["condition"],
            "label_value": record["label_value"],
        }
        fault = (
            record["why"]
            if path is None
            else f"no value in {config.label_column}"
            if np.isnan(label)
            else ""
        )
        joints = (
            boxes[record["image_id"]].drop(columns="image_id")
            if record["image_id"] in boxes
            else no_joints()
        )
        films.append(FilmFile(row, path, record["laterality"], joints, fault=fault))
    return films


def read_boxes(config: RunConfig) -> pd.DataFrame:
    """Joint boxes; joints of the same name on one film are numbered from left to right, so that
    names are unique.

    Returns
    -------
    DataFrame
        Columns of the joint table; empty where the config names no boxes.

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
    missing = [c for c in ("image_id", name, "x0", "y0", "x1", "y1") if c not in boxes.columns]
    if missing:
        raise ValueError(
            f"boxes={config.boxes}: column {missing[0]} is missing; expected image_id, joint, x0,"
            " y0, x1, y1"
        )
    boxes = boxes.rename(columns={name: "site"})
    for column in ("erosion", "jsn", "jsw_mm"):
        if column not in boxes.columns:
            boxes[column] = np.nan
    try:
        boxes = JOINT_SCHEMA.validate(boxes[JOINT_COLUMNS], lazy=True)
    except pa.errors.SchemaErrors as error:
        rows = [
            f"row {i + 2}" for i in range(len(boxes))
        ]  # as a person counts them in the file: the header is row 1
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
    number = boxes.groupby(["image_id", "site"]).cumcount() + 1
    size = boxes.groupby(["image_id", "site"])["x0"].transform("size")
    boxes["site"] = boxes["site"].where(size == 1, boxes["site"] + " " + number.astype(str))
    return boxes
