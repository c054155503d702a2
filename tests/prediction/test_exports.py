"""Reports that other programs read back: HTML, PDF, JSON and a DICOM Secondary Capture."""

import dataclasses
import io
import json
import re

import cv2
import numpy as np
import pydicom
import pytest

from rahelpers.explanation.regions import Regions
from rahelpers.explanation.shap_step import RegionShap
from rahelpers.phantom import make_dicom
from rahelpers.prediction import write_dicom, write_html, write_json, write_pdf
from rahelpers.prediction.exports import file_stem
from rahelpers.prediction.facts import BANNER
from rahelpers.prediction.pictures import overlay_on_film, regions_on_film


def test_heat_is_on_the_film_where_the_network_saw_it(results):
    """The hottest point of the square, mapped to the film by its geometry, is the hottest point of
    the overlay.
    """
    result = results["both.png, right hand"]
    heat = np.zeros_like(result.heatmap)
    heat[30, 20] = 1.0
    shown = dataclasses.replace(result, heatmap=heat)
    difference = overlay_on_film(shown).astype(int) - overlay_on_film(shown, 0)
    y, x = np.unravel_index(np.abs(difference).sum(axis=2).argmax(), difference.shape[:2])
    (expected,) = result.hand.seen.geometry.to_film(np.array([[20.5, 30.5]]))
    assert np.hypot(*(np.array([x, y]) - expected)) < 400 / 48, "within a pixel of the square"
    assert x > 400, "in the right half: the other hand stays as it is"
    assert not difference[:, :300].any()


def test_a_film_stored_inverted_is_shown_bone_bright(results):
    plain, inverted = (
        overlay_on_film(results[n], 0).astype(int) for n in ("left.png", "study/left.dcm")
    )
    assert np.abs(plain - inverted).mean() < 3


def test_the_page_needs_nothing_else_and_says_what_it_is(results):
    text = write_html(results["study/left.dcm"]).decode()
    assert BANNER in text and "no figure is about patients" in text and text.count("<img") == 2 + 5
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', text) and "<script" not in text
    assert f"{results['study/left.dcm'].probability:.1%}" in text
    assert "SHA-256" in text and "conformal" in text
    bad = dataclasses.replace(results["left.png"], file='<script>alert("x")</script>.png')
    assert "<script" not in write_html(bad).decode()


def test_the_pdf_is_one_page_with_its_text(results):
    for name in ("study/left.dcm", "photo.png", "small.png"):
        content = write_pdf(results[name])
        assert content.startswith(b"%PDF") and content.count(b"/Type /Page ") == 1, name
        assert b"Not for diagnosis" in content, name
    odd = dataclasses.replace(results["left.png"], file="a $x^ b_{.png")
    assert write_pdf(odd).startswith(b"%PDF"), "a dollar does not start a formula"


def test_regions_are_in_every_report_that_has_them(results, hands):
    """Values, signs and places: a region of the square covers the same part of the film as a heat
    map of it would.
    """
    result = results["left.png"]
    labels = np.zeros((48, 48), int)
    labels[10:20, 10:20], labels[30:40, 25:35] = 1, 2
    shap = RegionShap(
        names=["rest", "MCP2", "PIP3"],
        values=np.array([0.0, 0.5, -0.25]),
        base_value=-1.0,
        logit=-0.75,
        additivity_error=1e-7,
        standard_error=np.array([0.0, 0.01, 0.02]),
        owen=np.array([0.0, 0.4, -0.15]),
        evaluations=64,
        fit=0.99,
    )
    shown = dataclasses.replace(result, regions=Regions(shap.names, labels), shap=shap)
    colour = regions_on_film(shown).astype(int)
    tint = colour[..., 0] - colour[..., 2]  # red minus blue: orange above 0, blue below
    for k, sign in ((1, 1), (2, -1)):
        on_film = result.hand.seen.geometry.map_to_film((labels == k).astype(np.float32))
        inside = cv2.resize(on_film, tint.shape[::-1], interpolation=cv2.INTER_AREA) > 0.99
        assert inside.any() and (sign * tint[inside] > 0).all()
    assert np.abs(tint).max() > 60 and (tint[labels.shape[0] :] == 0).any()
    text = write_html(shown).decode()
    assert text.count("<img") == 3 + 5 and "-0.25 ± 0.02" in text
    assert text.index("MCP2") < text.index("PIP3"), "the strongest first"
    assert write_pdf(shown).count(b"/Type /Page ") == 2
    found = json.loads(write_json(shown))["regions"]
    assert [r["region"] for r in found["values"]] == shap.names
    assert found["values"][1]["shapley"] == 0.5
    total = found["base_value"] + sum(r["shapley"] for r in found["values"])
    assert total == pytest.approx(found["logit"])


def test_secondary_capture_reads_back_refers_to_the_study_and_names_nobody(results, hands):
    source = pydicom.dcmread(io.BytesIO(make_dicom(hands[1][0], hands[0], "MONOCHROME1")))
    capture = pydicom.dcmread(io.BytesIO(write_dicom(results["study/left.dcm"])))
    assert capture.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert capture.Modality == "OT" and capture.StudyInstanceUID == source.StudyInstanceUID
    assert capture.SeriesInstanceUID != source.SeriesInstanceUID
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert capture.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    personal = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex"]
    personal += ["AccessionNumber", "StudyDate"]
    assert not any(str(capture[tag].value or "") for tag in personal)
    assert source.PatientID and source.PatientID not in str(capture)
    assert "NOT FOR CLINICAL USE" in capture.SeriesDescription
    assert "NOT FOR CLINICAL USE" in capture.ImageComments and capture.BurnedInAnnotation == "YES"
    shown = overlay_on_film(results["study/left.dcm"])
    strip = capture.pixel_array.shape[0] - shown.shape[0]
    assert strip > 30 and np.array_equal(capture.pixel_array[strip:], shown), (
        "the film is not covered"
    )
    assert (capture.pixel_array[:strip].max(axis=2) > 200).sum() > 100, "the notice is burnt in"


def test_secondary_capture_of_a_film_that_is_not_dicom_starts_a_new_study(results):
    one, other = (pydicom.dcmread(io.BytesIO(write_dicom(results["left.png"]))) for _ in range(2))
    assert one.StudyInstanceUID != other.StudyInstanceUID and "SourceImageSequence" not in one
    with pytest.raises(ValueError, match="no heat map"):
        write_dicom(dataclasses.replace(results["left.png"], heatmap=None))
    with pytest.raises(ValueError, match="no film to show"):
        write_html(results["notes.txt"])


def test_json_has_the_numbers_and_no_identifier(results, hands):
    source = pydicom.dcmread(io.BytesIO(make_dicom(hands[1][0], hands[0])))
    content = write_json(results["study/left.dcm"]).decode()
    found = json.loads(content)
    probability = results["study/left.dcm"].probability
    assert found["probability"] == pytest.approx(probability, abs=1e-6)
    assert found["film"]["format"] == "DICOM"
    # training films of the phantom have names like this patient's
    own = json.dumps({key: value for key, value in found.items() if key != "similar"})
    assert source.PatientID not in own and source.StudyInstanceUID not in content
    assert (
        "SHA" not in content and found["notice"].startswith(BANNER) and len(found["similar"]) == 5
    )
    assert json.loads(write_json(results["blank.png"]))["film"] is None


def test_two_films_never_share_a_name(results):
    names = {
        file_stem(dataclasses.replace(results["left.png"], file=n))
        for n in ("a b.png", "a_b.png", "a/b.png", "../b.png", "ü.png", "")
    }
    assert len(names) == 6 and all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", n) for n in names)
