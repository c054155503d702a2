"""Matplotlib's own settings while this package draws, whatever a person has set for other work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import matplotlib


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Draw with Matplotlib's defaults; afterwards the person's own settings hold again.

    A `matplotlibrc` may ask for LaTeX, for another size or for white letters. Text is text: `$` in
    a task's name does not start a formula.

    Examples
    --------
    Every function that draws or saves a figure is decorated with it:

    >>> import matplotlib
    >>> from rahelpers.display.style import plain_style
    >>> matplotlib.rcParams["font.size"] = 30
    >>> @plain_style()
    ... def size():
    ...     return matplotlib.rcParams["font.size"]
    >>> size(), matplotlib.rcParams["font.size"]
    (10.0, 30.0)
    >>> matplotlib.rcParams["font.size"] = 10
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        yield
