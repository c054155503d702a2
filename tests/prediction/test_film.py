"""From a folder of films to a table and to reports that other programs read back."""

import csv
import dataclasses
import io
import json
import re

import cv2
import numpy as np
import pydicom
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from rahelpers.cli.main import main
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.regions import Regions
from rahelpers.explanation.shap_step import RegionShap
from rahelpers.films.radiograph import RadiographError
from rahelpers.network import familiarity
from rahelpers.network.bundle import load_bundle, predict_logits
from rahelpers.phantom import make_dicom, make_patient, render
from rahelpers.prediction import exports
from rahelpers.prediction.film import (
    DOES_NOT_KNOW,
    add_heatmap,
    answer_hand,
    find_film_files,
    predict_films,
    read_hands,
    to_row,
)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bundle(tiny_run):
    return load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)


@pytest.fixture(scope="module")
def hands():
    """The two hands of one patient of another cohort."""
    patient = make_patient(3, 1)
    return patient, [render(patient, side, size=400) for side in "LR"]


@pytest.fixture(scope="module")
def folder(hands, tmp_path_factory):
    path = tmp_path_factory.mktemp("films")
    patient, (left, right) = hands
    (path / "study").mkdir()
    (path / "study" / "left.dcm").write_bytes(make_dicom(left, patient, "MONOCHROME1"))
    (path / "left.png").write_bytes(png(left.image))
    (path / "both.png").write_bytes(png(np.concatenate([left.image, right.image], axis=1)))
    (path / "photo.png").write_bytes(png(skimage.data.camera() / 255))
    (path / "blank.png").write_bytes(png(np.full((200, 200), 0.3)))
    (path / "small.png").write_bytes(png(left.image[::8, ::8]))
    (path / "notes.txt").write_text("not a film")
    (path / ".hidden.png").write_bytes(b"")
    return path


@pytest.fixture(scope="module")
def results(bundle, folder):
    return {
        r.name: r for r in predict_films(bundle, find_film_files(folder), folder, heatmaps=True)
    }


def test_every_file_has_a_row_and_a_bad_one_stops_nothing(results):
    assert set(results) == {
        "study/left.dcm",
        "left.png",
        "both.png, left hand",
        "both.png, right hand",
        "photo.png",
        "blank.png",
        "small.png",
        "notes.txt",
    }
    assert {r.status for name, r in results.items() if name in ("blank.png", "notes.txt")} == {
        "unreadable"
    }
    assert (
        results["small.png"].status == "refused"
        and "pixels; expected at least" in results["small.png"].reasons[0]
    )
    assert (
        results["small.png"].probability is None
        and to_row(results["small.png"])["probability"] is None
    )
    assert results["photo.png"].status == "refused" and "hand" in results["photo.png"].reasons[0]


def test_a_film_unlike_the_training_films_gets_no_answer(bundle, results):
    """The outline of a hand, filled with noise: the gate lets it pass, the network's own features
    do not.
    """
    hand = results["left.png"].hand
    noise = np.random.default_rng(0).integers(0, 256, hand.seen.image.shape, dtype=np.uint8)
    found = answer_hand(
        bundle,
        familiarity.load_familiarity(bundle),
        dataclasses.replace(hand, seen=dataclasses.replace(hand.seen, image=noise)),
    )
    assert (
        found.status == "abstained"
        and found.distribution.unlike
        and found.distribution.words in found.reasons
    )


