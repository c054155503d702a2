"""Age, sex and side as people write them in tables.

A value that is not understood is reported with its row. It is never taken to mean 'not known'.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rahelpers.data.sources.spelling import MOST_EXAMPLES, describe_changes, fold

# Lower case, without a full stop at the end and without the word 'hand'. English, German, French,
# Spanish, Italian, Dutch.
SEX = {
    "F": (
        *("f", "w", "female", "woman", "girl", "weiblich", "weibl", "frau", "mädchen", "maedchen"),
        *("femme", "fille", "féminin", "feminin", "mujer", "femenino", "donna", "femmina"),
        *("femminile", "vrouw", "vrouwelijk"),
    ),
    "M": (
        *("m", "male", "man", "boy", "männlich", "maennlich", "männl", "mann", "junge", "homme"),
        *("garçon", "masculin", "hombre", "masculino", "uomo", "maschio", "maschile", "mannelijk"),
    ),
}
SIDE = {
    "L": ("l", "left", "lt", "li", "links", "linke", "linkes", "gauche", "izquierda", "sinistra"),
    "R": ("r", "right", "rt", "re", "rechts", "rechte", "rechtes", "droite", "derecha", "destra"),
    # not one side: every film is searched for a second hand anyway
    "": ("b", "both", "beide", "beidseits", "bds", "bilateral"),
}
NOT_KNOWN = (
    *("", "?", "-", "na", "n/a", "n.a", "n. a", "nan", "none", "null", "u", "unknown", "not known"),
    *("unbekannt", "k. a", "k.a", "keine angabe", "inconnu"),
)
# The manifest holds F, M or an empty cell, so a person who is neither has an empty cell there.
NEITHER = ("o", "other", "d", "divers", "x", "nonbinary", "non-binary")
MOST_YEARS = 120
PER_YEAR = {"": 1, "y": 1, "m": 12, "w": 52.18, "d": 365.25}  # letters as in DICOM


@dataclass(frozen=True)
class ReadColumn:
    """A column of age, sex or side as it was understood.

    Attributes
    ----------
    values : Series
        Sex: 'F', 'M' or ''. Side: 'L', 'R' or ''. Age: years as float, or NaN. A cell that was not
        understood has the value for 'not known'.
    unread : Series
        The cells that were not understood, with their own index.
    expected : str
        What such a cell may hold.
    """

    values: pd.Series
    unread: pd.Series
    expected: str

    def faults(self, column: str) -> list[str]:
        """One sentence per cell that was not understood.

        Rows are counted as a person counts them in the file: the header is row 1.
        """
        return [
            f"row {row + 2}, column {column}: {show_cell(value)}; expected {self.expected}"
            for row, value in self.unread.items()
        ]

    def changes(self, column: str, cells: pd.Series) -> list[str]:
        """What was made of the cells that are not used as they stand, in one sentence.

        Parameters
        ----------
        column : str
        cells : Series of str
            The column as it stands in the file.
        """
        meant = [_say(cell, value) for cell, value in zip(cells, self.values, strict=True)]
        return describe_changes(column, cells, pd.Series(meant, index=cells.index, dtype=object))

    def checked(self, column: str) -> pd.Series:
        """The values, if every cell was understood.

        Raises
        ------
        ValueError
            If a cell was not understood; names the first such rows and the number of the others.
        """
        if self.unread.empty:
            return self.values
        rows = ", ".join(
            f"row {row + 2} has {show_cell(value)}"
            for row, value in self.unread.iloc[:MOST_EXAMPLES].items()
        )
        n_more = len(self.unread) - MOST_EXAMPLES
        more = f", and {n_more} more rows are like that" if n_more > 0 else ""
        raise ValueError(f"column {column}: {rows}{more}; expected {self.expected}")


def read_sex(values: pd.Series) -> ReadColumn:
    """Read each cell as 'F', 'M' or '' (not known)."""
    return _read_words(
        values,
        SEX | {"": NEITHER},
        "F, M, or an empty cell where it is not known (words such as female, weiblich, männlich are"
        " understood; a code such as 1 or 2 is not: it means one thing in one table and another in"
        " the next)",
    )


def read_side(values: pd.Series) -> ReadColumn:
    """Read each cell as 'L', 'R' or '' (not known)."""
    return _read_words(
        values,
        SIDE,
        "L, R, or an empty cell where it is not known (words such as left, links, li, right,"
        " rechts, re are understood; a code such as 1 or 2 is not)",
    )


def read_ages(values: pd.Series) -> ReadColumn:
    """Read each cell as years: 63, 63.5, 63,5, or DICOM's 063Y and 018M; NaN where not known."""
    return _read(
        values,
        lambda word: np.nan if word in NOT_KNOWN else read_age(word),
        f"years from 0 to {MOST_YEARS} such as 63 or 063Y, or an empty cell",
        float,
    )


def read_age(value: object) -> float | None:
    """Age in years from '63', '63.5', '63,5', or DICOM's '063Y', '018M', '010W' and '003D'.

    None where the value is none of these, or above MOST_YEARS.
    """
    found = re.fullmatch(
        r"\s*(\d{1,3}(?:[.,]\d+)?)\s*([ymwd]?)\s*", str(value), re.IGNORECASE | re.ASCII
    )
    if not found:
        return None
    number, unit = found.groups()
    years = float(number.replace(",", ".")) / PER_YEAR[unit.lower()]
    return years if years <= MOST_YEARS else None


def show_cell(value: object) -> str:
    """A cell as a person sees it in the file; text in quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value) if isinstance(value, str) else str(value)


def _read_words(
    values: pd.Series, meanings: dict[str, tuple[str, ...]], expected: str
) -> ReadColumn:
    known = dict.fromkeys(NOT_KNOWN, "") | {
        word: code for code, words in meanings.items() for word in words
    }
    return _read(values, known.get, expected, str)


def _read(
    values: pd.Series, meaning: Callable[[str], object], expected: str, dtype: type
) -> ReadColumn:
    """Read each cell by `meaning`, which gets the tidied text and returns None for what it does not
    understand. A missing cell is not known.
    """
    meanings = {value: meaning(_tidy(value)) for value in values.dropna().unique()}
    found = values.map(lambda value: meaning("") if pd.isna(value) else meanings[value])
    lost = values.map(lambda value: not pd.isna(value) and meanings[value] is None).astype(bool)
    unread = values[lost]
    numbers = pd.to_numeric(values[found.ne(meaning("")) | lost], errors="coerce")
    if len(unread) and numbers.notna().all():  # a column of numbers: shown without quotes
        unread = numbers[lost]
    return ReadColumn(found.mask(lost, meaning("")).astype(dtype), unread, expected)


def _say(cell: str, value: object) -> str:
    """What a cell counts as, in words; the cell itself where it is used as it stands."""
    if value == "" or pd.isna(value):
        return "not known"
    if isinstance(value, float):
        return cell if cell.replace(".", "", 1).isdecimal() else f"{value:g}"
    return str(value)


def _tidy(value: object) -> str:
    word = fold(f"{value:g}" if isinstance(value, float) else str(value))
    return re.sub(r"[\s_-]*hand$", "", word).rstrip(".").strip()
