"""A result to take away: HTML page, PDF page, JSON, and a DICOM Secondary Capture of the overlay.
Each `write_*` gives bytes.

None of them holds anything about a person beyond the film itself. All say that they are for
education and research only.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from PIL import Image

from rahelpers import __version__
from rahelpers.display.colours import AGAINST, FOR
from rahelpers.display.html import picture_html
from rahelpers.display.pages import render_page
from rahelpers.prediction.film import FilmResult, to_row

BANNER = "Education and research only. Not for diagnosis or treatment."
NOT_CLINICAL = "NOT FOR CLINICAL USE"
LONGEST = 1024  # pixels of the long side of a picture in a report
OPACITY = 0.6  # of the hottest place
MOST_REGIONS = 12  # that are listed
SC_SERIES_NUMBER = 9001  # far from a modality's own
PAPER_MM = (210, 297)


def file_stem(result: FilmResult) -> str:
    """A name for a result's files: letters, digits, dot, dash and underscore; where that changes
    the film's own, its hash keeps two films apart.
    """
    name = f"{result.file}-{result.place}" if result.place else result.file
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")
    return (
        plain
        if plain and plain == name
        else f"{plain or 'film'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


# ---- what is said


def list_facts(result: FilmResult) -> list[tuple[str, str]]:
    """The result in words, one fact a row: what, and its value."""
    info, hand, distribution = result.info, result.hand, result.distribution
    point, task = info["operating_point"], info["class_names"][1]
    facts = [
        ("file", result.name),
        ("model", info["title"]),
        ("status", result.status),
        *(("why", reason) for reason in result.reasons),
    ]
    if result.probability is not None:
        side = "at or above" if result.positive else "below"
        facts += [
            (f"probability of {task}, calibrated", f"{result.probability:.1%}"),
            ("call at the operating point", f"{result.call}: {side} {point['probability']:.1%}"),
            ("conformal answer", f"{result.answer} (alpha {info['conformal']['alpha']:g})"),
        ]
    if distribution is not None:
        facts.append(
            (
                "distance from the training films",
                (
                    f"{distribution.score:.2f}, limit {distribution.threshold:.2f}:"
                    f" {distribution.words}"
                ),
            )
        )
    if hand is not None:
        height, width = hand.film.image.shape
        spacing = (
            f"{hand.film.spacing_mm:.3g} mm a pixel"
            if hand.film.spacing_mm
            else "size of a pixel not known"
        )
        facts += [
            (
                "film as read",
                f"{width} x {height} pixels, {spacing}, {hand.film.provenance.format or 'no file'}",
            ),
            ("side", {"L": "left", "R": "right"}.get(hand.film.laterality, "not known")),
        ]
        facts += [("look at", note) for note in hand.notes]
    if result.heatmap is not None:
        facts.append(
            (
                "heat map",
                result.heatmap_name
                + ("; it is flat: no place speaks for the positive class" if result.flat else ""),
            )
        )
    return facts


def list_regions(result: FilmResult) -> list[tuple[str, float, float]]:
    """The regions that move the answer most, the strongest first: name, Shapley value and its
    standard error, in logits. Empty where nobody asked.
    """
    if result.shap is None:
        return []
    order = np.argsort(-np.abs(result.shap.values), kind="stable")[:MOST_REGIONS]
    return [
        (result.shap.names[i], float(result.shap.values[i]), float(result.shap.standard_error[i]))
        for i in order
    ]


def say_regions(result: FilmResult) -> str:
    """What the values are, in words."""
    shap = result.shap
    return (
        f"Shapley values of {len(shap.names)} regions ({result.regions.origin}), in logits, with"
        f" standard errors. With every region hidden the logit is {shap.base_value:+.3g}; all"
        f" values lead to {shap.logit:+.3g} (error {shap.additivity_error:.0e}). A value says what"
        " the network used, not what is ill."
    )


def list_model_facts(info: dict[str, Any]) -> list[tuple[str, str]]:
    """What a reader must know of the model, from `bundle.json`: the model card in short."""
    point, training = info["operating_point"], info["training"]
    conformal = info["conformal"]
    return [
        (
            "trained on",
            (
                f"{training['films']} films of {training['patients']} patients,"
                f" {training['positive_films']} positive; source {info['source']}"
            ),
        ),
        (
            "network",
            (
                f"{info['architecture']}, {training['parameters']:,} parameters, input"
                f" {info['image_size']} x {info['image_size']} pixels"
            ),
        ),
        ("preprocessing", info["preprocessing"]),
        (
            "operating point",
            (
                f"{point['probability']:.3f}: {point['rule']}, chosen on {point['films_positive']}"
                f" positive and {point['films_negative']} negative {point['chosen_on']} films, with"
                f" sensitivity {point['sensitivity']:.0%} and specificity"
                f" {point['specificity']:.0%} there; on new films expect less"
            ),
        ),
        ("calibration", f"temperature {info['temperature']:.3g}, offset {info['offset']:.3g}"),
        (
            "conformal sets",
            (
                f"alpha {conformal['alpha']:g}, fitted on {conformal['patients_positive']} positive"
                f" and {conformal['patients_negative']} negative patients"
            ),
        ),
        ("model.keras, SHA-256", info["files"]["model.keras"]),
        (
            "versions",
            f"rahelpers {__version__}; trained with "
            + ", ".join(f"{k} {v}" for k, v in sorted(info["versions"].items())),
        ),
    ]


def _source_note(info: dict[str, Any]) -> str:
    return (
        " The model was trained on drawn films (the phantom): no figure is about patients."
        if info["source"] == "phantom"
        else ""
    )


# ---- pictures


def overlay_on_film(
    result: FilmResult, opacity: float = OPACITY, longest: int = LONGEST
) -> np.ndarray:
    """The film as it was read, under its heat map, carried back from the network's square.

    Parameters
    ----------
    result : FilmResult
        With a film; without a heat map, or with opacity 0, the film alone.
    opacity : float in [0, 1]
        Of the hottest place; cold places stay clear.
    longest : int
        A larger film is shrunk to so many pixels on its long side.

    Returns
    -------
    uint8 array (h, w, 3)
        RGB, bone bright.
    """
    film = _shrink_film(result, longest)
    if result.heatmap is None or not opacity:
        return _to_bytes(film)
    heat = np.clip(_carry_to_film(result, result.heatmap, film.shape), 0, 1)
    return _to_bytes(_lay_over(film, colormaps["cividis"](heat)[..., :3], opacity * heat))


def regions_on_film(
    result: FilmResult, opacity: float = OPACITY, longest: int = LONGEST
) -> np.ndarray:
    """The film as it was read, each region coloured by its Shapley value: orange speaks for the
    positive class, blue against it.

    Parameters
    ----------
    result : FilmResult
        With regions and their values.
    opacity : float in [0, 1]
        Of the strongest region.
    longest : int
        A larger film is shrunk to so many pixels on its long side.

    Returns
    -------
    uint8 array (h, w, 3)
        RGB, bone bright.
    """
    film, values = _shrink_film(result, longest), result.shap.values
    strength = (values / max(np.abs(values).max(), 1e-9))[result.regions.labels]
    carried = np.clip(_carry_to_film(result, strength, film.shape), -1, 1)
    colours = np.where(carried[..., None] > 0, FOR, AGAINST) / 255
    return _to_bytes(_lay_over(film, colours, opacity * np.abs(carried)))


def _shrink_film(result: FilmResult, longest: int) -> np.ndarray:
    """The film, float32 (h, w) in [0, 1], bone bright, with at most so many pixels on its long
    side.
    """
    film = 1 - result.hand.film.image if result.hand.seen.inverted else result.hand.film.image
    scale = min(1.0, longest / max(film.shape))
    size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
    return cv2.resize(np.ascontiguousarray(film, np.float32), size, interpolation=cv2.INTER_AREA)


def _carry_to_film(result: FilmResult, square: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map of the network's square on the film, shrunk as the film is."""
    return cv2.resize(
        result.hand.seen.geometry.map_to_film(square), shape[::-1], interpolation=cv2.INTER_AREA
    )


