"""Turn the knobs of the phantom: severity, one site, dose and pose; film and lesions follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from ipywidgets import (
    HTML,
    Dropdown,
    FloatLogSlider,
    FloatSlider,
    IntSlider,
    ToggleButtons,
    VBox,
)

from rahelpers.display.figures import plot_films
from rahelpers.display.html import figure_png, picture_html
from rahelpers.films.sites import EROSION_SITES
from rahelpers.phantom import PhantomFilm
from rahelpers.phantom.knobs import render_knobs

WATCHED = ("MCP2", "MCP3", "PIP3", "SR")  # joints whose width is shown


def describe_knobs(film: PhantomFilm) -> str:
    """The film with its lesions outlined, and the numbers behind it, as HTML."""
    figure = plot_films(
        (film.image[None].repeat(2, axis=0) * 255).astype(np.uint8),
        ["the film", "its lesions"],
        "RA (phantom)",
        np.stack([np.zeros_like(film.lesion_mask), film.lesion_mask]),
        columns=2,
    )
    sites = film.joints.set_index("site")
    widths = ", ".join(f"{name} {sites.loc[name, 'jsw_mm']:.1f} mm" for name in WATCHED)
    caption = (
        f"Erosion score {int(sites['erosion'].sum())} of 80, JSN score {int(sites['jsn'].sum())} of"
        f" 60 (one hand). Joint-space width: {widths}. One pixel is {film.spacing_mm:.2f} mm."
    )
    alt = "A phantom hand film twice; on the right its lesions are outlined"
    return picture_html(figure_png(figure, dpi=170), alt, caption)


def build_knobs(seed: int) -> VBox:
    """Build sliders over `rahelpers.phantom.render_knobs`; each change redraws the film.

    Examples
    --------
    >>> from rahelpers import course
    >>> *knobs, view = course.build_knobs(seed=7).children
    >>> [knob.description for knob in knobs][:3]
    ['patient', 'severity', 'years of RA']
    >>> "Erosion score" in view.value
    True
    """
    style = {"style": {"description_width": "130px"}}
    late = style | {"continuous_update": False}  # redraw when the slider is released
    visits = [("first visit", 0), ("two years later", 1)]
    knobs = {
        "index": IntSlider(0, 0, 99, description="patient", **late),
        "severity": FloatSlider(0.6, min=0, max=1, step=0.05, description="severity", **late),
        "duration": FloatSlider(8, min=0, max=30, step=0.5, description="years of RA", **late),
        "site": Dropdown(options=list(EROSION_SITES), value="MCP2", description="site", **style),
        "grade": IntSlider(3, 0, 5, description="erosion there", **late),
        "dose": FloatLogSlider(
            2.5, min=-1, max=1, step=0.1, description="dose, µGy", readout_format=".2f", **late
        ),
        "spread": FloatSlider(
            1.35, min=0.5, max=2.2, step=0.05, description="finger spread", **late
        ),
        "tilt": FloatSlider(0, min=-20, max=20, step=1, description="tilt, degrees", **late),
        "visit": ToggleButtons(options=visits, description="visit", **style),
    }
    view = HTML()

    def draw(_: Any = None) -> None:
        values = {name: knob.value for name, knob in knobs.items()}
        view.value = describe_knobs(render_knobs(seed, **values))

    for knob in knobs.values():
        knob.observe(draw, "value")
    draw()
    return VBox([*knobs.values(), view])
