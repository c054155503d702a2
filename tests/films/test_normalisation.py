"""Finding, cropping and turning hands, and the way back onto the film."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.films.normalisation import (
    Placement,
    find_hand,
    find_turn,
    fit_to_square,
    normalise_intensity,
    to_network_input,
)
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.reading import read_radiograph
from rahelpers.phantom import make_patient, render

WAYS = [(turns, mirror) for turns in range(4) for mirror in (False, True)]


@pytest.fixture(scope="module")
def phantom_films():
    return [render(make_patient(31, i), "LR"[i % 2], 320) for i in range(8)]


@pytest.mark.parametrize(("turns", "mirror"), WAYS)
def test_points_and_boxes_come_back(turns, mirror):
    placement = Placement((5, 60, 10, 80), turns, mirror)
    _, geometry = fit_to_square(np.zeros((70, 90), np.float32), 64, placement)
    points = np.random.default_rng(0).uniform(0, 60, (20, 2))
    np.testing.assert_allclose(geometry.to_film(geometry.to_square(points)), points, atol=1e-9)
    boxes = np.array([[0.2, 0.3, 0.5, 0.7]])
    np.testing.assert_allclose(
        geometry.boxes_to_film(geometry.boxes_to_square(boxes)), boxes, atol=1e-9
    )


@pytest.mark.parametrize(("turns", "mirror"), WAYS)
def test_a_box_follows_its_pixels_and_a_map_comes_back_to_them(turns, mirror):
    """A bright block is where its box says in the square; mapped back, it is on the block again.

    Half a pixel may be lost by interpolation.
    """
    film = np.zeros((80, 120), np.float32)
    film[20:32, 40:64] = 1
    square, geometry = fit_to_square(film, 160, Placement((4, 76, 10, 110), turns, mirror))
    box = geometry.boxes_to_square(np.array([[40 / 120, 20 / 80, 64 / 120, 32 / 80]]))[0] * 160
    y, x = np.argwhere(square > 0.5).T
    np.testing.assert_allclose([x.min(), y.min(), x.max() + 1, y.max() + 1], box, atol=1.0)
    back = geometry.map_to_film(square)
    assert back.shape == film.shape
    y, x = np.argwhere(back > 0.5).T
    np.testing.assert_allclose(
        [x.min(), y.min(), x.max() + 1, y.max() + 1], [40, 20, 64, 32], atol=1
    )


def test_every_joint_of_the_phantom_stays_in_the_picture(phantom_films):
    for film in phantom_films:
        seen = to_network_input(Radiograph(film.image, film.spacing_mm, film.laterality), 128)
        corners = film.joints[["x0", "y0", "x1", "y1"]].to_numpy(dtype=float)
        boxes = seen.geometry.boxes_to_square(corners)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert ((middles > 0) & (middles < 1)).all()
        index, little = (film.joints["site"].eq(site).argmax() for site in ("MCP2", "MCP5"))
        assert middles[index, 0] > middles[little, 0], "every hand looks like a left one"


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_film_is_turned_back(phantom_films, turns):
    for film in phantom_films:
        upright = to_network_input(Radiograph(film.image), 96).image.astype(int)
        turned = to_network_input(Radiograph(np.ascontiguousarray(np.rot90(film.image, turns))), 96)
        assert turned.placement.quarter_turns == -turns % 4
        # the hand is looked for on a smaller film, whose rounding depends on how it is turned: a
        # shift of one pixel
        assert np.corrcoef(turned.image.ravel(), upright.ravel())[0, 1] > 0.97


def test_exposure_does_not_matter(phantom_films):
    image = phantom_films[0].image
    plain, dark = (to_network_input(Radiograph(i), 64) for i in (image, image * 0.4 + 0.1))
    assert np.abs(plain.image.astype(int) - dark.image.astype(int)).max() <= 1


def test_an_inverted_film_becomes_bone_bright(phantom_films):
    for film in phantom_films:
        plain, negative = (
            to_network_input(Radiograph(image), 96) for image in (film.image, 1 - film.image)
        )
        assert (plain.inverted, negative.inverted) == (False, True)
        assert np.corrcoef(plain.image.ravel(), negative.image.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("frame", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_an_inverted_film_in_a_frame_becomes_bone_bright(phantom_films, real_films, share, frame):
    """A scanned film has a wide border, white or black, whose edge is not the hand's."""
    files = sorted((real_films / "images").glob("*.jpg"))[5:900:150]
    images = [film.image for film in phantom_films[:4]]
    images += [read_radiograph(file).image for file in files]
    right = 0
    for image in images:
        width = round(share * max(image.shape))
        framed = [
            np.pad(one, width, constant_values=np.float32(frame)) for one in (image, 1 - image)
        ]
        plain, negative = (to_network_input(Radiograph(one), 96) for one in framed)
        assert not plain.inverted
        right += negative.inverted
    assert right >= len(images) - 1


