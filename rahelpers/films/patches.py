"""What a site looks like on average: small patches around joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

PATCH = 24  # pixels: side of a mean patch
# of a site, for a mean patch: a mean of few films would show a person
FEWEST_FILMS = 5


def compute_mean_patches(
    images: np.ndarray, joints: Sequence[pd.DataFrame]
) -> dict[str, np.ndarray]:
    """Compute the mean patch of each site over hands, such as the healthy ones.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    joints : sequence of DataFrame, length n
        The joint table of each film.

    Returns
    -------
    dict
        Site -> float32 array (24, 24), grey from 0 to 255. Sites on fewer than five films are left
        out.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from rahelpers.films import compute_mean_patches
    >>> films = np.stack([np.full((48, 48), grey, np.uint8) for grey in (100, 110, 120, 130, 140)])
    >>> box = pd.DataFrame({"site": ["MCP2"], "x0": [0.2], "y0": [0.2], "x1": [0.8], "y1": [0.8]})
    >>> patches = compute_mean_patches(films, 5 * [box])
    >>> patches["MCP2"].shape, float(patches["MCP2"].mean())
    ((24, 24), 120.0)
    """
    patches: dict[str, list[np.ndarray]] = {}
    for image, table in zip(images, joints, strict=True):
        for joint in table.itertuples():
            seen = image[find_box(joint, image.shape[0])].astype(np.float32)
            patch = cv2.resize(seen, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
            patches.setdefault(joint.site, []).append(patch)
    return {s: np.mean(found, axis=0) for s, found in patches.items() if len(found) >= FEWEST_FILMS}


def find_box(joint: Any, side: int) -> tuple[slice, slice]:
    """Find the pixels of the box of a joint (a row of the joint table), two or more a side."""

    def pixels(start: float, stop: float) -> slice:
        first = int(np.clip(start * side, 0, side - 2))
        return slice(first, max(round(stop * side), first + 2))

    return pixels(joint.y0, joint.y1), pixels(joint.x0, joint.x1)
