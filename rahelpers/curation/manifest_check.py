"""Check a manifest that a person may have edited.

Every fault is reported with its row, column and value, and with what is expected.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from rahelpers.core.config import near_match
from rahelpers.curation.cohort import MANIFEST_SCHEMA
from rahelpers.data.sources.spelling import find_twins, is_blank
from rahelpers.data.sources.tables import read_checked_csv
from rahelpers.data.sources.words import read_ages, read_sex, read_side

MOST_FAULTS = 200  # of one kind: a column from the wrong file is one mistake, not ten thousand
NAMES = ("patient_id", "centre")  # two spellings of one would be two patients, or two hospitals
NEVER_EMPTY = ("image_id", "patient_id")  # the schema accepts '' as text
TABLE_READERS = (
    (("age", "alter"), read_ages),
    (("sex", "gender", "geschlecht"), read_sex),
    (("side", "laterality", "hand", "seite"), read_side),
)
# What a check of the schema expects, in words; any other check keeps pandera's name.
EXPECTED = (
    (r"isin\((.*)\)", r"one of \1"),
    (r"in_range\((.*), (.*)\)", r"a number from \1 to \2"),
    (r"greater_than_or_equal_to\((.*)\)|ge\((.*)\)", r"a number of at least \1\2"),
    (r"greater_than\((.*)\)|gt\((.*)\)", r"a number above \1\2"),
    (r"str_length\((\d+), \1\)", r"\1 characters"),
    (r"str_length\((.*), (.*)\)", r"\1 to \2 characters"),
    (r"field_uniqueness", "a value that no other row has"),
    (r"not_nullable", "a value"),
)


def explain_faults(manifest_csv: Path | str) -> list[str]:
    """List every fault of a manifest, or of a table that is not a manifest yet.

    Parameters
    ----------
    manifest_csv : Path or str

    Returns
    -------
    list of str
        One sentence per fault; empty where there is none. Rows are counted as a person counts them
        in the file: the header is row 1.
    """
    return check_file(manifest_csv)[0]


def check_file(manifest_csv: Path | str) -> tuple[list[str], list[str]]:
    """The faults as of `explain_faults`, and notes on what was checked."""
    path = Path(manifest_csv)
    if not path.is_file():
        return [f"{path}: there is no such file"], []
    try:
        text = read_checked_csv("manifest", path)
    except ValueError as error:
        return [str(error)], []
    if not {"split", "sha256"} & set(text.columns):
        return _check_table(text)
    faults = _column_faults(list(text.columns))
    numbers, number_faults, bad = _read_numbers(text)
    faults += number_faults + _empty_faults(text)
    faults += _value_faults(text, numbers, bad)
    for name in NAMES:
        faults += _twin_faults(text, name)
    return faults + _leak_faults(text), []


def _check_table(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Faults of a table that is not a manifest yet, and what was checked.

    These are the cells of age, sex and side that the folder source would refuse, and names and
    words that one column spells in two ways.
    """
    found = {
        c: reader for c in table.columns for names, reader in TABLE_READERS if c.casefold() in names
    }
    faults = []
    for column in table.columns:
        if column in found:
            faults += found[column](table[column]).faults(column)[:MOST_FAULTS]
        elif pd.to_numeric(table[column], errors="coerce").isna().any():
            faults += _twin_faults(table, column)
    note = (
        "this is not a manifest (it has neither split nor sha256), so it was checked as a table of"
        f" your own films: age, sex and side in the columns {', '.join(found) or '(none)'}, and"
        " words that one column spells in two ways. Labels and films are checked by `rahelpers run`"
    )
    return faults, [note]


def _twin_faults(text: pd.DataFrame, column: str) -> list[str]:
    if column not in text:
        return []
    twins = find_twins(text[column].str.strip())[:MOST_FAULTS]
    return [f"column {column}: {twin}; use one spelling" for twin in twins]


def _column_faults(columns: list[str]) -> list[str]:
    known = list(MANIFEST_SCHEMA.columns)
    required = [name for name, column in MANIFEST_SCHEMA.columns.items() if column.required]
    others = [c for c in columns if c not in known] or columns
    faults = [
        f"row 1: column {name} is missing{near_match(name, others)}"
        for name in required
        if name not in columns
    ]
    if MANIFEST_SCHEMA.strict:
        faults += [
            f"row 1: column {name!r} is not known{near_match(name, known)}"
            for name in columns
            if name not in known
        ]
    return faults


