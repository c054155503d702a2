"""Bright marks next to the hand: a lead letter, a plate, a bright edge of the field."""

from __future__ import annotations

import numpy as np

# Of the grey range, above the air. Shrinking makes letters grey: 0.3 lost some on small films. 0.2
# finds no mark on 26 drawn films without one, 0.15 the grey rim of real films.
MARK_CONTRAST = 0.2


def find_marks(film: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Find what is clearly brighter than the air next to the hand.

    Parameters
    ----------
    film : float array (H, W) in [0, 1]
        Bone bright.
    outside : bool array (H, W)
        The part of the film to look in: next to the hand, inside the exposed field.

    Returns
    -------
    bool array (H, W)

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.films.marks import find_marks
    >>> film = np.full((8, 8), 0.1)
    >>> film[1:3, 1:3] = 0.9
    >>> int(find_marks(film, np.ones((8, 8), bool)).sum())
    4
    """
    if not outside.any():
        return np.zeros(film.shape, bool)
    return outside & (film > np.median(film[outside]) + MARK_CONTRAST)
