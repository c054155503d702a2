"""The baseline: the film that shows through where a region is hidden.

Every explanation that hides something asks "compared with what?". A baseline that the network calls
positive answers a strange question, so each run states what the network says of its baselines.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd

from rahelpers.explanation.regions import BACKGROUND, BONE, SOFT, Regions
from rahelpers.films.normalisation import foreground
from rahelpers.films.patches import find_box

SHAP_BASELINES = ("healthy", "inpaint", "blur", "mean", "black")


def choose_baseline(kind: str, joints: pd.DataFrame, patches: Mapping[str, np.ndarray]) -> str:
    """Choose the baseline of one film: 'inpaint' in place of 'healthy' where no site is known.

    Parameters
    ----------
    kind : str
        As configured (`shap_baseline`).
    joints : DataFrame
        Joint table of the film.
    patches : mapping
        Mean patches of healthy hands (`Bundle.healthy_patches`).

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.explanation import choose_baseline
    >>> choose_baseline("healthy", pd.DataFrame({"site": []}), {})
    'inpaint'
    """
    return "inpaint" if kind == "healthy" and not set(joints["site"]) & set(patches) else kind


def make_baseline(
    image: np.ndarray,
    kind: str,
    regions: Regions | None = None,
    joints: pd.DataFrame | None = None,
    patches: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Make the baseline of a film.

    Parameters
    ----------
    image : uint8 array (S, S)
    kind : {'healthy', 'inpaint', 'blur', 'mean', 'black'}
        'healthy': each site as it looks on average in healthy hands, on the grey scale of this
        film; elsewhere the film without detail. 'inpaint': each region is filled from its rim
        (Telea 2004), the background with air. 'blur': the film without detail. 'mean': the mean
        grey of the hand. 'black': nothing.
    regions : Regions, optional
        Needed for 'inpaint'.
    joints : DataFrame, optional
        Joint table of the film; needed for 'healthy'.
    patches : mapping, optional
        Site -> float array, as `Bundle.healthy_patches` has them; needed for 'healthy'.

    Returns
    -------
    uint8 array (S, S)

    Raises
    ------
    ValueError
        If the kind is unknown, something that it needs is missing, no site of the film has a patch,
        or the film is not uint8 (OpenCV would truncate values in [0, 1] to 0: a black film, and no
        error).

    Examples
    --------
    >>> from rahelpers.explanation import make_baseline
    >>> film = np.zeros((32, 32), np.uint8)
    >>> film[8:24, 8:24] = 200
    >>> {kind: int(make_baseline(film, kind)[8, 8]) for kind in ("blur", "black")}
    {'blur': 72, 'black': 0}

    A narrowed joint gets the joint space of a healthy one:

    >>> box = pd.DataFrame({"site": ["MCP2"], "x0": [0.2], "y0": [0.2], "x1": [0.8], "y1": [0.8]})
    >>> gap = np.full((24, 24), 120, np.float32)
    >>> gap[11:13] -= 60
    >>> narrowed = np.full((48, 48), 200, np.uint8)
    >>> hidden = make_baseline(narrowed, "healthy", joints=box, patches={"MCP2": gap})
    >>> hidden[[12, 23], 24].tolist()
    [205, 145]
    """
    if image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype}: expected uint8, 0 to 255")
    if kind == "mean":
        return np.full_like(image, int(image[foreground(image)].mean()))
    if kind == "black":
        return np.zeros_like(image)
    blurred = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    if kind == "blur":
        return blurred
    if kind == "inpaint":
        if regions is None:
            raise ValueError("regions=None: baseline='inpaint' needs the regions that it fills")
        return _inpaint(image, blurred, regions)
    if kind == "healthy":
        if joints is None or patches is None:
            raise ValueError("baseline='healthy' needs the joints of the film and mean patches")
        return _show_healthy_sites(image, blurred, joints, patches)
    raise ValueError(f"baseline={kind!r}: expected {', '.join(SHAP_BASELINES)}")


def _inpaint(image: np.ndarray, blurred: np.ndarray, regions: Regions) -> np.ndarray:
    hidden = blurred.copy()
    for k, name in enumerate(regions.names):
        inside = regions.labels == k
        if name == BACKGROUND:
            hidden[inside] = np.median(image[inside])
        elif name not in (BONE, SOFT):
            filled = cv2.inpaint(image, inside.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            hidden[inside] = filled[inside]
    return hidden


def _show_healthy_sites(
    image: np.ndarray, blurred: np.ndarray, joints: pd.DataFrame, patches: Mapping[str, np.ndarray]
) -> np.ndarray:
    known = [joint for joint in joints.itertuples() if joint.site in patches]
    if not known:
        raise ValueError(
            f"no site of this film ({', '.join(joints['site']) or 'it has no joints'}) is known"
            f" from healthy hands ({', '.join(patches) or 'their films have no joints'}): expected"
            " films with joints for both; baseline='inpaint' needs none"
        )
    hidden = blurred.copy()
    for joint in known:
        place = find_box(joint, image.shape[0])
        height, width = image[place].shape
        patch = cv2.resize(patches[joint.site], (width, height), interpolation=cv2.INTER_LINEAR)
        # only the pattern is replaced: a different exposure is not a disease
        scaled = (patch - patch.mean()) + image[place].mean()
        hidden[place] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return hidden