def _lay_over(film: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (1 - weight[..., None]) * film[..., None] + weight[..., None] * colours


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    grey = picture[..., None] if picture.ndim == 2 else picture
    return np.rint(255 * np.clip(np.broadcast_to(grey, (*picture.shape[:2], 3)), 0, 1)).astype(
        np.uint8
    )


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _require_film(result: FilmResult) -> None:
    if result.hand is None:
        raise ValueError(
            f"{result.file}: there is no film to show, it is {result.status}; expected a result"
            " with a film"
        )


# ---- files


def write_html(result: FilmResult) -> bytes:
    """A page that needs no other file: film, overlay, numbers, similar training films, facts of the
    model, versions.

    Raises
    ------
    ValueError
        If the file could not be read: there is no film to show.
    """
    _require_film(result)
    answer = result.answer or result.status
    pictures = [
        picture_html(
            _png(overlay_on_film(result, 0)),
            f"Hand radiograph {result.name}, as read",
            "The film as read, bone bright.",
            "26rem",
        )
    ]
    if result.heatmap is not None:
        alt = (
            "The heat map is flat"
            if result.flat
            else (
                "The film under its heat map; yellow where the evidence for the positive class is"
                " strongest"
            )
        )
        caption = f"{result.heatmap_name}. It shows what raised the answer, not where disease is."
        pictures.append(picture_html(_png(overlay_on_film(result)), alt, caption, "26rem"))
    if result.shap is not None:
        strongest = ", ".join(f"{name} {value:+.2g}" for name, value, _ in list_regions(result)[:3])
        caption = f"Orange speaks for {result.info['class_names'][1]}, blue against it."
        pictures.append(
            picture_html(
                _png(regions_on_film(result)),
                f"The film with its regions coloured; the strongest: {strongest}",
                caption,
                "26rem",
            )
        )
    names = result.info["class_names"]
    similar = [
        picture_html(
            _png(film.thumbnail),
            f"Training film {film.image_id}, {names[film.label]}",
            f"{names[film.label]}, distance {film.distance:.3f}, {film.image_id}",
            "96px",
        )
        for film in result.similar
    ]
    html = render_page(
        "film.html.j2",
        name=result.name,
        title=result.info["title"],
        banner=BANNER + _source_note(result.info),
        answer=answer,
        pictures=[Markup(p) for p in pictures],
        similar=[Markup(s) for s in similar],
        facts=list_facts(result),
        regions=list_regions(result),
        region_words=say_regions(result) if result.shap else "",
        model_facts=list_model_facts(result.info),
    )
    return html.encode("utf-8")


def write_json(result: FilmResult) -> bytes:
    """Everything of a result that is a number or a word, for researchers; also of a film that could
    not be read. No picture, no DICOM identifier.
    """
    hand, distribution = result.hand, result.distribution
    content = to_row(result) | {
        "reasons": list(result.reasons),
        "checks": (
            [
                {
                    "check": f.check,
                    "action": f.action,
                    "value": float(f.value),
                    "limit": float(f.limit),
                    "words": f.words,
                }
                for f in hand.findings
            ]
            if hand
            else []
        ),
        "notes": list(hand.notes) if hand else [],
        "film": (
            {
                "width": hand.film.image.shape[1],
                "height": hand.film.image.shape[0],
                "format": hand.film.provenance.format,
                "bits_stored": hand.film.provenance.bits_stored,
                "inverted": bool(hand.seen.inverted),
                "quarter_turns": int(hand.seen.placement.quarter_turns),
                "mirrored": bool(hand.seen.placement.mirror),
            }
            if hand
            else None
        ),
        "distribution": (
            {
                "score": distribution.score,
                "threshold": distribution.threshold,
                "unlike": distribution.unlike,
                "words": distribution.words,
            }
            if distribution
            else None
        ),
        "similar": [
            {"image_id": f.image_id, "label": f.label, "distance": f.distance}
            for f in result.similar
        ],
        "heatmap": result.heatmap_name or None,
        "heatmap_flat": result.flat if result.heatmap is not None else None,
        "regions": (
            {
                "origin": result.regions.origin,
                "base_value": result.shap.base_value,
                "logit": result.shap.logit,
                "additivity_error": result.shap.additivity_error,
                "evaluations": result.shap.evaluations,
                "values": [
                    {"region": n, "shapley": float(v), "standard_error": float(e), "owen": float(o)}
                    for n, v, e, o in zip(
                        result.shap.names,
                        result.shap.values,
                        result.shap.standard_error,
                        result.shap.owen,
                        strict=True,
                    )
                ],
            }
            if result.shap
            else None
        ),
        "class_names": result.info["class_names"],
        "source_of_training": result.info["source"],
        "notice": BANNER + _source_note(result.info),
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def write_pdf(result: FilmResult) -> bytes:
    """A4: banner, film and overlay, numbers, facts of the model; regions on a second page. Its text
    can be searched and copied.

    Raises
    ------
    ValueError
        If the file could not be read: there is no film to show.
    """
    _require_film(result)
    buffer = io.BytesIO()
    with (
        rc_context({"pdf.fonttype": 42}),
        PdfPages(
            buffer,
            metadata={
                "Title": f"{result.info['title']}: {result.name}",
                "Subject": BANNER,
                "Creator": f"rahelpers {__version__}",
            },
        ) as pages,
    ):
        pages.savefig(_page(result))
        if result.shap is not None:
            pages.savefig(_region_page(result))
    return buffer.getvalue()


def _begin_page(result: FilmResult) -> Figure:
    figure = Figure(figsize=(PAPER_MM[0] / 25.4, PAPER_MM[1] / 25.4))
    figure.text(
        0.5,
        0.975,
        f"{BANNER}",
        ha="center",
        va="top",
        color="white",
        weight="bold",
        fontsize=10,
        bbox={"facecolor": "#00204d", "edgecolor": "none", "pad": 6},
    )
    if note := _source_note(result.info):
        figure.text(0.5, 0.945, note.strip(), ha="center", va="top", fontsize=8)
    figure.text(0.06, 0.925, _wrap(result.name, 80), va="top", fontsize=11, weight="bold")
    return figure


def _page(result: FilmResult) -> Figure:
    figure = _begin_page(result)
    figure.text(
        0.06,
        0.895,
        f"{result.info['title']}: {result.answer or result.status}",
        va="top",
        fontsize=11,
    )
    pictures = [("film as read", overlay_on_film(result, 0))]
    if result.heatmap is not None:
        pictures.append(
            (result.heatmap_name + (" (flat)" if result.flat else ""), overlay_on_film(result))
        )
    for i, (name, picture) in enumerate(pictures):
        axis = figure.add_axes((0.06 + 0.45 * i, 0.52, 0.42, 0.33))
        axis.imshow(picture)
        axis.set_title(name, fontsize=8)
        axis.set_axis_off()
    _write_rows(figure, list_facts(result)[1:] + [("", "")] + list_model_facts(result.info), 0.5)
    return figure


def _region_page(result: FilmResult) -> Figure:
    figure, rows = _begin_page(result), list_regions(result)
    figure.text(
        0.06, 0.895, f"{result.info['title']}: regions that move the answer", va="top", fontsize=11
    )
    picture = figure.add_axes((0.06, 0.52, 0.42, 0.33))
    picture.imshow(regions_on_film(result))
    picture.set_title(f"orange: for {result.info['class_names'][1]}, blue: against", fontsize=8)
    picture.set_axis_off()
    bars = figure.add_axes((0.68, 0.54, 0.26, 0.31))
    values = [value for _, value, _ in rows]
    colours = [np.array(FOR if value > 0 else AGAINST) / 255 for value in values]
    bars.barh(
        [name for name, _, _ in rows],
        values,
        xerr=[error for _, _, error in rows],
        color=colours,
        error_kw={"lw": 0.8},
    )
    bars.invert_yaxis()
    bars.axvline(0, color="black", lw=0.8)
    bars.set_xlabel("Shapley value and standard error, logits", fontsize=8)
    bars.locator_params(axis="x", nbins=4)
    bars.tick_params(labelsize=8)
    figure.text(0.06, 0.48, _wrap(say_regions(result), 110), va="top", fontsize=8)
    return figure


def _write_rows(figure: Figure, rows: list[tuple[str, str]], top: float) -> None:
    """What and value in two columns, each value wrapped; smaller type where there is much to say."""
    wrapped = [(_wrap(name, 30), _wrap(value, 88)) for name, value in rows]
    lines = sum(max(name.count("\n"), value.count("\n")) + 1.35 for name, value in wrapped)
    step = min(0.0125, (top - 0.03) / lines)
    for name, value in wrapped:
        figure.text(0.06, top, name, va="top", fontsize=560 * step, color="#444444")
        figure.text(0.3, top, value, va="top", fontsize=560 * step)
        top -= step * (max(name.count("\n"), value.count("\n")) + 1.35)


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text.replace("$", r"\$"), width)) or text


