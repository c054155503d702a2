"""The SvdH sites of a hand: their names, rays and places."""

from __future__ import annotations

import numpy as np
import pandas as pd

WRIST = ("Trapezium", "Scaphoid", "Lunate", "Radius", "Ulna", "STT", "SC", "SR")  # SvdH sites of the wrist that belong to no ray
# kind of joint, which is a site's name without the ray's number -> place
PLACES = {"MCP": "MCP joints", "PIP": "PIP and IP joints", "IP": "PIP and IP joints", "CMC": "wrist"} | dict.fromkeys(WRIST, "wrist")
NOWHERE = "no marked joint"


def name_site(mask: np.ndarray, joints: pd.DataFrame) -> str:
    """The joint at which a lesion lies: of the boxes that hold the lesion's middle, the one with the nearest middle.

    Parameters
    ----------
    mask : bool array (S, S)
        Not empty.
    joints : DataFrame
        Joint table of the film: site, x0, y0, x1, y1 as fractions. May be empty.

    Returns
    -------
    str
        A site, or 'no marked joint'.
    """
    y, x = ((np.mean(places) + 0.5) / mask.shape[0] for places in np.nonzero(mask))
    held = joints[joints["x0"].le(x) & joints["x1"].ge(x) & joints["y0"].le(y) & joints["y1"].ge(y)]
    if held.empty:
        return NOWHERE
    away = (held["x0"] + held["x1"] - 2 * x) ** 2 + (held["y0"] + held["y1"] - 2 * y) ** 2
    return str(held.loc[away.idxmin(), "site"])


RAYS = {f"ray {k}": (f"CMC{k}", f"MCP{k}", f"IP{k}", f"PIP{k}", f"DIP{k}") for k in range(1, 6)}
