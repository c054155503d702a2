"""From films to answers: each film gets a row, and an answer only if the network may judge it."""

import csv
import dataclasses
import io
import os

import numpy as np
import pytest
from click.testing import CliRunner

from rahelpers.cli.main import main
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.films.radiograph import RadiographError
from rahelpers.network import familiarity
from rahelpers.network.bundle import predict_logits
from rahelpers.prediction.film import (
    DOES_NOT_KNOW,
    add_heatmap,
    answer_hand,
    find_film_files,
    predict_films,
    read_hands,
    to_row,
)
from tests.films.files import dicom, put
from tests.prediction.conftest import png


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
    assert results["blank.png"].status == results["notes.txt"].status == "unreadable"
    small, photo = results["small.png"], results["photo.png"]
    assert small.status == "refused" and "pixels; expected at least" in small.reasons[0]
    assert small.probability is None and to_row(small)["probability"] is None
    assert photo.status == "refused" and "hand" in photo.reasons[0]


def test_a_film_unlike_the_training_films_gets_no_answer(bundle, results):
    """The outline of a hand, filled with noise, passes the gate, but the network's own features
    give it away.
    """
    hand = results["left.png"].hand
    noise = np.random.default_rng(0).integers(0, 256, hand.seen.image.shape, dtype=np.uint8)
    noisy = dataclasses.replace(hand, seen=dataclasses.replace(hand.seen, image=noise))
    found = answer_hand(bundle, familiarity.load_familiarity(bundle), noisy)
    assert found.status == "abstained" and found.distribution.unlike
    assert found.distribution.words in found.reasons


def test_the_answer_is_the_networks_answer_about_the_curated_film(bundle, results, tiny_run):
    """The DICOM film, stored inverted and with its side in the header, gives the PNG's logit."""
    dicom, plain = results["study/left.dcm"], results["left.png"]
    assert dicom.hand.film.laterality == "L" and plain.hand.film.laterality == ""
    assert "which hand" in plain.hand.notes[-1]
    assert dicom.logit == pytest.approx(plain.logit, abs=0.05), "12 bits inverted, or 8 bits"

    image = dicom.hand.seen.image[None]
    assert dicom.logit == pytest.approx(predict_logits(bundle.model, image)[0], abs=1e-5)
    assert dicom.probability == pytest.approx(bundle.probability([dicom.logit])[0])
    assert dicom.positive == (dicom.probability >= bundle.info["operating_point"]["probability"])
    gradcam = compute_gradcam(bundle.model, image, bundle.info["gradcam_layer"])
    assert np.array_equal(dicom.heatmap, gradcam.maps[0])

    cohort = load_cohort(tiny_run)
    of_train = set(cohort.manifest["image_id"].iloc[cohort.split("train")])
    assert len(dicom.similar) == 5 and {f.image_id for f in dicom.similar} <= of_train


def test_both_hands_of_one_film_get_an_answer_each(results):
    left, right = results["both.png, left hand"], results["both.png, right hand"]
    assert (left.hand.film.laterality, right.hand.film.laterality) == ("L", "R")
    assert right.hand.seen.placement.mirror and left.logit != right.logit
    assert left.logit == pytest.approx(results["left.png"].logit, abs=0.5)
    assert any("two hands on one film" in note for note in left.hand.notes)


def test_only_a_conformal_set_of_one_class_is_an_answer(bundle, hands):
    known = familiarity.load_familiarity(bundle)
    hand = read_hands(png(hands[1][0].image), "x.png", bundle.info, "L")[0]
    sets = {"alpha": 0.1, "patients_negative": 9, "patients_positive": 9}

    def ask(negative, positive):
        conformal = sets | {"threshold_negative": negative, "threshold_positive": positive}
        changed = dataclasses.replace(bundle, info=bundle.info | {"conformal": conformal})
        return answer_hand(changed, known, hand)

    assert [ask(1.0, 0.0).answer, ask(0.0, 1.0).answer] == bundle.info["class_names"]
    both, none = ask(1.0, 1.0), ask(0.0, 0.0)
    assert both.status == none.status == "abstained" and both.answer.startswith(DOES_NOT_KNOW)
    assert "both" in both.reasons[-1] and "neither" in none.reasons[-1]


def test_the_side_that_a_person_gives_is_used(bundle, hands):
    film = png(hands[1][1].image)
    assert read_hands(film, "r.png", bundle.info, "R")[0].seen.placement.mirror
    assert not read_hands(film, "r.png", bundle.info)[0].seen.placement.mirror
    with pytest.raises(ValueError, match="expected L, R"):
        read_hands(film, "r.png", bundle.info, "left")
    with pytest.raises(RadiographError, match="r.png"):
        read_hands(b"junk", "r.png", bundle.info)


