"""The panel without a browser: gate, views, worker, reader study, callbacks on a tiny run."""

import dataclasses
import io
import json
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rahelpers.display.colours import AGAINST, FOR
from rahelpers.films.gate import refuse_film
from rahelpers.films.quality import check_film
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.two_hands import cut_hands
from rahelpers.panel import Panel, reader_study, view
from rahelpers.panel.controls import Root
from rahelpers.panel.state import HandState, Heat, StudyState
from rahelpers.panel.work import StoppedError, Worker
from rahelpers.phantom import make_patient, render


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def hand(side="L", index=0, size=256) -> np.ndarray:
    return render(make_patient(7, index), side, size).image


def text_of(html: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", html).split())


# --- the gate ---


def gate(image: np.ndarray):
    image = (image - image.min()) / np.ptp(image)
    found = cut_hands(Radiograph(image.astype(np.float32)), 96)
    return [
        refuse_film("film", check_film(one.film, one.seen, one.place), one.seen) for one in found
    ]


def test_hands_pass_the_gate():
    assert gate(hand()) == [None]
    assert gate(np.hstack([hand("L"), hand("R")])) == [None, None], "both hands, cut apart"


def chest(side=500) -> np.ndarray:
    """Two dark lungs in a bright body, with ribs."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 0.75 - sum(
        0.5 * np.exp(-((((x - s) / 0.25) ** 4) + (y / 0.5) ** 4)) for s in (-0.4, 0.4)
    )
    return body + 0.15 * (np.sin(y * 30 + x * x * 6) > 0.6) * (np.abs(x) < 0.8)


@pytest.mark.parametrize(
    "name", ["noise", "ramp", "chest", "camera", "astronaut", "coffee", "brick"]
)
def test_what_is_not_a_hand_gets_no_answer(name):
    from skimage import data

    made = {
        "noise": lambda: np.random.default_rng(0).random((400, 300)),
        "ramp": lambda: np.linspace(0, 1, 120_000).reshape(400, 300),
        "chest": chest,
    }
    image = made[name]() if name in made else getattr(data, name)().astype(float)
    (refusal,) = gate(image.mean(axis=2) if image.ndim == 3 else image)
    assert refusal and "hand" in refusal.reason and "PA radiograph of a hand" in refusal.advice


def test_two_hands_that_cannot_be_cut_apart_are_refused():
    left, right = hand("L", 3, 384)[:, 60:-60], hand("R", 3, 384)[:, 60:-60]
    (refusal,) = gate(np.hstack([left, right]))
    assert "two hands" in refusal.reason and "one hand" in refusal.advice


def test_real_hands_pass_the_gate(real_films):
    """Of all 900 films 2 in 100 are refused; of these 100 at most 5 may be."""
    from rahelpers.films.reading import read_radiograph

    files = sorted((real_films / "images").iterdir())[::9]
    refused = [any(gate(read_radiograph(file).image)) for file in files]
    assert len(files) == 100 and sum(refused) <= 5


# --- views ---


INFO = {
    "class_names": ["non-RA", "RA"],
    "title": "RA (phantom)",
    "image_size": 8,
    "mirror_right": True,
    "operating_point": {"probability": 0.4, "films_positive": 50, "films_negative": 50},
    "validation": {"patients_negative": 9, "patients_positive": 25, "fewest": 20, "epoch": 3},
    "conformal": {
        "alpha": 0.1,
        "threshold_negative": 0.6,
        "threshold_positive": 0.7,
        "patients_negative": 30,
        "patients_positive": 40,
    },
}
PERFORMANCE = {
    "sensitivity": {"value": 0.9, "low": 0.8, "high": 0.95},
    "specificity": {"value": 0.8, "low": 0.7, "high": 0.9},
    "films_positive": 50,
    "films_negative": 60,
    "where": "on the test split",
}


def state_of(probability=0.5, unlike=False, side="L", joints=None, **more):
    """A hand with what the views read of its picture and its result."""
    empty = pd.DataFrame({"site": [], "x0": [], "y0": [], "x1": [], "y1": []})
    picture = SimpleNamespace(
        name=f"film {side}",
        refusal=None,
        laterality=side,
        width=100,
        height=200,
        spacing_mm=0.2,
        side_from="you",
        truth=1,
        joints=empty if joints is None else joints,
        image=np.zeros((8, 8), np.uint8),
        hand=SimpleNamespace(notes=()),
    )
    distribution = SimpleNamespace(unlike=unlike, words="far away")
    result = SimpleNamespace(
        probability=probability,
        logit=float(np.log(probability / (1 - probability))),
        positive=probability >= 0.4,
        similar=(),
        distribution=distribution,
        call="RA",
    )
    return HandState(picture, result, **more)


@pytest.mark.parametrize(
    "probability, verdict", [(0.95, "RA"), (0.1, "non-RA"), (0.5, "The model does not know")]
)
def test_conformal_answer(probability, verdict):
    """Thresholds 0.6 and 0.7 by hand: non-RA fits up to 0.6, RA fits from 0.3."""
    assert view.conclude(probability, INFO)[0] == verdict


def test_film_that_fits_neither_class_is_not_known():
    info = INFO | {
        "conformal": INFO["conformal"] | {"threshold_negative": 0.2, "threshold_positive": 0.2}
    }
    verdict, why = view.conclude(0.5, info)
    assert verdict == "The model does not know" and "Neither" in why


def test_predictive_values_by_hand():
    """At 10 %: of 1000 people 90 true and 180 false alarms, so the PPV is 1/3. The probability 0.5
    at balance becomes 0.1.
    """
    words = text_of(view.view_values(state_of(0.5), INFO, PERFORMANCE, 0.1))
    assert "PPV 33 %" in words and "probability becomes 10 %" in words and "10 % of people" in words


def test_unlike_film_gets_no_answer_but_its_number_can_be_seen():
    html = view.view_answer(state_of(0.9, unlike=True), INFO, PERFORMANCE, 0.1)
    assert "No answer" in html and "What to do" in html and "<details>" in html
    assert "Probability" not in html.split("<details>")[0]


def test_everything_from_outside_is_escaped():
    from rahelpers.films.gate import Refusal

    html = view.view_refusal(Refusal("<script>alert(1)</script>.png", "<b>", "<i>"))
    assert "<script>" not in html and "<b>: " not in html


def test_heat_in_words():
    joints = pd.DataFrame({"site": ["MCP2"], "x0": [0.5], "y0": [0.0], "x1": [1.0], "y1": [0.5]})
    values = np.zeros((8, 8), np.uint8)
    values[1, 6] = 255
    heat = Heat(values, False, "gradcam", "conv")
    assert "at MCP2" in view.summarise_heat(state_of(joints=joints, heat=heat))
    assert "upper right" in view.summarise_heat(state_of(heat=heat))
    assert "flat" in view.summarise_heat(state_of(heat=dataclasses.replace(heat, flat=True)))


def test_regions_are_ranked_and_drawn():
    labels = np.repeat([0, 1], 32).reshape(8, 8)
    shap = SimpleNamespace(
        names=["MCP2", "MCP3"],
        values=np.array([0.5, -2.0]),
        standard_error=np.array([0.1, 0.1]),
        base_value=0.0,
        logit=-1.5,
        additivity_error=0.0,
    )
    one = state_of(
        shap=shap,
        regions=SimpleNamespace(labels=labels, origin="joints as marked"),
        heat=Heat((labels * 255).astype(np.uint8), False, "gradcam", "conv"),
    )
    rows = view.rank_regions(one)
    assert [r["name"] for r in rows] == ["MCP3", "MCP2"] and [r["heat"] for r in rows] == [1.0, 0.0]
    colours, marks = view.colour_regions(one)
    assert colours[1][:3] == list(AGAINST)
    assert colours[0] == [*FOR, 0.25]
    assert [m[0] for m in marks] == ["1−", "2+"], "a sign as well as the colour"
    table = text_of(view.view_regions(one, INFO))
    assert "against RA" in table and "-2 ± 0.1" in table


def test_asymmetry_needs_a_left_and_a_right_hand():
    study = StudyState(hands=(state_of(0.2, side="L"), state_of(0.8, side="R")))
    words = text_of(view.view_asymmetry(study, INFO))
    assert "the right hand is higher by 2.77" in words, "twice log 4"
    two_left = StudyState(hands=(state_of(0.2, side="L"), state_of(0.8, side="L")))
    assert view.view_asymmetry(two_left, INFO) == ""


# --- the worker ---


def test_a_new_job_stops_the_one_before_and_short_ones_do_not_wait():
    failures, done, started, go = [], [], threading.Event(), threading.Event()
    worker = Worker(failures.append)

    def long(ticket):
        started.set()
        go.wait(5)
        try:
            ticket.check()
        except StoppedError:
            done.append("stopped")
            raise

    def steady(ticket):
        started.set()
        go.wait(5)
        ticket.check()
        done.append("long")

    worker.start(long)
    assert started.wait(5)
    worker.start(lambda ticket: done.append("second"))
    go.set()
    assert worker.wait(5) and done == ["stopped", "second"] and not failures
    started.clear()
    go.clear()
    worker.start(steady)
    assert started.wait(5)
    worker.between(lambda: done.append("short"))
    go.set()
    assert worker.wait(5) and done[2:] == ["short", "long"]
    worker.start(lambda ticket: 1 / 0)
    assert worker.wait(5) and isinstance(failures[0], ZeroDivisionError)


# --- the reader study ---


def test_study_has_one_film_per_patient_and_half_of_them_positive():
    labels, patients = np.repeat([0, 1], 20), np.repeat(np.arange(20), 2)
    study = reader_study.draw_study(labels, patients, np.arange(40), 10, np.random.default_rng(0))
    rows = [r.row for r in study.readings]
    assert len(rows) == 10 == len(set(patients[rows])) and labels[rows].sum() == 5


def test_study_scores_by_hand():
    labels = np.array([1, 1, 0, 0])
    study = reader_study.draw_study(labels, np.arange(4), np.arange(4), 4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="alone"):
        reader_study.read_again(study, True)
    while study.now:
        # alone always no, the model always yes, then always right
        study = reader_study.read_alone(study, False, True, 0.9)
        study = reader_study.read_again(study, study.now.truth)
    scores = reader_study.score_study(study)
    assert [scores["sensitivity"][who]["value"] for who in ("alone", "after", "model")] == [0, 1, 1]
    assert [scores["specificity"][who]["value"] for who in ("alone", "after", "model")] == [1, 1, 0]
    assert scores["sensitivity"]["effect"]["value"] == 1
    assert scores["specificity"]["effect"]["value"] == 0
    low, high = (scores["specificity"]["effect"][k] for k in ("low", "high"))
    assert low < 0 < high, "two films that did not change prove nothing"
    assert scores["helped"] == 2 and scores["harmed"] == 0
    assert reader_study.write_readings(study, INFO).decode().count("\n") == 5


def test_paired_interval_contains_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        skill = rng.random(40) < 0.6
        # the true difference is 0.2 (0.75 - 0.6) = 0.03
        changed = np.where(rng.random(40) < 0.8, skill, rng.random(40) < 0.75)
        found = reader_study.paired_difference(changed, skill)
        inside += found["low"] <= 0.03 <= found["high"]
    assert 0.92 <= inside / 400 <= 0.995


# --- callbacks on a tiny run ---


@pytest.fixture(scope="module")
def panel(tiny_run):
    made = Panel(tiny_run)
    assert made.session.worker.wait(120) and made.message.value == ""
    return made


def test_sample_gets_answer_explanations_and_truth(panel):
    part = panel.diagnosis
    part.sample.value = 0
    assert panel.session.worker.wait(120) and panel.message.value == ""
    assert all(h.answered and h.heat is not None and h.shap is not None for h in part.state.hands)
    assert "Probability of RA" in part.html["answer"].value
    assert "Shapley" in part.html["regions"].value
    assert part.viewer.pixels and part.viewer.heat and "heat map" in part.viewer.alt
    assert part.html["reveal"].value == ""
    part.truth.click()
    assert "Truth" in part.html["reveal"].value
    before = part.html["answer"].value
    part.prevalence.value = 40
    assert part.html["answer"].value != before and "40 %" in part.html["answer"].value
    drawn = part.viewer.heat
    part.viewer.layer = part.viewer.layers[-1]
    assert panel.session.worker.wait(60) and part.viewer.heat != drawn


def test_a_study_of_a_good_and_a_bad_file(panel):
    part = panel.diagnosis
    both = np.hstack([hand("L"), hand("R")])
    part._on_files(
        [
            ("both.png", png(both)),
            ("bad.png", b"this is not a picture"),
            ("noise.png", png(np.random.default_rng(0).random((300, 200)))),
        ]
    )
    assert panel.session.worker.wait(120) and panel.message.value == ""
    names = [h.picture.name for h in part.state.hands]
    assert names == ["both.png (left hand)", "both.png (right hand)", "noise.png"]
    assert "bad.png" in part.html["refused"].value
    assert part.state.hands[0].answered and not part.state.hands[2].answered
    part.hand.value = 2
    assert "No answer" in part.html["answer"].value and part.downloads.disabled


def test_exports_come_from_memory(panel, monkeypatch):
    part, got = panel.diagnosis, {}
    part._on_files([("film.png", png(hand()))])
    assert panel.session.worker.wait(120)

    def keep(name, mime, content):
        got[name.rsplit(".", 1)[1]] = content

    monkeypatch.setattr(part.downloads, "deliver", keep)
    part.viewer.method = "hirescam"
    for kind in ("html", "pdf", "dcm", "json"):
        part.downloads._on_message(None, {"kind": "make", "what": kind}, [])
    assert panel.session.worker.wait(60) and panel.message.value == ""
    assert len(got) == 4 and got["pdf"].startswith(b"%PDF-")
    saved = json.loads(got["json"])
    assert saved["heatmap"].startswith("HiResCAM, layer "), "what is saved is what is seen"
    assert [r["shapley"] for r in saved["regions"]["values"]] == pytest.approx(
        part.state.hand.shap.values.tolist()
    )


def test_pieces_of_a_file_are_joined_and_limits_hold(panel):
    got, drop = [], panel.diagnosis.drop
    drop._done, before = got.append, drop._done
    content = bytes(range(200)) * 10

    def send(at, piece, size=2000):
        message = {"batch": 1, "index": 0, "files": 1, "name": "a.png", "size": size, "at": at}
        drop._on_message(None, {"kind": "piece"} | message, [piece])

    send(0, content[:1500])
    send(1500, content[1500:])
    assert got == [[("a.png", content)]]
    send(0, content)
    send(7, b"out of place", 5000)
    drop.most_bytes, most = 100, drop.most_bytes
    send(0, content)
    drop.most_bytes, drop._done = most, before
    assert len(got) == 2, "a piece out of order and a file over the limit are dropped"


def test_what_if_moves_the_film(panel):
    part = panel.whatif
    part.draw.click()
    assert panel.session.worker.wait(60)
    first = part.viewer.pixels
    part.severity.value = 1.0
    assert panel.session.worker.wait(60) and panel.message.value == ""
    assert part.viewer.pixels != first and len(part.steps) == 2 and "points" in part.history.value


def test_reader_study_to_its_end(panel):
    part = panel.reader
    part.films.value = 2
    part.begin.click()
    for _ in range(2):
        assert panel.session.worker.wait(60)
        assert "Probability" not in part.answer.value, "not before the film has been read alone"
        part.yes.click()
        assert panel.session.worker.wait(60) and "Probability" in part.answer.value
        part.no.click()
    assert panel.session.worker.wait(60) and panel.message.value == ""
    assert "Your study: 2 films" in part.result.value


def test_two_panels_share_nothing(panel, tiny_run):
    other = Panel(tiny_run)
    assert other.session.worker.wait(120)
    assert other.diagnosis.state.hands == () and other.session.worker is not panel.session.worker


def test_page_starts_without_tensorflow():
    """Only the worker's thread imports it: the page is there before the network is."""
    code = (
        "import rahelpers.panel.app, sys; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bars_have_the_colours_of_the_figures():
    css = Root._css
    for name, colour in (("--ra-for", FOR), ("--ra-against", AGAINST)):
        assert f"{name}: {' '.join(map(str, colour))};" in css and f"var({name})" in css
