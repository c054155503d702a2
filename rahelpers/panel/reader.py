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
    " model's answer with its heat map, and say it again. At the end you see what the answer did to"
    " you. Nothing is kept unless you save it.</p>"
)


class Reader:
    """One film after another, each read twice."""

    def __init__(self, session: Session, rng: np.random.Generator | None = None) -> None:
        self.session, self.study, self.hand = session, Study(), None
        self.rng = rng or np.random.default_rng()
        self.films = Slider(label="Films to read", low=2, high=40, step=1, value=10, disabled=True)
        self.begin = widgets.Button(description="Begin", disabled=True)
        self.words = widgets.HTML(INTRODUCTION)
        self.viewer = FilmViewer(methods=[list(METHOD_NAMES.items())[0]])
        self.answer, self.result = widgets.HTML(), widgets.HTML()
        self.no, self.yes = widgets.Button(description="no"), widgets.Button(description="yes")
        self.save = Downloads(
            [("csv", "Save my readings (CSV)", "A table of your readings, one film a row")],
            self._on_save,
            disabled=False,
        )
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
        """The cohort is there."""
        cohort = self.session.cohort
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
        place = f"<p role='status'>Film {study.at + 1} of {len(study.readings)}.</p>"
        if study.now.alone is None:
            self.answer.value = f"{place}<h2>What do you say?</h2>"
        else:
            said = escape(info["class_names"][study.now.alone])
            self.answer.value = (
                f"{place}{view.view_answer_short(hand, info)}<p>You said <b>{said}</b>.</p><h2>What"
                " do you say now?</h2>"
            )

    def _on_begin(self) -> None:
        manifest, rows = self.session.cohort.manifest, self.session.cohort.split("test")
        labels, patients = manifest["label"].to_numpy(), manifest["patient_id"].to_numpy()
        self.study = draw_study(labels, patients, rows, int(self.films.value), self.rng)
        self._next()

    def _next(self) -> None:
        """Show the film that is to be read; the network is asked, and says nothing yet."""
        with self.session.lock:
            self.hand = None
            self.render()
        now, at = self.study.now, self.study.at
        if now is None:
            return

        def job(ticket: Ticket) -> None:
            from rahelpers.panel.intake import show_sample
            from rahelpers.prediction.film import answer_hand

            picture = show_sample(self.session.cohort, now.row, f"film {at + 1}")
            hand = HandState(
                picture, answer_hand(self.session.bundle, self.session.known, picture.hand)
            )
            ticket.check()
            with self.session.lock:
                self.hand = hand
                self.render()

        self.session.worker.start(job)

    def _on_said(self, positive: bool) -> None:
        if self.hand is None or self.study.now is None:
            return
        if self.study.now.alone is not None:
            self.study = read_again(self.study, positive)
            self._next()
            return
        hand = self.hand
        with self.session.lock:
            self.study = read_alone(
                self.study, positive, hand.result.positive, hand.result.probability
            )
            self.render()

        def act() -> None:
            from rahelpers.panel import reading

            heat = reading.map_heat(
                self.session.bundle,
                hand.picture.image,
                self.session.info["gradcam_layer"],
                "gradcam",
            )
            with self.session.lock:
                if self.hand is hand:
                    self.hand = HandState(hand.picture, hand.result, heat)
                    self.render()

        self.session.worker.between(act)

    def _on_save(self, _: str) -> None:
        self.save.deliver(
            "reader_study.csv", "text/csv", write_readings(self.study, self.session.info)
        )