@pytest.mark.parametrize(
    ("name", "box"), [("3229", (115, 427, 3, 255)), ("3339", (127, 424, 164, 376))]
)
def test_the_hand_is_found_in_a_dark_field_on_a_bright_detector(real_films, name, box):
    """The unexposed part of the detector is stored bright.

    The boxes were checked by eye: hand and forearm inside the field.
    """
    seen = to_network_input(read_radiograph(real_films / "images" / f"{name}.jpg"), 96)
    assert seen.hand.contrast > 0.1
    np.testing.assert_allclose(seen.placement.box, box, atol=12)
    points = np.array([[200.0, 300.0]])
    np.testing.assert_allclose(
        seen.geometry.to_film(seen.geometry.to_square(points)), points, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(120, 100), (64, 48), (33, 32), (300, 200), (1, 50), (7, 500)])
def test_pictures_without_a_hand_neither_fail_nor_find_one(shape):
    """Ramps both ways, flat halves, a checkerboard: at any size that a film may have, and below."""
    ramp = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    checkerboard = (np.indices(shape).sum(axis=0) % 2).astype(np.float32)
    other_ramp = np.sort(ramp, axis=0)[:, ::-1]
    for image in (ramp, other_ramp, ramp.round(), checkerboard, np.zeros(shape, np.float32)):
        seen = to_network_input(Radiograph(np.ascontiguousarray(image)), 64)
        assert seen.image.shape == (64, 64) and np.isfinite(seen.hand.contrast)
        if min(shape) > 64:
            assert seen.hand.contrast < 0.1


def test_without_a_hand_the_whole_film_is_kept():
    ramp = np.linspace(0, 1, 60 * 90, dtype=np.float32).reshape(60, 90)
    seen = to_network_input(Radiograph(ramp), 64)
    assert seen.hand.contrast < 0.03 and seen.placement == Placement((0, 60, 0, 90))
    assert find_turn(np.zeros((20, 20), bool)) == (0, 0.0)


def test_a_thin_lesion_survives_being_fitted(phantom_films):
    film = phantom_films[0]
    seen = to_network_input(Radiograph(film.image, film.spacing_mm, film.laterality), 64)
    line = np.zeros(film.image.shape, bool)
    line[150:154, 100:200] = True
    assert seen.fit_mask(line).any() and not seen.fit_mask(~line).all()


def test_real_hands_are_found_upright_with_their_joints_in_the_picture(real_films):
    """20 films with expert boxes: each box's middle is in the crop, no upright film is turned."""
    boxes = pd.read_csv(real_films / "joint_boxes.csv", dtype={"image_id": str})
    assert boxes["image_id"].nunique() == 20
    for image_id, group in boxes.groupby("image_id"):
        film = read_radiograph(real_films / "images" / f"{image_id}.jpg")
        assert find_hand(normalise_intensity(film.image)).mask.mean() > 0.1
        seen = to_network_input(film, 128)
        square = seen.geometry.boxes_to_square(group[["x0", "y0", "x1", "y1"]].to_numpy())
        middles = (square[:, :2] + square[:, 2:]) / 2
        assert ((middles > 0) & (middles < 1)).all() and seen.placement.quarter_turns == 0
