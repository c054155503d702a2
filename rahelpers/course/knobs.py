"""Turn the knobs of the phantom: severity, one site, dose and pose; film, masks and joint-space
width follow.
"""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

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
        f" 60 (one hand). Joint-space width: {widths}. A pixel is {film.spacing_mm:.2f} mm."
    )
    return picture_html(
        figure_png(figure, dpi=170),
        "A phantom hand film twice; on the right its lesions are outlined",
        caption,
    )


def build_knobs(seed: int) -> widgets.Widget:
    """Sliders over `render_knobs`; each change draws the film again."""
    style, late = {"description_width": "130px"}, {"continuous_update": False}
    knobs = {
        "index": widgets.IntSlider(0, 0, 99, description="patient", style=style, **late),
        "severity": widgets.FloatSlider(
            0.6, min=0, max=1, step=0.05, description="severity", style=style, **late
        ),
        "duration": widgets.FloatSlider(
            8, min=0, max=30, step=0.5, description="years of RA", style=style, **late
        ),
        "site": widgets.Dropdown(
            options=list(EROSION_SITES), value="MCP2", description="site", style=style
        ),
        "grade": widgets.IntSlider(3, 0, 5, description="erosion there", style=style, **late),
        "dose": widgets.FloatLogSlider(
            2.5,
            min=-1,
            max=1,
            step=0.1,
            description="dose, µGy",
            style=style,
            readout_format=".2f",
            **late,
        ),
        "spread": widgets.FloatSlider(
            1.35, min=0.5, max=2.2, step=0.05, description="finger spread", style=style, **late
        ),
        "tilt": widgets.FloatSlider(
            0, min=-20, max=20, step=1, description="tilt, degrees", style=style, **late
        ),
        "visit": widgets.ToggleButtons(
            options=[("first visit", 0), ("two years later", 1)], description="visit", style=style
        ),
    }
    view = widgets.HTML()

    def draw(_: dict | None = None) -> None:
        view.value = describe_knobs(
            render_knobs(seed, **{name: knob.value for name, knob in knobs.items()})
        )

    for knob in knobs.values():
        knob.observe(draw, "value")
    draw()
    return widgets.VBox([*knobs.values(), view])