def test_the_answer_is_what_the_network_says_of_what_curation_would_have_made(
    bundle, results, hands, tiny_run
):
    """The DICOM film, stored inverted with its side in the header, is the very film that the
    cohort's own way makes of it.
    """
    dicom, plain = results["study/left.dcm"], results["left.png"]
    assert (
        dicom.hand.film.laterality == "L"
        and plain.hand.film.laterality == ""
        and "which hand" in plain.hand.notes[-1]
    )
    assert dicom.logit == pytest.approx(plain.logit, abs=0.05), (
        "12 bits inverted or 8 bits: one film"
    )
    assert dicom.logit == pytest.approx(
        predict_logits(bundle.model, dicom.hand.seen.image[None])[0], abs=1e-5
    )
    assert dicom.probability == pytest.approx(bundle.probability([dicom.logit])[0])
    assert dicom.positive == (dicom.probability >= bundle.info["operating_point"]["probability"])
    assert np.array_equal(
        dicom.heatmap,
        compute_gradcam(
            bundle.model, dicom.hand.seen.image[None], bundle.info["gradcam_layer"]
        ).maps[0],
    )
    cohort = load_cohort(tiny_run)
    assert len(dicom.similar) == 5 and {f.image_id for f in dicom.similar} <= set(
        cohort.manifest["image_id"].iloc[cohort.split("train")]
    )


def test_both_hands_of_one_film_are_answered_apart(results):
    left, right = results["both.png, left hand"], results["both.png, right hand"]
    assert (left.hand.film.laterality, right.hand.film.laterality) == (
        "L",
        "R",
    ) and right.hand.seen.placement.mirror
    assert (
        left.logit == pytest.approx(results["left.png"].logit, abs=0.5)
        and left.logit != right.logit
    )
    assert any("two hands on one film" in note for note in left.hand.notes)


def test_a_conformal_set_of_one_class_is_an_answer_and_of_two_is_none(bundle, hands):
    known = familiarity.load_familiarity(bundle)
    hand = read_hands(png(hands[1][0].image), "x.png", bundle.info, "L")[0]
    sets = {"alpha": 0.1, "patients_negative": 9, "patients_positive": 9}

    def ask(negative, positive):
        conformal = sets | {"threshold_negative": negative, "threshold_positive": positive}
        return answer_hand(
            dataclasses.replace(bundle, info=bundle.info | {"conformal": conformal}), known, hand
        )

    assert (
        ask(1.0, 0.0).answer == bundle.info["class_names"][0]
        and ask(0.0, 1.0).answer == bundle.info["class_names"][1]
    )
    both, none = ask(1.0, 1.0), ask(0.0, 0.0)
    assert (
        both.status == none.status == "abstained"
        and both.answer.startswith(DOES_NOT_KNOW)
        and "both" in both.reasons[-1]
        and "neither" in none.reasons[-1]
    )
    old = dataclasses.replace(
        bundle, info={k: v for k, v in bundle.info.items() if k != "conformal"}
    )
    assert (
        answer_hand(old, None, hand).answer in bundle.info["class_names"]
        and answer_hand(old, None, hand).distribution is None
    )


def test_the_side_that_a_person_gives_counts(bundle, hands):
    film = png(hands[1][1].image)
    assert (
        read_hands(film, "r.png", bundle.info, "R")[0].seen.placement.mirror
        and not read_hands(film, "r.png", bundle.info)[0].seen.placement.mirror
    )
    with pytest.raises(ValueError, match="expected L, R"):
        read_hands(film, "r.png", bundle.info, "left")
    with pytest.raises(RadiographError, match="r.png"):
        read_hands(b"junk", "r.png", bundle.info)


def test_a_fault_of_the_program_is_a_row_too(bundle, folder, monkeypatch):
    def fail(*_):
        raise IndexError("no such thing")

    monkeypatch.setattr("rahelpers.prediction.film.cut_hands", fail)
    found = list(predict_films(bundle, [folder / "left.png", folder / "notes.txt"]))
    assert [r.status for r in found] == ["error", "unreadable"] and found[0].reasons == (
        "IndexError: no such thing",
    )


# ---- reports


