"""The sheet of films, and the colours that figures share."""

import numpy as np
import pytest

from rahelpers.display import plot_films
from rahelpers.display.colours import AGAINST, FOR, LINES, SPLIT_STYLE
from rahelpers.display.figures import make_axes, say_in_figure

FILMS = np.zeros((3, 16, 16), np.uint8)
NAMES = ["a", "b", "c"]


def test_a_sheet_has_a_place_for_every_film_and_leaves_the_rest_blank():
    sheet = plot_films(FILMS, NAMES, "phantom", columns=2)
    assert sheet.get_suptitle() == "phantom"
    assert [axis.get_title() for axis in sheet.axes] == [*NAMES, ""]
    assert [len(axis.images) for axis in sheet.axes] == [1, 1, 1, 0]
    assert not any(axis.axison for axis in sheet.axes)


def test_films_are_shown_on_the_full_grey_scale_whatever_is_on_them():
    dark = plot_films(FILMS + 10, NAMES, "phantom").axes[0].images[0]
    assert dark.get_clim() == (0, 255) and dark.get_cmap().name == "gray"


def test_only_films_with_a_lesion_get_an_outline():
    lesions = np.zeros(FILMS.shape, bool)
    lesions[1, 4:8, 4:8] = True
    sheet = plot_films(FILMS, NAMES, "phantom", lesions)
    assert [len(axis.collections) for axis in sheet.axes[:3]] == [0, 1, 0]


def test_a_film_without_a_title_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        plot_films(FILMS, NAMES[:2], "phantom")


def test_a_figure_without_anything_to_show_says_so():
    figure = say_in_figure("no film has a finding", "phantom")
    assert [text.get_text() for text in figure.texts] == ["no film has a finding", "phantom"]


def test_axes_come_row_by_row():
    figure, axes = make_axes(5, columns=2, cell=2.0)
    assert len(axes) == 6 and figure.get_size_inches() == pytest.approx([4.0, 6.72])


def test_colour_is_never_the_only_signal():
    """Splits differ in their dash, lines in marker and dash; for and against differ as greys."""
    assert len({dash for _, dash in SPLIT_STYLE.values()}) == len(SPLIT_STYLE)
    assert len({marker for marker, _, _ in LINES}) == len({dash for _, dash, _ in LINES}) == 3
    luma = [np.dot(colour, (0.299, 0.587, 0.114)) for colour in (FOR, AGAINST)]
    assert abs(luma[0] - luma[1]) > 20
