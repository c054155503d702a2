"""The overlay of a result as a DICOM Secondary Capture."""

from __future__ import annotations

import io

import cv2
import numpy as np

from rahelpers import __version__
from rahelpers.prediction.facts import make_notice
from rahelpers.prediction.film import FilmResult
from rahelpers.prediction.pictures import overlay_on_film

NOT_CLINICAL = "NOT FOR CLINICAL USE"
SERIES_NUMBER = 9001  # far from the numbers that a modality gives


def write_dicom(result: FilmResult) -> bytes:
    """Write the overlay as a DICOM Secondary Capture in colour, with the notice burned in.

    If the film was DICOM, the capture belongs to the film's study, in a new series, and names the
    film as its source, all by UID. No person's name, number, birth date or sex is written, as none
    was read: an archive that requires them must add them by its own rules.

    Raises
    ------
    ValueError
        If the film has no heat map.

    References
    ----------
    DICOM PS3.3, A.8.1 (Secondary Capture Image), C.7.6.1 (source image), C.8.6.2 (burned-in
    annotation).

    Examples
    --------
    >>> from rahelpers import answer_hand, load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import add_heatmap, read_hands, write_dicom
    >>> patient, bundle = make_patient(3, 1), load_bundle(run.file("train", "bundle"))
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> hand = read_hands(file, "a.dcm", bundle.info)[0]
    >>> result = answer_hand(bundle, load_familiarity(bundle), hand)
    >>> capture = write_dicom(add_heatmap(bundle, result))
    >>> capture[128:132]  # every DICOM file has these four letters here
    b'DICM'
    """
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    hand = result.require_hand()
    if result.heatmap is None:
        raise ValueError(
            f"{result.file}: the result has no heat map; expected one from"
            " rahelpers.prediction.add_heatmap"
        )
    lines = [
        NOT_CLINICAL,
        "Education and research only",
        f"rahelpers {__version__}: {result.heatmap_name}",
    ]
    reference = hand.reference
    capture = SCImage(
        pixel_array=_burn_in(overlay_on_film(result), lines),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=reference.study if reference else generate_uid(),
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="rahelpers",
        patient_orientation=("L", "F"),
    )

    # both are type 2C, empty if not known; highdicom insisted on an orientation
    capture.Laterality = hand.film.laterality
    capture.add_new("PatientOrientation", "CS", None)

    # what it is, and that it is not for clinical use
    capture.SeriesDescription = f"{NOT_CLINICAL}: {result.heatmap_name.split(',')[0]} overlay"
    capture.ImageComments = (
        f"{NOT_CLINICAL}. {make_notice(result.info)} Heat map of what raised the logit of model"
        f" '{result.info['title']}'."
    )
    capture.BurnedInAnnotation = "YES"
    capture.ManufacturerModelName = "rahelpers"
    capture.SoftwareVersions = __version__
    capture.DerivationDescription = (
        f"{result.heatmap_name} of model.keras {result.info['files']['model.keras'][:16]}"
    )

    # the film that it was made from
    if reference:
        source, series = Dataset(), Dataset()
        source.ReferencedSOPClassUID = reference.sop_class
        source.ReferencedSOPInstanceUID = reference.instance
        series.SeriesInstanceUID = reference.series
        series.ReferencedInstanceSequence = [source]
        capture.SourceImageSequence, capture.ReferencedSeriesSequence = [source], [series]
    buffer = io.BytesIO()
    capture.save_as(buffer)
    return buffer.getvalue()


def _burn_in(picture: np.ndarray, lines: list[str]) -> np.ndarray:
    """Add a dark strip with the lines above the picture, so that no pixel of it is covered."""
    height, width = max(18, picture.shape[1] // 22), picture.shape[1]
    strip = np.zeros((height * len(lines) + 8, width, 3), np.uint8)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, 1
    for i, line in enumerate(lines):
        scale = cv2.getFontScaleFromHeight(font, round(0.5 * height), thickness)
        written = cv2.getTextSize(line, font, scale, thickness)[0][0]
        scale *= min(1.0, (width - 12) / written)  # a long line gets smaller letters
        foot = (6, height * (i + 1) - 2)
        colour = (255, 235, 130) if i == 0 else (255, 255, 255)
        cv2.putText(strip, line, foot, font, scale, colour, thickness, cv2.LINE_AA)
    return np.concatenate([strip, picture])