def _kind(name: str) -> str:
    """What a column of the schema holds: "int", "float", or a name for text."""
    return str(MANIFEST_SCHEMA.columns[name].dtype).rstrip("0123456789")


def _read_numbers(
    text: pd.DataFrame,
) -> tuple[dict[str, pd.Series], list[str], set[tuple[int, str]]]:
    """Read the columns of numbers.

    Returns
    -------
    numbers : dict
        Column -> values, NaN where a cell is not a number.
    faults : list of str
        One sentence per cell that is not a number of the right kind.
    bad : set of (row, column)
        Where these cells are.
    """
    numbers: dict[str, pd.Series] = {}
    faults: list[str] = []
    bad: set[tuple[int, str]] = set()
    for name in text.columns.intersection(list(MANIFEST_SCHEMA.columns)):
        kind = _kind(name)
        if kind not in ("int", "float"):
            continue
        values = pd.to_numeric(text[name].str.strip(), errors="coerce")
        words = {"int": "a whole number", "float": "a number"}[kind]
        wrong = values.isna() | np.isinf(values)
        if MANIFEST_SCHEMA.columns[name].nullable:
            wrong &= text[name].str.strip() != ""
        if kind == "int":
            wrong |= values.notna() & (values % 1 != 0)
        for row in wrong.index[wrong]:
            bad.add((int(row), name))
            faults.append(_fault(int(row), name, text.at[row, name], words))
        numbers[name] = values
    return numbers, faults[:MOST_FAULTS], bad


def _empty_faults(text: pd.DataFrame) -> list[str]:
    return [
        _fault(int(row), name, "", "a value")
        for name in NEVER_EMPTY
        if name in text
        for row in text.index[text[name].map(is_blank)]
    ]


def _value_faults(
    text: pd.DataFrame, numbers: dict[str, pd.Series], bad: set[tuple[int, str]]
) -> list[str]:
    """What the schema's own checks say about the cells that are not in `bad`."""
    # The same checks column by column, but numbers as float: one bad cell then leaves the others to
    # be checked. Whole numbers were checked before.
    columns = {}
    for name, column in MANIFEST_SCHEMA.columns.items():
        if name in text:
            is_number = name in numbers
            columns[name] = pa.Column(
                float if is_number else str,
                checks=column.checks,
                nullable=is_number,
                unique=column.unique,
            )
    values = pd.DataFrame(
        {name: numbers[name].astype(float) if name in numbers else text[name] for name in columns}
    )
    try:
        pa.DataFrameSchema(columns, coerce=True).validate(values, lazy=True)
    except pa.errors.SchemaErrors as error:
        faults = []
        for case in error.failure_cases.dropna(subset="index").to_dict("records"):
            row, name = int(case["index"]), case["column"]
            if (row, name) not in bad:
                cell = text.at[row, name]
                expected = _words(str(case["check"])) + _meant(name, cell)
                faults.append((row, name, _fault(row, name, cell, expected)))
        return [fault for *_, fault in sorted(faults)][:MOST_FAULTS]
    return []


def _words(check: str) -> str:
    """What a check expects, in words."""
    for pattern, words in EXPECTED:
        if re.fullmatch(pattern, check):
            return re.sub(pattern, words, check)
    return check


def _meant(column: str, cell: str) -> str:
    """What to write instead, for a word that the folder source would understand."""
    reader = {"sex": read_sex, "laterality": read_side}.get(column)
    code = reader(pd.Series([cell])).values.iloc[0] if reader else ""
    return f"; write {code}" if code else ""


def _fault(row: int, column: str, value: str, expected: str) -> str:
    return f"row {row + 2}, column {column}: {value!r}; expected {expected}"


def _leak_faults(text: pd.DataFrame) -> list[str]:
    """Patients and file contents in more than one split, with the rows."""
    faults: list[str] = []
    if "split" not in text:
        return faults
    for column, what in (("patient_id", "patient"), ("sha256", "file content")):
        if column not in text:
            continue
        for value, rows in text[text[column] != ""].groupby(column, sort=False):
            splits = list(dict.fromkeys(rows["split"]))
            if len(splits) > 1:
                first = {split: rows.index[rows["split"] == split][0] + 2 for split in splits}
                where = ", ".join(f"row {row} is {split}" for split, row in first.items())
                faults.append(f"{what} {value} is in {len(splits)} splits: {where}; expected one")
    return faults[:MOST_FAULTS]