def write_dicom(result: FilmResult) -> bytes:
    """The overlay as a DICOM Secondary Capture: colour, with the notice burnt in, described as not
    for clinical use.

    Where the film was DICOM it stands in the film's study, in a series of its own, and names the
    film as its source, all by UID. Nobody's name, number, birth date or sex is written, as none was
    read: an archive that demands them must be given them by its own rules.

    Raises
    ------
    ValueError
        If the film has no heat map.

    References
    ----------
    DICOM PS3.3, A.8.1 (Secondary Capture Image), C.7.6.1 (source image), C.8.6.2 (burned-in
    annotation).
    """
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    _require_film(result)
    if result.heatmap is None:
        raise ValueError(
            f"{result.file}: the result has no heat map; expected one made with"
            " rahelpers.prediction.film.add_heatmap"
        )
    picture = _burn_in(
        overlay_on_film(result),
        [
            NOT_CLINICAL,
            "Education and research only",
            f"rahelpers {__version__}: {result.heatmap_name}",
        ],
    )
    reference = result.hand.reference
    capture = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=reference.study if reference else generate_uid(),
        series_instance_uid=generate_uid(),
        series_number=SC_SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="rahelpers",
        patient_orientation=("L", "F"),
    )
    capture.Laterality = result.hand.film.laterality  # type 2C, both: empty where not known
    capture.PatientOrientation = None  # highdicom asks for one
    capture.SeriesDescription = f"{NOT_CLINICAL}: {result.heatmap_name.split(',')[0]} overlay"
    capture.ImageComments = (
        f"{NOT_CLINICAL}. {BANNER}{_source_note(result.info)} Heat map of what raised the answer of"
        f" model '{result.info['title']}'."
    )
    capture.BurnedInAnnotation = "YES"
    capture.ManufacturerModelName = "rahelpers"
    capture.SoftwareVersions = __version__
    capture.DerivationDescription = (
        f"{result.heatmap_name} of model.keras {result.info['files']['model.keras'][:16]}"
    )
    if reference:
        source = Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = (
            reference.sop_class,
            reference.instance,
        )
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedInstanceSequence = reference.series, [source]
        capture.SourceImageSequence, capture.ReferencedSeriesSequence = [source], [series]
    buffer = io.BytesIO()
    capture.save_as(buffer)
    return buffer.getvalue()


def _burn_in(picture: np.ndarray, lines: list[str]) -> np.ndarray:
    """The picture with a dark strip above it that holds the lines: no pixel of the film is covered."""
    height, width = max(18, picture.shape[1] // 22), picture.shape[1]
    strip = np.zeros((height * len(lines) + 8, width, 3), np.uint8)
    for i, line in enumerate(lines):
        scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, round(0.5 * height), 1)
        written = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
        scale *= min(1.0, (width - 12) / written)
        cv2.putText(
            strip,
            line,
            (6, height * (i + 1) - 2),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (255, 235, 130) if i == 0 else (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
    return np.concatenate([strip, picture])


# by the end of the file's name
WRITERS: dict[str, Callable[[FilmResult], bytes]] = {
    "html": write_html,
    "pdf": write_pdf,
    "json": write_json,
    "overlay.dcm": write_dicom,
}
