"""CSV tables as people and spreadsheets write them: all cells are text, each row has its number."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd

from rahelpers.data.sources.spelling import is_blank, spell


def read_checked_csv(key: str, path: Path) -> pd.DataFrame:
    """Read a CSV file in which every row has as many values as the header.

    Nothing is guessed. A patient called NA or 007 keeps that name, and TRUE stays TRUE. pandas on
    its own also fills a row that is too short with empty values; where the header is too short, it
    makes the first column the index, and every label moves over by one column.

    Parameters
    ----------
    key : str
        What the file is for, such as 'table': messages start with it.
    path : Path

    Returns
    -------
    DataFrame of str
        Cells as they stand in the file. The index counts the file's rows from 0, below the header.
        Rows and columns in which nothing can be seen, as spreadsheets leave them at the end, are
        left out. Names of columns are without blanks at their ends and invisible characters.

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

    # the header: the first row with anything in it
    rows = [(number, row) for number, row in rows if not all(map(is_blank, row))]
    if len(rows) < 2:
        raise ValueError(
            f"{key}={path}: {'is empty' if not rows else 'has a header but no rows'}; expected a"
            " header and one row per film"
        )
    header_number, header = rows[0][0], [spell(name) for name in rows[0][1]]
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{key}={path}: row {number} has {len(row)} values, the header {len(header)}; a"
                f" value with a comma needs quotes{other_comma(header)}"
            )
    table = pd.DataFrame(
        [row for _, row in rows[1:]],
        index=[number - 2 for number, _ in rows[1:]],
        columns=range(len(header)),
        dtype=object,
    )

    # columns without a name are left out if nothing is in them
    nameless = [i for i, name in enumerate(header) if not name]
    for i in nameless:
        filled = table.index[~table[i].map(is_blank)]
        if len(filled):
            raise ValueError(
                f"{key}={path}: column {i + 1} has no name in row {header_number}, but"
                f" {table.at[filled[0], i]!r} in row {filled[0] + 2}; write a name above it"
            )
    table = table.drop(columns=nameless).rename(columns=dict(enumerate(header)))
    twice = list(table.columns[table.columns.duplicated()])
    if twice:
        raise ValueError(
            f"{key}={path}: two columns are called {twice[0]!r}; give each a name of its own"
        )
    return table


def _decode(key: str, path: Path, data: bytes) -> str:
    """The text of a UTF-8 file; an error that says which other encoding it may have."""
    refusal = f"{key}={path}: not a UTF-8 CSV file:"
    if data[:4] == b"PK\x03\x04":
        raise ValueError(
            f"{refusal} it is an Excel workbook or another ZIP file; save it as 'CSV UTF-8'"
        )
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


def other_comma(columns: list[str]) -> str:
    """A hint where the file's columns are separated by something other than commas."""
    name = str(columns[0]) if len(columns) else ""
    if len(columns) != 1 or not re.search("[;\t|]", name):
        return ""
    return f". Its only column is {name!r}: save it with commas"
