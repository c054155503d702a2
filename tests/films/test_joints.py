"""Where joints are on a film that nobody marked.

Against the phantom's own joints, and against experts' boxes on real films.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rahelpers.explanation.regions import LOCATED, MARKED, make_regions
from rahelpers.films.joints import FINGERS, SIDE, find_fingers, load_places, locate_joints
from rahelpers.films.normalisation import to_network_input
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.reading import read_radiograph
from rahelpers.phantom import make_patient, render
from tests.benchmarks.joint_places import measure_places

CORNERS = ["x0", "y0", "x1", "y1"]


def drawn(number, side="L", mirror=True, size=256):
    """A phantom film as the network gets it, and its joints there."""
    film = render(make_patient(99, number), side, size)
    seen = to_network_input(Radiograph(film.image, film.spacing_mm, film.laterality), size, mirror)
    joints = film.joints.copy()
    joints[CORNERS] = seen.geometry.boxes_to_square(joints[CORNERS].to_numpy())
    return seen.image, joints


def middles(joints):
    table = joints.set_index("site")
    return pd.DataFrame(
        {"x": (table["x0"] + table["x1"]) / 2, "y": (table["y0"] + table["y1"]) / 2}
    )


def test_a_hand_is_found_where_its_proportions_say():
    """The error of a located joint is the difference between its and the mean proportions."""
    films = map(drawn, range(40))
    image, joints = next((i, j) for i, j in films if len(measure_places(i, j)) == len(j))
    found, own = locate_joints(image), measure_places(image, joints).set_index("site")
    places = load_places().set_index("site")
    assert not found.reason and set(found.joints["site"]) == set(places.index) == set(own.index)
    moved = middles(found.joints) - middles(joints)
    fingers = [site for site in moved.index if site.startswith(("MCP", "PIP"))]
    # in lengths of the finger
    fingers_found = find_fingers(image)
    length = np.hypot(*(fingers_found.tips - fingers_found.bases).T) / SIDE
    difference = (own[["u", "v"]] - places[["u", "v"]]).astype(float)
    for site in fingers:
        error = np.hypot(*moved.loc[site]) / length[FINGERS.index(site[-1])]
        assert error == pytest.approx(np.hypot(*difference.loc[site]), abs=0.01), site


def test_phantom_joints_are_found_or_not_answered():
    """Knuckles and finger joints are within a box width in the median.

    Where fingers are close together the outline says too little, and the locator must say so.
    """
    away, unanswered = [], 0
    for number in range(30):
        image, joints = drawn(number)
        found, boxes = locate_joints(image), joints.set_index("site")
        if found.reason:
            unanswered += 1
            continue
        distance = middles(found.joints) - middles(joints)
        widths = np.hypot(distance["x"], distance["y"]) / (boxes["x1"] - boxes["x0"])
        away.append(widths.filter(regex="^(MCP|PIP)").median())
    assert unanswered >= 5 and len(away) >= 8
    assert np.median(away) < 0.5 and max(away) < 1.0


def test_a_mirrored_hand_gets_mirrored_joints():
    compared = 0
    for number in range(12):
        image, _ = drawn(number)
        plain, turned = locate_joints(image), locate_joints(np.ascontiguousarray(image[:, ::-1]))
        if plain.reason or turned.reason:
            continue
        one, other = middles(plain.joints), middles(turned.joints)
        assert np.abs(one["x"] - (1 - other["x"])).median() < 0.02, number
        assert np.abs(one["y"] - other["y"]).median() < 0.02, number
        compared += 1
    assert compared >= 3


def test_what_is_not_a_spread_hand_has_a_reason():
    blank = np.zeros((128, 128), np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, blank.shape, dtype=np.uint8)
    y, x = np.mgrid[:128, :128] - 64
    disc = np.uint8(180 * (x**2 + y**2 < 1600))
    for image in (blank, noise, disc):
        found = locate_joints(image)
        assert found.reason and found.joints.empty
        assert list(found.joints.columns) == ["site", *CORNERS]
    regions = make_regions(disc, pd.DataFrame(columns=["site", *CORNERS]))
    assert "a program did not find them" in regions.origin and any(
        name.startswith("region ") for name in regions.names
    )


def test_regions_say_who_knows_the_joints():
    image, joints = drawn(3)
    assert make_regions(image, joints).origin == MARKED
    located = make_regions(image, joints.iloc[:0])
    assert located.origin == LOCATED and {"MCP2", "PIP3", "Radius"} <= set(located.names)


def test_real_joints_are_hit(real_films):
    """Experts' boxes on 20 children's hands.

    Two films get no answer, which counts as missed. A fall below these limits is a fault, not
    chance.
    """
    films = pd.read_csv(real_films / "manifest.csv")
    boxes = pd.read_csv(real_films / "joint_boxes.csv")
    kinds = {
        "MCP": [f"MCP{k}" for k in range(1, 6)],
        "PIP": ["IP1", *(f"PIP{k}" for k in range(2, 6))],
    }
    hits = {kind: [] for kind in kinds}
    for name, marked in boxes.groupby("image_id"):
        file = films.loc[films["image_id"] == name, "file"].iloc[0]
        seen = to_network_input(read_radiograph(real_films / "images" / Path(file).name), 320, True)
        found = middles(locate_joints(seen.image).joints)
        corners = seen.geometry.boxes_to_square(marked[CORNERS].to_numpy())
        for kind, (x0, y0, x1, y1) in zip(marked["joint"], corners, strict=True):
            if kind in kinds:
                points = found.reindex(kinds[kind])  # a film without an answer is a miss
                hits[kind].append(((points >= [x0, y0]) & (points <= [x1, y1])).all(axis=1).any())
    assert len(hits["MCP"]) == len(hits["PIP"]) == 100
    assert np.mean(hits["MCP"]) >= 0.55 and np.mean(hits["PIP"]) >= 0.65