def test_a_film_is_read_even_where_its_uids_are_odd(bundle):
    data = dicom(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    assert read_hands(data, "film.dcm", bundle.info)[0].reference.study == "1.2.3"
    odd = put(data, "StudyInstanceUID", "FD", b"abc")
    assert read_hands(odd, "film.dcm", bundle.info)[0].reference is None


def test_a_fault_of_the_program_is_a_row_too(bundle, folder, monkeypatch):
    def fail(*_):
        raise IndexError("no such thing")

    monkeypatch.setattr("rahelpers.prediction.film.cut_hands", fail)
    found = list(predict_films(bundle, [folder / "left.png", folder / "notes.txt"]))
    assert [r.status for r in found] == ["error", "unreadable"]
    assert found[0].reasons == ("IndexError: no such thing",)


def test_no_file_is_left_out_of_the_table(bundle, hands, tmp_path):
    """Links to nothing (films that git-annex has not fetched), a pipe, a linked folder, a folder
    that may not be read, names that are not UTF-8.
    """
    films, elsewhere = tmp_path / "films", tmp_path / "elsewhere"
    films.mkdir(), elsewhere.mkdir()
    (elsewhere / "x.png").write_bytes(png(hands[1][0].image))
    (films / "annexed.png").symlink_to("nowhere.png")
    (films / "round.png").symlink_to("round.png")
    (films / "linked").symlink_to(elsewhere, target_is_directory=True)
    (films / "again").symlink_to(films, target_is_directory=True)
    (films / "x.png").symlink_to(elsewhere / "x.png")
    os.mkfifo(films / "pipe.png")
    (films / "IM0001").write_bytes(b"no suffix")
    (films / os.fsdecode(b"\xff.png")).write_bytes(b"")
    (films / ".hidden.png").write_bytes(b"")
    out = tmp_path / "t.csv"
    ask = ["predict", str(bundle.folder), str(films), "--out", str(out)]
    result = CliRunner().invoke(main, ask)
    rows = {r["file"]: r for r in csv.DictReader(io.StringIO(out.read_text()))}
    assert set(rows) == {
        *("annexed.png", "round.png", "linked/x.png", "x.png", "pipe.png", "IM0001"),
        repr(os.fsdecode(b"\xff.png")),
    }
    assert rows["annexed.png"]["status"] == rows["round.png"]["status"] == "unreadable"
    assert "leads to a file that is not there" in rows["annexed.png"]["reason"]
    assert rows["linked/x.png"]["probability"] == rows["x.png"]["probability"] != ""
    assert "7 files" in result.output and "1 hidden files" in result.output


def test_a_folder_that_may_not_be_read_is_a_row(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [p.name for p in find_film_files(tmp_path)] == ["a.png", "closed"]


def test_reports_do_not_go_where_the_films_are(bundle, folder, tmp_path):
    ask = ["predict", str(bundle.folder), str(folder), "--out", str(tmp_path / "t.csv")]
    for place in (folder, folder.parent):
        result = CliRunner().invoke(main, [*ask, "--report", str(place)])
        assert result.exit_code == 2 and "a folder of its own" in result.output


def test_command(bundle, folder, tmp_path):
    out, lines, reports = tmp_path / "new" / "t.csv", tmp_path / "t.jsonl", tmp_path / "reports"
    ask = ["predict", str(bundle.folder), str(folder), "--out"]
    result = CliRunner().invoke(
        main, [*ask, str(out), "--json", str(lines), "--report", str(reports)]
    )
    assert result.exit_code == 0, result.output
    assert "7 files" in result.output and "Education and research only" in result.output
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == len(lines.read_text().splitlines()) == 8
    answered = [r for r in rows if r["probability"]]
    assert {r["file"] for r in answered} == {"left.png", "both.png", "study/left.dcm"}
    assert len(list(reports.iterdir())) == 4 * len(answered)
    again = CliRunner().invoke(main, [*ask, str(folder / "t.csv")])
    assert "7 files" in again.output, "its own table is not a film"
    (folder / "t.csv").unlink()
    for wrong, message in (
        ([str(tmp_path / "none"), str(folder)], "neither a run"),
        ([str(bundle.folder), str(tmp_path / "none")], "expected a folder"),
    ):
        refused = CliRunner().invoke(main, ["predict", *wrong])
        assert refused.exit_code in (1, 2) and message in refused.output
    assert add_heatmap(bundle, next(predict_films(bundle, [folder / "blank.png"]))).heatmap is None
