"""The SvdH sites of a hand: names, rays and places, and which one is at a point.

One hand has 16 sites scored for erosion and 15 for joint-space narrowing (JSN), 22 in all
(van der Heijde, J Rheumatol 2000;27:261).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

_MCP = tuple(f"MCP{k}" for k in range(1, 6))
_PIP = tuple(f"PIP{k}" for k in range(2, 6))
EROSION_SITES = (*_MCP, *_PIP, "IP1", "CMC1", "Trapezium", "Scaphoid", "Lunate", "Radius", "Ulna")
JSN_SITES = (*_MCP, *_PIP, "CMC3", "CMC4", "CMC5", "STT", "SC", "SR")
SITES = tuple(dict.fromkeys([*EROSION_SITES, *JSN_SITES]))
# sites of the wrist that do not belong to a ray
WRIST = ("Trapezium", "Scaphoid", "Lunate", "Radius", "Ulna", "STT", "SC", "SR")
RAYS = {f"ray {k}": (f"CMC{k}", f"MCP{k}", f"IP{k}", f"PIP{k}", f"DIP{k}") for k in range(1, 6)}
# kind of joint (a site's name without the ray's number) -> place
PLACES = {
    "MCP": "MCP joints",
    "PIP": "PIP and IP joints",
    "IP": "PIP and IP joints",
    "CMC": "wrist",
} | dict.fromkeys(WRIST, "wrist")
NOWHERE = "no marked joint"


def find_joint(x: float, y: float, joints: pd.DataFrame) -> tuple[str, bool]:
    """Find the joint at a point: of the boxes that hold it, the one with the nearest middle.

    Parameters
    ----------
    x, y : float
        Fractions of the film's width and height.
    joints : DataFrame
        Joint table of the film: site, x0, y0, x1, y1 as fractions. Not empty.

    Returns
    -------
    site : str
        Where no box holds the point, the joint with the nearest middle.
    inside : bool
        Whether its box holds the point.

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.films.sites import find_joint
    >>> joints = pd.DataFrame({"site": ["MCP2", "MCP3"], "x0": [0.2, 0.4], "x1": [0.4, 0.6],
    ...                        "y0": [0.5, 0.5], "y1": [0.6, 0.6]})
    >>> find_joint(0.35, 0.55, joints), find_joint(0.9, 0.55, joints)
    (('MCP2', True), ('MCP3', False))
    """
    held = joints[joints["x0"].le(x) & joints["x1"].ge(x) & joints["y0"].le(y) & joints["y1"].ge(y)]
    near = joints if held.empty else held
    away = (near["x0"] + near["x1"] - 2 * x) ** 2 + (near["y0"] + near["y1"] - 2 * y) ** 2
    return str(near.loc[away.idxmin(), "site"]), not held.empty


def name_site(mask: np.ndarray, joints: pd.DataFrame) -> str:
    """Name the joint at the middle of a lesion.

    Parameters
    ----------
    mask : bool array (S, S)
        Not empty.
    joints : DataFrame
        Joint table of the film, as `find_joint` takes it. May be empty.

    Returns
    -------
    str
        A site, or 'no marked joint' where no box holds the middle.
    """
    y, x = ((np.mean(places) + 0.5) / mask.shape[0] for places in np.nonzero(mask))
    site, inside = find_joint(x, y, joints) if len(joints) else (NOWHERE, False)
    return site if inside else NOWHERE
