"""Figures look the same with any matplotlibrc, and a name is never a formula."""

import inspect
from importlib import import_module

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from rahelpers.display.figures import plot_films
from rahelpers.display.html import figure_png
from rahelpers.display.style import plain_style

PACKAGES = ("curation", "training", "evaluation", "explanation", "display")
THEIRS = {
    "text.usetex": True,  # LaTeX is not installed
    "font.size": 40,
    "figure.facecolor": "black",
    "savefig.transparent": True,
    "savefig.bbox": "standard",
    "image.cmap": "jet",
    "image.origin": "lower",
    "axes.formatter.use_locale": True,
}
NAMES = ("$", "$a$", r"$\frac$", "a_b^c $ 5 $ {x}", r"\alpha {", "<b>&amp;", "a\nb", "90 %")


def draw() -> bytes:
    film = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    return figure_png(plot_films(film[None], ["film"], "RA (phantom)"))


def test_a_persons_matplotlibrc_changes_no_figure():
    expected = draw()
    with matplotlib.rc_context(THEIRS):
        assert draw() == expected
        assert matplotlib.rcParams["font.size"] == 40, "their own figures keep their settings"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_and_no_formula(name):
    assert figure_png(plot_films(np.zeros((1, 8, 8), np.uint8), [name], name))[:4] == b"\x89PNG"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_function_that_draws_is_in_plain_style(package):
    """Decorated: without it, their font size would be in the figure."""
    module = import_module(f"rahelpers.{package}.figures")
    own = [f for n, f in vars(module).items() if n.startswith("plot_") and callable(f)]
    drawing = [f for f in own if inspect.signature(f).return_annotation == "Figure"]
    assert drawing and all(hasattr(f, "__wrapped__") for f in drawing)


def test_the_style_ends_with_an_error():
    with matplotlib.rc_context({"font.size": 31}):
        with pytest.raises(ZeroDivisionError), plain_style():
            raise ZeroDivisionError
        assert matplotlib.rcParams["font.size"] == 31
    assert isinstance(Figure(), Figure)
