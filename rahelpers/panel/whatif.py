"""What if this hand had more disease, or less?

A drawn film follows the sliders, and the network reads it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets

from rahelpers.films.sites import EROSION_SITES, JSN_SITES
from rahelpers.panel import view
from rahelpers.panel.controls import FilmViewer, Slider, boxed, dropdown, show_or_hide
from rahelpers.panel.markup import bar_cell, number_cell, percent, row_head, section, table
from rahelpers.panel.session import Session
from rahelpers.panel.state import METHOD_NAMES, HandState
from rahelpers.panel.work import Ticket
from rahelpers.phantom import PhantomFilm
from rahelpers.phantom.disease import ANKYLOSIS
from rahelpers.phantom.knobs import render_knobs

MOST_STEPS = 8  # of the history that is shown
OWN = -1  # the joint keeps the space that the disease gave it


@dataclass(frozen=True)
class WhatIfStep:
    """One setting of the sliders, in words, and the network's probability."""

    words: str
    probability: float


def view_steps(steps: list[WhatIfStep], positive: str, point: float) -> str:
    """How the answer changed, the latest setting first."""
    if not steps:
        return ""
    rows = []
    for now, before in zip(steps, [*steps[1:], None], strict=True):
        side = "at or above" if now.probability >= point else "below"
        change = ""
        if before is not None:
            change = f"{100 * (now.probability - before.probability):+.1f} points"
        cells = (
            row_head(now.words),
            bar_cell(
                now.probability, "for", f"{percent(now.probability)}, {side} the operating point"
            ),
            number_cell(change),
        )
        rows.append(cells)
    heads = ("Setting", f"Probability of {positive}", "Change")
    title = "How the answer changed"
    return section(title, f"<h2>{title}</h2>", table(heads, rows, "Table of settings"))


def view_drawn(film: PhantomFilm, joint: str) -> str:
    """What was drawn, in numbers."""
    sites = film.joints.set_index("site")
    return (
        f"<p>Drawn: erosion score {int(sites['erosion'].sum())} of 80, joint-space narrowing score"
        f" {int(sites['jsn'].sum())} of 60 (one hand). The joint space of {escape(joint)} is"
        f" {sites.loc[joint, 'jsw_mm']:.1f} mm wide; one pixel is {film.spacing_mm:.2f} mm.</p>"
    )


