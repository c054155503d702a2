"""From files, samples and drawn films to pictures: what the viewer and the network get of each
hand.

It starts TensorFlow (through `rahelpers.prediction.film`), so the page imports it in the worker's thread
alone.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd

from rahelpers.curation.cohort import Cohort
from rahelpers.films.gate import ADVICE, Refusal
from rahelpers.films.joints import locate_joints
from rahelpers.films.normalisation import (
    Geometry,
    HandMask,
    NetworkInput,
    Placement,
    to_network_input,
)
from rahelpers.films.radiograph import Radiograph, RadiographError, quote_name
from rahelpers.panel.state import MAX_BYTES, MAX_FILES, SHOWN_PX, TOP, Picture
from rahelpers.phantom import PhantomFilm
from rahelpers.prediction.film import HandFilm, read_hands, take_hand

NO_JOINTS = pd.DataFrame(
    {"image_id": pd.Series(dtype=str), "site": pd.Series(dtype=str)}
    | {c: pd.Series(dtype=float) for c in ("x0", "y0", "x1", "y1")}
)


def read_files(
    files: list[tuple[str, bytes]], info: dict[str, Any], side: str = ""
) -> tuple[list[Picture], list[Refusal]]:
    """The hands of some files, and the files that cannot be read.

    Parameters
    ----------
    files : list of (name, content)
    info : dict
        Of the bundle.
    side : {'L', 'R', ''}
        What the person says of films of one hand; '' leaves it to the file.
    """
    pictures, refused = [], []
    for name, content in files[:MAX_FILES]:
        try:
            pictures += read_film(content, name, info, side)
        except RadiographError as error:
            words = str(error).removeprefix(f"{quote_name(name)}: ")
            refused.append(Refusal(name, words[:1].upper() + words[1:], ADVICE["file"]))
    refused += [
        Refusal(name, f"More than {MAX_FILES} files in one study", "Bring fewer at once.")
        for name, _ in files[MAX_FILES:]
    ]
    return pictures, refused


def read_film(content: bytes, name: str, info: dict[str, Any], side: str = "") -> list[Picture]:
    """The hands of one file, each with its gate's verdict.

    Raises
    ------
    RadiographError
        With a message for the person who chose the file.
    """
    if len(content) > MAX_BYTES:
        raise RadiographError(
            f"{quote_name(name)}: {len(content) / 1e6:.0f} MB; expected at most"
            f" {MAX_BYTES / 1e6:.0f} MB"
        )
    by_person = "you" if side else "the file"
    return [
        show_hand(hand, "its place on the film" if hand.place else by_person)
        for hand in read_hands(content, name, info, side)
    ]


def show_hand(
    hand: HandFilm, side_from: str, joints: pd.DataFrame | None = None, truth: int | None = None
) -> Picture:
    """One hand of a film as a picture, checked. Joints that nobody marked are located."""
    film = hand.film
    name = f"{hand.file} ({hand.place} hand)" if hand.place else hand.file
    shown, matrix, scale = fit_for_viewer(hand)
    marked = joints is not None
    if not marked:
        joints = NO_JOINTS if hand.refusal else locate_joints(hand.seen.image).joints
    return Picture(
        name,
        hand,
        shown,
        matrix,
        film.image.shape[1],
        film.image.shape[0],
        film.spacing_mm,
        film.spacing_mm / scale if film.spacing_mm else None,
        side_from if film.laterality else "",
        joints,
        marked,
        truth,
    )


def fit_for_viewer(hand: HandFilm) -> tuple[np.ndarray, np.ndarray, float]:
    """The hand's part of a film, uint16 (h, w) in 0 to TOP, the way from the network's square to
    it, (2, 3), and its scale.
    """
    top, bottom, left, right = hand.seen.window
    part = hand.film.image[top:bottom, left:right]
    scale = min(1.0, SHOWN_PX / max(part.shape))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    part = 1 - part if hand.seen.inverted else part
    to_film = np.linalg.inv(hand.seen.geometry.matrix)
    place = np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1.0]])
    return np.rint(np.clip(part, 0, 1) * TOP).astype(np.uint16), (place @ to_film)[:2], scale


def show_sample(cohort: Cohort, row: int, name: str) -> Picture:
    """A film of the run's cohort, as the network sees it; it passed quality control when it was
    curated.
    """
    film, image, joints = (
        cohort.manifest.iloc[row],
        np.asarray(cohort.images[row]),
        cohort.joints_of(row),
    )
    marked = len(joints) > 0
    joints = joints if marked else locate_joints(image).joints
    side, size = film["laterality"] or "", image.shape[0]
    whole = (0, size, 0, size)
    seen = NetworkInput(
        image,
        Placement(whole),
        Geometry(np.eye(3), image.shape, size),
        False,
        HandMask(image > 0, 1.0),
        1.0,
        whole,
    )
    hand = HandFilm(name, "", Radiograph(image.astype(np.float32) / 255, None, side), seen)
    shown, matrix, _ = fit_for_viewer(hand)
    spacing = None if pd.isna(film["spacing_mm"]) else float(film["spacing_mm"])
    return Picture(
        name,
        hand,
        shown,
        matrix,
        int(film["width"]),
        int(film["height"]),
        spacing,
        None,
        "the manifest" if side else "",
        joints,
        marked,
        int(film["label"]),
        str(film["patient_id"]),
    )


def show_phantom(film: PhantomFilm, info: dict[str, Any]) -> Picture:
    """A drawn film, with its joints, read as a file would be."""
    radiograph = Radiograph(film.image, film.spacing_mm, film.laterality)
    seen = to_network_input(radiograph, info["image_size"], info["mirror_right"])
    corners = ["x0", "y0", "x1", "y1"]
    joints = film.joints.copy()
    joints[corners] = seen.geometry.boxes_to_square(joints[corners].to_numpy())
    return show_hand(take_hand("drawn film", radiograph, seen), "the drawing", joints)
