"""A result as A4 pages."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from rahelpers import __version__
from rahelpers.display.colours import AGAINST, FOR
from rahelpers.display.style import plain_style
from rahelpers.prediction.facts import (
    BANNER,
    explain_regions,
    list_facts,
    list_model_facts,
    list_regions,
    source_note,
)
from rahelpers.prediction.film import FilmResult
from rahelpers.prediction.pictures import overlay_on_film, regions_on_film

PAPER_MM = (210, 297)
SMALL = 8  # points


@plain_style()
def write_pdf(result: FilmResult) -> bytes:
    """Write A4 pages, with text that can be searched and copied.

    The first has banner, film, overlay, numbers, and facts of the model; a second one has the
    regions, if there are any.

    Raises
    ------
    ValueError
        If the file could not be read, so that there is no film to show.

    Examples
    --------
    >>> from rahelpers import answer_hand, load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import read_hands, write_pdf
    >>> patient, bundle = make_patient(3, 1), load_bundle(run.file("train", "bundle"))
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> hand = read_hands(file, "a.dcm", bundle.info)[0]
    >>> result = answer_hand(bundle, load_familiarity(bundle), hand)
    >>> write_pdf(result)[:4]
    b'%PDF'
    """
    result.require_hand()
    buffer = io.BytesIO()
    metadata = {
        "Title": f"{result.info['title']}: {result.name}",
        "Subject": BANNER,
        "Creator": f"rahelpers {__version__}",
    }
    # type 42 fonts: letters stay letters
    with rc_context({"pdf.fonttype": 42}), PdfPages(buffer, metadata=metadata) as pages:
        pages.savefig(_draw_first_page(result))
        if result.shap is not None:
            pages.savefig(_draw_region_page(result))
    return buffer.getvalue()


def _begin_page(result: FilmResult, headline: str) -> Figure:
    """A page with its banner, the source of the model, the film's name and a headline."""
    figure = Figure(figsize=(PAPER_MM[0] / 25.4, PAPER_MM[1] / 25.4))
    banner = figure.text(0.5, 0.975, BANNER, ha="center", va="top", color="white", fontsize=10)
    banner.set_fontweight("bold")
    banner.set_bbox({"facecolor": "#00204d", "edgecolor": "none", "pad": 6})
    if note := source_note(result.info):
        figure.text(0.5, 0.945, note, ha="center", va="top", fontsize=SMALL)
    figure.text(0.06, 0.925, _wrap(result.name, 80), va="top", fontsize=11, weight="bold")
    figure.text(0.06, 0.895, headline, va="top", fontsize=11)
    return figure


def _draw_first_page(result: FilmResult) -> Figure:
    figure = _begin_page(result, f"{result.info['title']}: {result.answer or result.status}")
    _draw_picture(figure, 0.06, "film as read", overlay_on_film(result, 0))
    if result.heatmap is not None:
        name = result.heatmap_name + (" (flat)" if result.flat else "")
        _draw_picture(figure, 0.51, name, overlay_on_film(result))
    facts = [*list_facts(result)[1:], ("", ""), *list_model_facts(result.info)]
    _write_rows(figure, facts, 0.5)
    return figure


def _draw_region_page(result: FilmResult) -> Figure:
    task = result.info["class_names"][1]
    figure = _begin_page(result, f"{result.info['title']}: regions that change the logit most")
    name = f"orange: for {task}, blue: against"
    _draw_picture(figure, 0.06, name, regions_on_film(result))

    # one bar per region, coloured by its sign
    names, values, errors = zip(*list_regions(result), strict=True)
    bars = figure.add_axes((0.68, 0.54, 0.26, 0.31))
    colours = [np.array(FOR if value > 0 else AGAINST) / 255 for value in values]
    bars.barh(names, values, xerr=errors, color=colours, error_kw={"lw": 0.8})
    bars.invert_yaxis()
    bars.axvline(0, color="black", lw=0.8)
    bars.set_xlabel("Shapley value and standard error, logits", fontsize=SMALL)
    bars.locator_params(axis="x", nbins=4)
    bars.tick_params(labelsize=SMALL)

    figure.text(0.06, 0.48, _wrap(explain_regions(result), 110), va="top", fontsize=SMALL)
    return figure


def _draw_picture(figure: Figure, left: float, name: str, picture: np.ndarray) -> None:
    axis = figure.add_axes((left, 0.52, 0.42, 0.33))
    axis.imshow(picture)
    axis.set_title(name, fontsize=SMALL)
    axis.set_axis_off()


def _write_rows(figure: Figure, rows: list[tuple[str, str]], top: float) -> None:
    """Write names and values in two columns, each wrapped; in smaller type if there are many."""
    wrapped = [(_wrap(name, 30), _wrap(value, 88)) for name, value in rows]
    heights = [max(name.count("\n"), value.count("\n")) + 1.35 for name, value in wrapped]
    step = min(0.0125, (top - 0.03) / sum(heights))
    for (name, value), height in zip(wrapped, heights, strict=True):
        figure.text(0.06, top, name, va="top", fontsize=560 * step, color="#444444")
        figure.text(0.3, top, value, va="top", fontsize=560 * step)
        top -= step * height


def _wrap(text: str, width: int) -> str:
    """Text in lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(text, width)) or text
