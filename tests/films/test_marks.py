"""Bright marks next to the hand: the one rule that quality control, probes and regions share."""

import numpy as np
import pytest

from rahelpers.films.marks import MARK_CONTRAST, find_marks

AIR = 0.125  # so that AIR + MARK_CONTRAST can be compared without a rounding error


def make_film() -> tuple[np.ndarray, np.ndarray]:
    """Air with a hand in the right half, and the part of the film outside the hand."""
    film, outside = np.full((20, 40), AIR), np.ones((20, 40), bool)
    film[:, 20:], outside[:, 20:] = 0.9, False
    return film, outside


def test_a_plate_is_found_and_the_hand_is_not():
    film, outside = make_film()
    film[2:6, 3:8] = 1.0
    expected = np.zeros(film.shape, bool)
    expected[2:6, 3:8] = True
    np.testing.assert_array_equal(find_marks(film, outside), expected)


@pytest.mark.parametrize(
    ("above", "is_mark"), [(-1e-6, False), (0.0, False), (1e-6, True)], ids=["below", "at", "above"]
)
def test_the_threshold_is_a_contrast_above_the_air(above, is_mark):
    film, outside = make_film()
    film[3, 3] = AIR + MARK_CONTRAST + above
    assert find_marks(film, outside)[3, 3] == is_mark


def test_the_air_is_the_median_so_marks_and_darker_air_do_not_move_the_threshold():
    film, outside = make_film()
    film[:9, :20] = 1.0  # a plate on 45 % of what is outside the hand
    film[10, :20] = 0.0
    np.testing.assert_array_equal(find_marks(film, outside), outside & (film == 1.0))


def test_an_edge_of_the_field_as_bright_as_everything_else_is_not_a_mark():
    film, outside = make_film()
    assert not find_marks(film, outside).any()
    assert not find_marks(np.full(film.shape, 0.9), outside).any()


def test_an_empty_region_has_no_marks():
    film, outside = make_film()
    found = find_marks(film, np.zeros_like(outside))
    assert found.shape == film.shape and found.dtype == bool and not found.any()