class WhatIf:
    """Sliders of the disease, the film that they draw, and the answer that it gets."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.steps: list[WhatIfStep] = []
        self.hand: HandState | None = None
        self._make_controls()
        self.box = self._lay_out()
        self.draw.on_click(lambda _: self._on_change())
        for knob in self.knobs:
            knob.observe(lambda _: self._on_change(), "value")
        show_or_hide(self.viewer, False)

    def _make_controls(self) -> None:
        self.patient = Slider(label="Drawn patient", low=0, high=99, step=1, value=0)
        self.severity = Slider(
            label="Severity of the disease, 0 to 1", low=0, high=1, step=0.05, value=0.6, digits=2
        )
        self.duration = Slider(
            label="Time since onset", unit="years", low=0, high=30, step=0.5, value=8, digits=1
        )
        self.site = dropdown("Erosion at", list(EROSION_SITES), "MCP2")
        self.grade = Slider(
            label="Grade of this erosion, SvdH 0 to 5", low=0, high=5, step=1, value=3
        )
        self.joint = dropdown("Joint space of", list(JSN_SITES), "MCP3")
        grades = [
            ("as the disease left it", OWN),
            *[(f"grade {g}", g) for g in range(ANKYLOSIS)],
            (f"grade {ANKYLOSIS}, fused", ANKYLOSIS),
        ]
        self.narrowing = dropdown("Narrowing of this joint space, SvdH", grades, OWN)
        self.dose = Slider(
            label="Dose at the detector",
            unit="µGy",
            low=0.1,
            high=10,
            step=0.1,
            value=2.5,
            digits=1,
        )
        self.knobs = (
            self.patient,
            self.severity,
            self.duration,
            self.site,
            self.grade,
            self.joint,
            self.narrowing,
            self.dose,
        )
        self.viewer = FilmViewer(methods=[["gradcam", METHOD_NAMES["gradcam"]]], overlay="none")
        self.answer, self.drawn, self.history = (widgets.HTML() for _ in range(3))
        self.draw = widgets.Button(
            description="Draw the film",
            tooltip="Only needed once; after that every slider redraws the film",
        )

    def _lay_out(self) -> widgets.Box:
        words = (
            "<p>Change the disease of a drawn hand, and see how the answer changes. Nothing here is"
            " a patient.</p>"
        )
        side = boxed(self.answer, *self.knobs, boxed(self.draw, name="ra-line"), name="ra-side")
        film = boxed(self.viewer, self.drawn, name="ra-film")
        return boxed(
            widgets.HTML(words), boxed(film, side, name="ra-main"), self.history, name="ra-part"
        )

    def ready(self) -> None:
        """The network is loaded: a model of real films cannot be asked about a drawn one."""
        if self.session.info["source"] != "phantom":
            words = (
                "<p>This model was trained on real films. A drawn hand is unlike them, so there is"
                " nothing to try here.</p>"
            )
            self.box.children = [widgets.HTML(words)]

    def _on_change(self) -> None:
        narrowing = {} if self.narrowing.value == OWN else {self.joint.value: self.narrowing.value}
        given = {
            "index": int(self.patient.value),
            "severity": self.severity.value,
            "duration": self.duration.value,
            "site": self.site.value,
            "grade": int(self.grade.value),
            "dose": self.dose.value,
            "jsn": narrowing,
        }
        joint = self.joint.value
        with self.session.lock:
            show_or_hide(self.draw, False)
            self.answer.value = "<p class='ra-status' role='status'>Drawing …</p>"

        def job(ticket: Ticket) -> None:
            from rahelpers.panel import reading
            from rahelpers.panel.intake import show_phantom
            from rahelpers.prediction.film import answer_hand

            have = self.session.loaded
            film = render_knobs(self.session.run.config.seed, **given)
            ticket.check()
            picture = show_phantom(film, have.bundle.info)
            hand = HandState(picture, answer_hand(have.bundle, have.known, picture.hand))
            ticket.check()
            if hand.answered:
                step = WhatIfStep(say_setting(given), hand.probability)
                self.steps = [step, *self.steps][:MOST_STEPS]
            self._show(hand, view_drawn(film, joint))

            # the answer is on the page before its heat map is drawn
            if hand.answered:
                layer = have.bundle.info["gradcam_layer"]
                heat = reading.map_heat(have.bundle, picture.image, layer, "gradcam")
                ticket.check()
                self._show(HandState(picture, hand.result, heat), view_drawn(film, joint))

        self.session.worker.start(job)

    def _show(self, hand: HandState, drawn: str) -> None:
        info = self.session.info
        with self.session.lock:
            self.hand = hand
            with self.viewer.hold_sync():
                for name, value in view.film_traits(hand, info).items():
                    setattr(self.viewer, name, value)
            show_or_hide(self.viewer, True)
            self.answer.value = view.view_answer_short(hand, info)
            self.drawn.value = drawn
            self.history.value = view_steps(
                self.steps, view.positive_name(info), info["operating_point"]["probability"]
            )


def say_setting(given: dict[str, Any]) -> str:
    """The values that `render_knobs` gets, in words."""
    narrowed = "".join(f", {joint} space grade {grade}" for joint, grade in given["jsn"].items())
    return (
        f"patient {given['index']}, severity {given['severity']:.2f},"
        f" {given['duration']:.1f} years, {given['site']} erosion {given['grade']}{narrowed},"
        f" {given['dose']:.1f} µGy"
    )
