"""The reader study on the page: thin callbacks around `reader_study`."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets
import numpy as np

from rahelpers.panel import view
from rahelpers.panel.controls import Downloads, FilmViewer, Slider, boxed, show_or_hide
from rahelpers.panel.reader_study import (
    Study,
    draw_study,
    read_again,
    read_alone,
    view_scores,
    write_readings,
)
from rahelpers.panel.session import Session
from rahelpers.panel.state import METHOD_NAMES, HandState
from rahelpers.panel.work import Ticket

INTRODUCTION = (
    "<p>Read films of the test split yourself. For each film say what you see, then look at the"
    " model's answer with its heat map, and answer again. At the end you see how the model's answer"
    " changed yours. Nothing is kept unless you save it.</p>"
)
OFFER = ("csv", "Save my readings (CSV)", "A table of your readings, one row per film")


class Reader:
    """One film after another, each read twice."""

    def __init__(self, session: Session, rng: np.random.Generator | None = None) -> None:
        self.session, self.study = session, Study()
        self.hand: HandState | None = None
        self.rng = rng or np.random.default_rng()
        self.films = Slider(label="Films to read", low=2, high=40, step=1, value=10, disabled=True)
        self.begin = widgets.Button(description="Begin", disabled=True)
        self.words = widgets.HTML(INTRODUCTION)
        self.viewer = FilmViewer(methods=[["gradcam", METHOD_NAMES["gradcam"]]])
        self.answer, self.result = widgets.HTML(), widgets.HTML()
        self.no, self.yes = widgets.Button(description="no"), widgets.Button(description="yes")
        self.save = Downloads([OFFER], self._on_save, disabled=False)
        self.begin.on_click(lambda _: self._on_begin())
        self.no.on_click(lambda _: self._on_said(False))
        self.yes.on_click(lambda _: self._on_said(True))
        self.reading = boxed(
            boxed(self.viewer, name="ra-film"),
            boxed(self.answer, boxed(self.no, self.yes, name="ra-line"), name="ra-side"),
            name="ra-main",
        )
        self.box = boxed(
            self.words,
            self.films,
            boxed(self.begin, name="ra-line"),
            self.reading,
            self.result,
            self.save,
            name="ra-part",
        )
        self.render()

    def ready(self) -> None:
        """The cohort is loaded."""
        cohort = self.session.loaded.cohort
        patients = cohort.manifest["patient_id"].iloc[cohort.split("test")].nunique()
        self.films.high, self.films.value = float(patients), float(min(10, patients))
        self.films.disabled = self.begin.disabled = False
        self.no.description, self.yes.description = (
            f"This is {name}" for name in self.session.info["class_names"]
        )

    def render(self) -> None:
        """Show where the study is."""
        study, hand = self.study, self.hand
        show_or_hide(self.films, study.now is None)
        show_or_hide(self.begin, study.now is None)
        show_or_hide(self.reading, study.now is not None and hand is not None)
        show_or_hide(self.save, study.is_done)
        self.begin.description = "Begin again" if study.is_done else "Begin"
        self.result.value = view_scores(study, self.session.info) if study.is_done else ""
        if study.now is None or hand is None:
            return

        info = self.session.info
        with self.viewer.hold_sync():
            for name, value in view.film_traits(hand, info).items():
                setattr(self.viewer, name, value)
            self.viewer.overlay = "heat" if hand.heat is not None else "none"
        words = f"<p role='status'>Film {study.at + 1} of {len(study.readings)}.</p>"
        if study.now.alone is None:
            words += "<h2>What is your answer?</h2>"
        else:
            said = escape(info["class_names"][study.now.alone])
            words += view.view_answer_short(hand, info)
            words += f"<p>You said <b>{said}</b>.</p><h2>What is your answer now?</h2>"
        self.answer.value = words

    def _on_begin(self) -> None:
        cohort = self.session.loaded.cohort
        labels, patients = (cohort.manifest[name].to_numpy() for name in ("label", "patient_id"))
        films = int(self.films.value)
        self.study = draw_study(labels, patients, cohort.split("test"), films, self.rng)
        self._next()

    def _next(self) -> None:
        """Show the film to be read; the network is asked, but its answer is not shown yet."""
        with self.session.lock:
            self.hand = None
            self.render()
        now, at = self.study.now, self.study.at
        if now is None:
            return

        def job(ticket: Ticket) -> None:
            from rahelpers.panel.intake import show_sample
            from rahelpers.prediction.film import answer_hand

            have = self.session.loaded
            picture = show_sample(have.cohort, now.row, f"film {at + 1}")
            hand = HandState(picture, answer_hand(have.bundle, have.known, picture.hand))
            ticket.check()
            with self.session.lock:
                self.hand = hand
                self.render()

        self.session.worker.start(job)

    def _on_said(self, positive: bool) -> None:
        hand, now = self.hand, self.study.now
        if hand is None or now is None:
            return
        if now.alone is not None:
            self.study = read_again(self.study, positive)
            self._next()
            return
        with self.session.lock:
            self.study = read_alone(self.study, positive, hand.positive, hand.probability)
            self.render()

        def act() -> None:
            from rahelpers.panel import reading

            bundle = self.session.loaded.bundle
            layer = bundle.info["gradcam_layer"]
            heat = reading.map_heat(bundle, hand.picture.image, layer, "gradcam")
            with self.session.lock:
                if self.hand is hand:
                    self.hand = HandState(hand.picture, hand.result, heat)
                    self.render()

        self.session.worker.between(act)

    def _on_save(self, _: str) -> None:
        content = write_readings(self.study, self.session.info)
        self.save.deliver("reader_study.csv", "text/csv", content)
