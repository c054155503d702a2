"""Figures that several steps draw: a sheet of films, and a figure with nothing to show."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rahelpers.display.style import plain_style


@plain_style()
def make_axes(n: int, columns: int, cell: float = 2.4) -> tuple[Figure, list[Any]]:
    """Make a figure of at least `n` axes without ticks, `cell` inches wide, row by row."""
    rows = -(-n // columns)
    figure = Figure(figsize=(cell * columns, cell * 1.12 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


@plain_style()
def plot_films(
    images: np.ndarray,
    titles: list[str],
    title: str,
    lesions: np.ndarray | None = None,
    columns: int = 4,
) -> Figure:
    """Plot a sheet of films, with the outlines of their lesions where given.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    titles : list of str, length n
    title : str
        Of the whole sheet; names the source.
    lesions : bool array (n, S, S), optional
    columns : int

    Returns
    -------
    Figure
        Without a film, a sentence.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.display import plot_films
    >>> films = np.zeros((3, 32, 32), np.uint8)
    >>> sheet = plot_films(films, ["a", "b", "c"], "three black films", columns=2)
    >>> [axis.get_title() for axis in sheet.axes]
    ['a', 'b', 'c', '']
    """
    if not len(images):
        return say_in_figure("no such film", title)
    figure, axes = make_axes(len(images), columns)
    for i, (image, name) in enumerate(zip(images, titles, strict=True)):
        axes[i].imshow(image, cmap="gray", vmin=0, vmax=255)
        axes[i].set_title(name, fontsize=8)
        if lesions is not None and lesions[i].any():
            axes[i].contour(lesions[i], levels=[0.5], colors="#ffd21f", linewidths=0.8)
    figure.suptitle(title, fontsize=10)
    return figure


@plain_style()
def say_in_figure(words: str, title: str) -> Figure:
    """Make a figure that says in words that there is nothing to show."""
    figure = Figure(figsize=(4, 1), layout="constrained")
    figure.text(0.5, 0.5, words, ha="center", va="center")
    figure.suptitle(title, fontsize=10)
    return figure