def test_heat_lies_on_the_film_where_the_network_saw_it(results):
    """The hottest point of the square, carried to the film by its geometry, is the hottest point of
    the overlay.
    """
    result = results["both.png, right hand"]
    heat = np.zeros_like(result.heatmap)
    heat[30, 20] = 1.0
    shown = dataclasses.replace(result, heatmap=heat)
    difference = exports.overlay_on_film(shown).astype(int) - exports.overlay_on_film(shown, 0)
    y, x = np.unravel_index(np.abs(difference).sum(axis=2).argmax(), difference.shape[:2])
    (expected,) = result.hand.seen.geometry.to_film(np.array([[20.5, 30.5]]))
    assert np.hypot(*(np.array([x, y]) - expected)) < 400 / 48, "within a pixel of the square"
    assert x > 400, "of the right half: the other hand stays as it is"
    assert not difference[:, :300].any()


def test_a_film_stored_inverted_is_shown_bone_bright(results):
    plain, inverted = (
        exports.overlay_on_film(results[n], 0).astype(int) for n in ("left.png", "study/left.dcm")
    )
    assert np.abs(plain - inverted).mean() < 3


def test_the_page_needs_nothing_else_and_says_what_it_is(results):
    text = exports.write_html(results["study/left.dcm"]).decode()
    assert (
        exports.BANNER in text
        and "no figure is about patients" in text
        and text.count("<img") == 2 + 5
    )
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', text) and "<script" not in text
    assert (
        f"{results['study/left.dcm'].probability:.1%}" in text
        and "SHA-256" in text
        and "conformal" in text
    )
    bad = dataclasses.replace(results["left.png"], file='<script>alert("x")</script>.png')
    assert "<script" not in exports.write_html(bad).decode()


def test_the_pdf_is_one_page_with_its_text(results):
    for name in ("study/left.dcm", "photo.png", "small.png"):
        content = exports.write_pdf(results[name])
        assert (
            content.startswith(b"%PDF")
            and content.count(b"/Type /Page ") == 1
            and b"Not for diagnosis" in content
        ), name
    odd = dataclasses.replace(results["left.png"], file="a $x^ b_{.png")
    assert exports.write_pdf(odd).startswith(b"%PDF"), "a dollar is no formula"


