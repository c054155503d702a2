"""A progress bar for long loops; short ones print nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
QUIET_SECONDS = 10  # a notebook whose loop is shorter than this stores no bar


def show_progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and print how far the loop is, at most every ten seconds.

    Parameters
    ----------
    items : iterable
    what : str
        What the loop does; shown in front of the bar.
    total : int, optional
        Number of items, where `items` has no length.

    Returns
    -------
    iterator
        Of the same items.
    """
    bar = tqdm(
        items,
        desc=what,
        total=total,
        delay=QUIET_SECONDS,
        mininterval=QUIET_SECONDS,
        file=sys.stdout,  # not stderr, where nbval takes any line for a fault
        ascii=True,
    )
    return iter(bar)
