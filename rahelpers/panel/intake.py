"""From files, samples and drawn films to pictures: what the viewer and the network get.

It starts TensorFlow (through `rahelpers.prediction.film`), so only the worker's thread imports it.
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

CORNERS = ["x0", "y0", "x1", "y1"]
NO_JOINTS = pd.DataFrame(
    {"image_id": pd.Series(dtype=str), "site": pd.Series(dtype=str)}
    | {corner: pd.Series(dtype=float) for corner in CORNERS}
)


def read_files(
    files: list[tuple[str, bytes]], info: dict[str, Any], side: str = ""
) -> tuple[list[Picture], list[Refusal]]:
    """The hands on some files, and the files that cannot be read.

    Parameters
    ----------
    files : list of (name, content)
    info : dict
        The content of the bundle's `bundle.json`.
    side : {'L', 'R', ''}
        What the person says about films of one hand; '' leaves it to the file.
    """
    pictures, refused = [], []
    for name, content in files[:MAX_FILES]:
        try:
            pictures += read_film(content, name, info, side)
        except RadiographError as error:
            words = str(error).removeprefix(f"{quote_name(name)}: ")
            refused.append(Refusal(name, words[:1].upper() + words[1:], ADVICE["file"]))
    refused += [
        Refusal(name, f"More than {MAX_FILES} files in one study", "Bring fewer files at once.")
        for name, _ in files[MAX_FILES:]
    ]
    return pictures, refused


def read_film(content: bytes, name: str, info: dict[str, Any], side: str = "") -> list[Picture]:
    """Read the hands on one file; each picture carries the gate's verdict.

    Parameters
    ----------
    content : bytes
        PNG, JPEG, TIFF, BMP or DICOM.
    name : str
        Of the file, for messages.
    info : dict
        The content of the bundle's `bundle.json`.
    side : {'L', 'R', ''}
        What the person says about a film of one hand; '' leaves it to the file.

    Raises
    ------
    RadiographError
        With a message for the person who chose the file.

    Examples
    --------
    >>> import cv2
    >>> from rahelpers import panel, phantom
    >>> film = phantom.render(phantom.make_patient(7, 0), "L", 256).image
    >>> content = cv2.imencode(".png", (255 * film).astype("uint8"))[1].tobytes()
    >>> info = {"image_size": 96, "mirror_right": True}
    >>> (picture,) = panel.read_film(content, "mine.png", info, side="L")
    >>> picture.name, picture.image.shape, picture.refusal
    ('mine.png', (96, 96), None)
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


def show_hand(hand: HandFilm, side_from: str, joints: pd.DataFrame | None = None) -> Picture:
    """A picture of one hand of a film. Joints that are not given are located."""
    film = hand.film
    shown, matrix, scale = fit_for_viewer(hand)
    marked = joints is not None
    if joints is None:
        joints = NO_JOINTS if hand.refusal else locate_joints(hand.seen.image).joints
    return Picture(
        name=f"{hand.file} ({hand.place} hand)" if hand.place else hand.file,
        hand=hand,
        shown=shown,
        matrix=matrix,
        width=film.image.shape[1],
        height=film.image.shape[0],
        spacing_mm=film.spacing_mm,
        shown_spacing_mm=film.spacing_mm / scale if film.spacing_mm else None,
        side_from=side_from if film.laterality else "",
        joints=joints,
        marked=marked,
    )


def fit_for_viewer(hand: HandFilm) -> tuple[np.ndarray, np.ndarray, float]:
    """The hand's part of a film at the viewer's size.

    Returns
    -------
    shown : uint16 array (h, w) in 0 to TOP
        Bone bright.
    matrix : float array (2, 3)
        From a pixel (x, y, 1) of the network's square to a pixel of `shown`.
    scale : float
        Pixels of `shown` per pixel of the film, at most 1.
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
    """Show a film of the run's cohort, as the network sees it.

    It passed quality control when it was curated.

    Parameters
    ----------
    cohort : Cohort
    row : int
        Of the cohort's manifest.
    name : str
        What the person calls the film.

    Examples
    --------
    >>> from rahelpers import load_cohort, panel
    >>> cohort = load_cohort(run)
    >>> picture = panel.show_sample(cohort, 0, "a film of the cohort")
    >>> picture.image.shape == cohort.images[0].shape, picture.refusal
    (True, None)
    """
    film, image = cohort.manifest.iloc[row], np.asarray(cohort.images[row])
    joints = cohort.joints_of(row)
    marked = len(joints) > 0
    side, size = film["laterality"] or "", image.shape[0]

    # the cohort holds the square only: film and square are the same picture
    whole = (0, size, 0, size)
    seen = NetworkInput(
        image=image,
        placement=Placement(whole),
        geometry=Geometry(np.eye(3), image.shape, size),
        inverted=False,
        hand=HandMask(image > 0, 1.0),
        turn_confidence=1.0,
        window=whole,
    )
    radiograph = Radiograph(image.astype(np.float32) / 255, None, side)
    hand = HandFilm(file=name, place="", film=radiograph, seen=seen)
    shown, matrix, _ = fit_for_viewer(hand)
    return Picture(
        name=name,
        hand=hand,
        shown=shown,
        matrix=matrix,
        width=int(film["width"]),
        height=int(film["height"]),
        spacing_mm=None if pd.isna(film["spacing_mm"]) else float(film["spacing_mm"]),
        side_from="the manifest" if side else "",
        joints=joints if marked else locate_joints(image).joints,
        marked=marked,
        truth=int(film["label"]),
        patient=str(film["patient_id"]),
    )


def show_phantom(film: PhantomFilm, info: dict[str, Any]) -> Picture:
    """A drawn film with its joints, read in the same way as a file."""
    radiograph = Radiograph(film.image, film.spacing_mm, film.laterality)
    seen = to_network_input(radiograph, info["image_size"], info["mirror_right"])
    joints = film.joints.copy()
    joints[CORNERS] = seen.geometry.boxes_to_square(joints[CORNERS].to_numpy())
    return show_hand(take_hand("drawn film", radiograph, seen), "the drawing", joints)
