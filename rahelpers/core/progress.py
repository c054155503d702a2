"""A bar for loops that take long; short ones stay quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
QUIET_SECONDS = 10  # a notebook whose loop is shorter than this stores no bar


def show_progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Pass `items` on, and print how far the loop is, at most every ten seconds.

    Parameters
    ----------
    items : iterable
    what : str
        What the loop does, as the bar says it.
    total : int, optional
        Number of items, where `items` does not know it.

    Returns
    -------
    iterator
        To stdout, not stderr: `rahelpers run` passes it on to the terminal, and nbval takes any
        stderr for a fault.
    """
    return iter(
        tqdm(
            items,
            desc=what,
            total=total,
            delay=QUIET_SECONDS,
            mininterval=QUIET_SECONDS,
            file=sys.stdout,
            ascii=True,
        )
    )
