"""The sites of the SvdH score, and which one is at a point."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.films import EROSION_SITES, JSN_SITES, SITES
from rahelpers.films.sites import NOWHERE, PLACES, RAYS, WRIST, find_joint, name_site

# two boxes that overlap between x = 0.4 and 0.5
BOXES = pd.DataFrame(
    {"site": ["MCP2", "MCP3"], "x0": [0.1, 0.4], "x1": [0.5, 0.8], "y0": 0.2, "y1": 0.6}
)


def test_the_score_has_16_and_15_sites_and_each_has_one_place():
    assert (len(EROSION_SITES), len(JSN_SITES), len(SITES)) == (16, 15, 22)
    in_rays = {site for sites in RAYS.values() for site in sites}
    for site in SITES:
        assert (site in WRIST) != (site in in_rays), site
        assert PLACES[site if site in WRIST else site.rstrip("12345")]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.2, 0.3, ("MCP2", True)),
        (0.41, 0.5, ("MCP2", True)),  # in both boxes, nearer to the middle of the first
        (0.49, 0.5, ("MCP3", True)),
        (0.8, 0.6, ("MCP3", True)),  # a corner belongs to its box
        (0.81, 0.4, ("MCP3", False)),
        (0.0, 0.0, ("MCP2", False)),
    ],
)
def test_a_point_belongs_to_the_nearest_of_the_boxes_that_hold_it(x, y, expected):
    assert find_joint(x, y, BOXES) == expected


def test_a_lesion_is_named_by_its_middle():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 1:4] = True  # its middle is (0.25, 0.35)
    assert name_site(mask, BOXES) == "MCP2"
    assert name_site(mask[::-1], BOXES) == NOWHERE  # below both boxes
    assert name_site(mask, BOXES.iloc[:0]) == NOWHERE
