"""Spellings of names in tables: what two of them have in common, and what was made of each.

Two spellings of one name that pass as two names would put a patient into two splits, and a film
into the wrong class. They look the same on a screen, so a person has to be told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pandas as pd

from rahelpers.films.radiograph import MOST_NAME

MOST_EXAMPLES = 3  # in one message
QUOTES = "\"'`´‘’‚“”„«»‹›"
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # drawn as nothing, but not of kind Cf


def _without_invisible(text: str) -> str:
    """Without zero-width characters, byte order marks, variation selectors and the like."""
    return "".join(
        c
        for c in text
        if not (
            unicodedata.category(c) in ("Cf", "Cc")
            and not c.isspace()
            or c in FILLERS
            or "\ufe00" <= c <= "\ufe0f"
        )
    )


def _one_case(text: str) -> str:
    return text.casefold()


def _one_blank(text: str) -> str:
    return " ".join(text.split())


def _one_form(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _one_dash(text: str) -> str:
    dashed = "".join("-" if unicodedata.category(c) == "Pd" or c == "\u2212" else c for c in text)
    return dashed.strip().strip(QUOTES).strip()


def _one_number(text: str) -> str:
    """7 for 007, 7.0 and 7,0. An exponent stays: 1e5 may be a name, as 007 may be one."""
    found = re.fullmatch(r"([+-]?)0*(\d+)(?:[.,](\d*?)0*)?", text.strip(), re.ASCII)
    if not found:
        return text
    sign, whole, part = found.groups()
    return f"{sign.strip('+')}{whole}{'.' if part else ''}{part or ''}"


# What may differ between two spellings of one name, in words, and how to even it out.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "upper and lower case": _one_case,
    "blanks": _one_blank,
    "invisible characters": _without_invisible,
    "the Unicode form of a letter": _one_form,
    "dashes or quotation marks": _one_dash,
    "the way a number is written": _one_number,
}


def fold(text: str) -> str:
    """What all spellings of one name have in common; '' where there is nothing to be seen.

    Examples
    --------
    >>> from rahelpers.data.sources.spelling import fold
    >>> fold(" RA\\u200b") == fold("ra"), fold("007") == fold("7.0"), fold("\\ufeff\\u00a0")
    (True, True, '')
    """
    # the Unicode form twice: a letter in lower case can have another one
    for step in (_without_invisible, _one_form, _one_case, _one_form):
        text = step(text)
    return _one_number(_one_blank(_one_dash(_one_blank(text))))


def spell(name: str) -> str:
    """A name in one Unicode form, without invisible characters, and without blanks at its ends.

    For names of files: another system may have stored the same name in another form.
    """
    return unicodedata.normalize("NFC", _without_invisible(name)).strip()


def is_blank(text: str) -> bool:
    """Whether nothing can be seen in a cell."""
    return not _without_invisible(text).strip()


def find_twins(names: pd.Series, key: Callable[[str], str] = fold) -> list[str]:
    """Find names that are spelled in two ways.

    Parameters
    ----------
    names : Series of str
        Its index counts rows from 0, below the header; any other label of a row is quoted as it is.
    key : callable
        Gives the same text for all spellings of one name.

    Returns
    -------
    list of str
        One sentence per name, with two of its spellings, where they are, and how they differ.
    """
    spellings = names[names.map(lambda name: not is_blank(name))].drop_duplicates()
    found = []
    for _, group in spellings.groupby(spellings.map(key), sort=False):
        if len(group) > 1:
            (row, one), (other_row, other) = list(group.items())[:2]
            how = _difference(one, other)
            # letters that look the same are shown by their numbers
            show = (
                ascii
                if set(how) & {"invisible characters", "the Unicode form of a letter"}
                else repr
            )
            found.append(
                f"{show(one[:MOST_NAME])}{_place(row)} and {show(other[:MOST_NAME])}"
                f"{_place(other_row)} differ only in {' and '.join(how)}"
            )
    return found


def _place(row: object) -> str:
    return f" (row {row + 2})" if isinstance(row, int) else f" ({row})"


def _difference(one: str, other: str) -> list[str]:
    """In words, how two spellings of one name differ."""
    for words, step in DIFFERENCES.items():
        if step(one) == step(other):
            return [words]
    found = []
    for words, step in DIFFERENCES.items():
        after = step(one), step(other)
        if after != (one, other):
            found.append(words)
        one, other = after
        if one == other:
            break
    return found or ["spelling"]


def refuse_twins(what: str, names: pd.Series, key: Callable[[str], str] = fold) -> None:
    """Refuse names that are spelled in two ways.

    Raises
    ------
    ValueError
        With two spellings, their rows, and the number of other such names.
    """
    twins = find_twins(names, key)
    if twins:
        more = f" ({len(twins) - 1} more names are like that)" if len(twins) > 1 else ""
        raise ValueError(f"{what} {twins[0]}; use one spelling{more}")


def describe_changes(column: str, cells: pd.Series, meant: pd.Series) -> list[str]:
    """Say which cells of a column are not used as they stand, and what was made of them.

    Parameters
    ----------
    column : str
    cells : Series of str
    meant : Series of str
        What each cell counts as.

    Returns
    -------
    list of str
        One sentence, or none where every cell is used as it stands.
    """
    changed = cells.ne(meant) & ~cells.map(is_blank)
    if not changed.any():
        return []
    kinds = pd.DataFrame({"cell": cells[changed], "meant": meant[changed]}).value_counts(sort=True)
    said = [
        f"{cell[:MOST_NAME]!r} counts as {meaning[:MOST_NAME]} ({n} row{'s' * (n > 1)})"
        for (cell, meaning), n in kinds.iloc[:MOST_EXAMPLES].items()
    ]
    n_more = len(kinds) - MOST_EXAMPLES
    more = f", and {n_more} more spellings" if n_more > 0 else ""
    n = int(changed.sum())
    of_all = f"{n} of {len(cells)} {'cell is' if n == 1 else 'cells are'} not used as written"
    return [f"column {column}: {of_all}: {', '.join(said)}{more}"]