def test_regions_are_in_every_report_that_has_them(results, hands):
    """The values, their signs and their places: a region of the square covers the same part of the
    film as a heat map of it would.
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
    )
    shown = dataclasses.replace(result, regions=Regions(shap.names, labels), shap=shap)
    colour = exports.regions_on_film(shown).astype(int)
    tint = colour[..., 0] - colour[..., 2]  # red less blue: orange above 0, blue below
    for k, sign in ((1, 1), (2, -1)):
        inside = (
            cv2.resize(
                result.hand.seen.geometry.map_to_film((labels == k).astype(np.float32)),
                tint.shape[::-1],
                interpolation=cv2.INTER_AREA,
            )
            > 0.99
        )
        assert inside.any() and (sign * tint[inside] > 0).all()
    assert np.abs(tint).max() > 60 and (tint[labels.shape[0] :] == 0).any()
    text = exports.write_html(shown).decode()
    assert (
        text.count("<img") == 3 + 5
        and "MCP2" in text
        and "-0.25 ± 0.02" in text
        and text.index("MCP2") < text.index("PIP3")
    )
    assert exports.write_pdf(shown).count(b"/Type /Page ") == 2
    found = json.loads(exports.write_json(shown))["regions"]
    assert [r["region"] for r in found["values"]] == shap.names and found["values"][1][
        "shapley"
    ] == 0.5
    assert found["base_value"] + sum(r["shapley"] for r in found["values"]) == pytest.approx(
        found["logit"]
    )


def test_secondary_capture_reads_back_refers_to_the_study_and_names_nobody(results, hands):
    source = pydicom.dcmread(io.BytesIO(make_dicom(hands[1][0], hands[0], "MONOCHROME1")))
    capture = pydicom.dcmread(io.BytesIO(exports.write_dicom(results["study/left.dcm"])))
    assert (
        capture.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage and capture.Modality == "OT"
    )
    assert (
        capture.StudyInstanceUID == source.StudyInstanceUID
        and capture.SeriesInstanceUID != source.SeriesInstanceUID
    )
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert capture.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert not any(
        str(capture[tag].value or "")
        for tag in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyDate",
        )
    )
    assert source.PatientID and source.PatientID not in str(capture)
    assert (
        "NOT FOR CLINICAL USE" in capture.SeriesDescription
        and "NOT FOR CLINICAL USE" in capture.ImageComments
        and capture.BurnedInAnnotation == "YES"
    )
    shown = exports.overlay_on_film(results["study/left.dcm"])
    strip = capture.pixel_array.shape[0] - shown.shape[0]
    assert strip > 30 and np.array_equal(capture.pixel_array[strip:], shown), (
        "the film is not covered"
    )
    assert (capture.pixel_array[:strip].max(axis=2) > 200).sum() > 100, "the notice is burnt in"


def test_secondary_capture_of_a_film_that_is_no_dicom_starts_a_study_of_its_own(results):
    one, other = (
        pydicom.dcmread(io.BytesIO(exports.write_dicom(results["left.png"]))) for _ in range(2)
    )
    assert one.StudyInstanceUID != other.StudyInstanceUID and "SourceImageSequence" not in one
    with pytest.raises(ValueError, match="no heat map"):
        exports.write_dicom(dataclasses.replace(results["left.png"], heatmap=None))
    with pytest.raises(ValueError, match="no film to show"):
        exports.write_html(results["notes.txt"])


def test_json_has_the_numbers_and_no_identifier(results, hands):
    source = pydicom.dcmread(io.BytesIO(make_dicom(hands[1][0], hands[0])))
    content = exports.write_json(results["study/left.dcm"]).decode()
    found = json.loads(content)
    assert (
        found["probability"] == pytest.approx(results["study/left.dcm"].probability, abs=1e-6)
        and found["film"]["format"] == "DICOM"
    )
    own = json.dumps(
        {key: value for key, value in found.items() if key != "similar"}
    )  # training films of the phantom have names like this patient's
    assert (
        source.PatientID not in own
        and source.StudyInstanceUID not in content
        and "SHA" not in content
    )
    assert found["notice"].startswith(exports.BANNER) and len(found["similar"]) == 5
    assert json.loads(exports.write_json(results["blank.png"]))["film"] is None


def test_two_films_never_share_a_name(results):
    names = {
        exports.file_stem(dataclasses.replace(results["left.png"], file=n))
        for n in ("a b.png", "a_b.png", "a/b.png", "../b.png", "ü.png", "")
    }
    assert len(names) == 6 and all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", n) for n in names)


def test_command(bundle, folder, tmp_path):
    out, lines, reports = tmp_path / "new" / "t.csv", tmp_path / "t.jsonl", tmp_path / "reports"
    result = CliRunner().invoke(
        main,
        [
            "predict",
            str(bundle.folder),
            str(folder),
            "--out",
            str(out),
            "--json",
            str(lines),
            "--report",
            str(reports),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "7 files" in result.output and "Education and research only" in result.output
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == len(lines.read_text().splitlines()) == 8
    answered = [r for r in rows if r["probability"]]
    assert {r["file"] for r in answered} == {"left.png", "both.png", "study/left.dcm"}
    assert len(list(reports.iterdir())) == 4 * len(answered)
    again = CliRunner().invoke(
        main, ["predict", str(bundle.folder), str(folder), "--out", str(folder / "t.csv")]
    )
    assert "7 files" in again.output, "its own table is no film"
    (folder / "t.csv").unlink()
    for wrong, message in (
        ([str(tmp_path / "none"), str(folder)], "neither a run"),
        ([str(bundle.folder), str(tmp_path / "none")], "expected a folder"),
    ):
        refused = CliRunner().invoke(main, ["predict", *wrong])
        assert refused.exit_code in (1, 2) and message in refused.output
    assert add_heatmap(bundle, next(predict_films(bundle, [folder / "blank.png"]))).heatmap is None
