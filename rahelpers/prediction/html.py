"""A result as one HTML page."""

from __future__ import annotations

import io

import numpy as np
from markupsafe import Markup
from PIL import Image

from rahelpers.display.html import picture_html
from rahelpers.display.pages import render_page
from rahelpers.prediction.facts import (
    explain_regions,
    list_facts,
    list_model_facts,
    list_regions,
    make_notice,
)
from rahelpers.prediction.film import FilmResult
from rahelpers.prediction.pictures import overlay_on_film, regions_on_film

WIDTH = "26rem"  # of the large pictures


def write_html(result: FilmResult) -> bytes:
    """Write a page that needs no other file.

    It shows film, overlay, numbers, similar training films, and facts of the model.

    Raises
    ------
    ValueError
        If the file could not be read, so that there is no film to show.

    Examples
    --------
    >>> from rahelpers import answer_hand, load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import read_hands, write_html
    >>> patient, bundle = make_patient(3, 1), load_bundle(run.file("train", "bundle"))
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> hand = read_hands(file, "a.dcm", bundle.info)[0]
    >>> result = answer_hand(bundle, load_familiarity(bundle), hand)
    >>> page = write_html(result).decode()
    >>> page.count("<img"), "Education and research only" in page
    (6, True)
    """
    result.require_hand()
    html = render_page(
        "film.html.j2",
        name=result.name,
        title=result.info["title"],
        banner=make_notice(result.info),
        answer=result.answer or result.status,
        pictures=_draw_pictures(result),
        similar=_draw_similar(result),
        facts=list_facts(result),
        regions=list_regions(result),
        region_words=explain_regions(result) if result.shap else "",
        model_facts=list_model_facts(result.info),
    )
    return html.encode("utf-8")


def _draw_pictures(result: FilmResult) -> list[Markup]:
    """The film, its heat map and its regions, as far as there are any."""
    film, alt = overlay_on_film(result, 0), f"Hand radiograph {result.name}, as read"
    pictures = [picture_html(_png(film), alt, "The film as read, bone bright.", WIDTH)]
    if result.heatmap is not None:
        alt = (
            "The heat map is flat"
            if result.flat
            else "The film under its heat map; yellow is the strongest evidence for the positive"
            " class"
        )
        caption = (
            f"{result.heatmap_name}. It shows what raised the logit, not where there is disease."
        )
        pictures.append(picture_html(_png(overlay_on_film(result)), alt, caption, WIDTH))
    if result.shap is not None:
        strongest = ", ".join(f"{name} {value:+.2g}" for name, value, _ in list_regions(result)[:3])
        alt = f"The film with its regions coloured; the strongest: {strongest}"
        caption = f"Orange is evidence for {result.info['class_names'][1]}, blue against it."
        pictures.append(picture_html(_png(regions_on_film(result)), alt, caption, WIDTH))
    return [Markup(picture) for picture in pictures]


def _draw_similar(result: FilmResult) -> list[Markup]:
    """The training films most similar to this one."""
    names, pictures = result.info["class_names"], []
    for film in result.similar:
        alt = f"Training film {film.image_id}, {names[film.label]}"
        caption = f"{names[film.label]}, distance {film.distance:.3f}, {film.image_id}"
        pictures.append(Markup(picture_html(_png(film.thumbnail), alt, caption, "96px")))
    return pictures


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
