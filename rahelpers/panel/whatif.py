"""What if this hand had more disease, or less? A drawn film follows the sliders, and the network
reads it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets

from rahelpers.films.sites import EROSION_SITES, JSN_SITES
from rahelpers.panel import view
from rahelpers.panel.controls import FilmViewer, Slider, boxed, show_or_hide
from rahelpers.panel.session import Session
from rahelpers.panel.state import METHOD_NAMES, HandState
from rahelpers.panel.work import Ticket
from rahelpers.phantom.disease import ANKYLOSIS

MOST_STEPS = 8  # of the history that is shown
OWN = -1  # the joint keeps the space that the disease gave it


@dataclass(frozen=True)
class WhatIfStep:
    """One setting of the sliders, in words, and the network's probability."""

    words: str
    probability: float


def view_steps(steps: list[WhatIfStep], positive: str, point: float) -> str:
    """How the answer moved, the latest setting first."""
    if not steps:
        return ""
    rows = []
    for now, before in zip(steps, [*steps[1:], None], strict=True):
        change = (
            "" if before is None else f"{100 * (now.probability - before.probability):+.1f} points"
        )
        called = "at or above" if now.probability >= point else "below"
        bar = f"<span class='ra-bar ra-for' style='width:{100 * now.probability:.0f}%'></span>"
        rows.append(
            f"<tr><th scope='row'>{escape(now.words)}</th><td"
            f" class='ra-bars'>{bar}<span>{view.percent(now.probability)}, {called} the"
            f" point</span></td><td class='ra-num'>{change}</td></tr>"
        )
    return (
        "<section aria-label='How the answer moved'><h2>How the answer moved</h2>"
        "<div class='ra-scroll' tabindex='0' role='region' aria-label='Table of settings'><table>"
        "<thead><tr><th scope='col'>Setting</th><th scope='col'>Probability of"
        f" {escape(positive)}</th><th scope='col'>Change</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def view_knobs(film: Any, joint: str) -> str:
    """What was drawn, in numbers."""
    sites = film.joints.set_index("site")
    width = sites.loc[joint, "jsw_mm"]
    return (
        f"<p>Drawn: erosion score {int(sites['erosion'].sum())} of 80, joint-space narrowing score"
        f" {int(sites['jsn'].sum())} of 60 (one hand). The joint space of {escape(joint)} is"
        f" {width:.1f} mm wide; a pixel is {film.spacing_mm:.2f} mm.</p>"
    )


class WhatIf:
    """Sliders of the disease beside the film that they draw and the answer that it gets."""

    def __init__(self, session: Session) -> None:
        self.session, self.steps = session, []
        self.hand: HandState | None = None
        wide = {"description_width": "initial"}
        self.patient = Slider(label="Drawn patient", low=0, high=99, step=1, value=0)
        self.severity = Slider(
            label="Severity of the disease, 0 to 1", low=0, high=1, step=0.05, value=0.6, digits=2
        )
        self.duration = Slider(
            label="Time since it began", unit="years", low=0, high=30, step=0.5, value=8, digits=1
        )
        self.site = widgets.Dropdown(
            options=list(EROSION_SITES), value="MCP2", description="Erosion at", style=wide
        )
        self.grade = Slider(
            label="Erosion there, SvdH grade 0 to 5", low=0, high=5, step=1, value=3
        )
        self.joint = widgets.Dropdown(
            options=list(JSN_SITES), value="MCP3", description="Joint space of", style=wide
        )
        grades = [
            ("as the disease left it", OWN),
            *[(f"grade {g}", g) for g in range(ANKYLOSIS)],
            (f"grade {ANKYLOSIS}, fused", ANKYLOSIS),
        ]
        self.narrowing = widgets.Dropdown(
            options=grades, value=OWN, description="Narrowing there, SvdH", style=wide
        )
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
        self.viewer = FilmViewer(methods=[list(METHOD_NAMES.items())[0]], overlay="none")
        self.answer, self.drawn, self.history = (widgets.HTML() for _ in range(3))
        self.draw = widgets.Button(
            description="Draw the film",
            tooltip="The first time; afterwards every slider draws it again",
        )
        self.draw.on_click(lambda _: self._on_change())
        self.box = boxed(
            widgets.HTML(
                "<p>Move the disease of a drawn hand, and see the answer move. Nothing here is a"
                " patient.</p>"
            ),
            boxed(
                boxed(self.viewer, self.drawn, name="ra-film"),
                boxed(self.answer, *self.knobs, boxed(self.draw, name="ra-line"), name="ra-side"),
                name="ra-main",
            ),
            self.history,
            name="ra-part",
        )
        for knob in self.knobs:
            knob.observe(lambda _: self._on_change(), "value")
        show_or_hide(self.viewer, False)

    def ready(self) -> None:
        """The network is there: a model of real films cannot be asked about a drawn one."""
        if self.session.info["source"] != "phantom":
            self.box.children = [
                widgets.HTML(
                    "<p>This model was trained on real films. A drawn hand is unlike them, so there"
                    " is nothing to try here.</p>"
                )
            ]

    def _on_change(self) -> None:
        seed = self.session.run.config.seed
        given = {
            "index": int(self.patient.value),
            "severity": self.severity.value,
            "duration": self.duration.value,
            "site": self.site.value,
            "grade": int(self.grade.value),
            "dose": self.dose.value,
            "joint": self.joint.value,
            "narrowing": self.narrowing.value,
        }
        with self.session.lock:
            show_or_hide(self.draw, False)
            self.answer.value = "<p class='ra-status' role='status'>Drawing …</p>"

        def job(ticket: Ticket) -> None:
            from rahelpers.panel import reading
            from rahelpers.panel.intake import show_phantom
            from rahelpers.phantom.knobs import render_knobs
            from rahelpers.prediction.film import answer_hand

            chosen = {k: v for k, v in given.items() if k != "narrowing" and k != "joint"}
            film = render_knobs(
                seed,
                **chosen,
                jsn={} if given["narrowing"] == OWN else {given["joint"]: given["narrowing"]},
            )
            ticket.check()
            picture = show_phantom(film, self.session.info)
            hand = HandState(
                picture, answer_hand(self.session.bundle, self.session.known, picture.hand)
            )
            ticket.check()
            self._show(hand, film, given)
            if hand.answered:
                heat = reading.map_heat(
                    self.session.bundle,
                    picture.image,
                    self.session.info["gradcam_layer"],
                    "gradcam",
                )
                ticket.check()
                self._show(HandState(picture, hand.result, heat), film, given, add=False)

        self.session.worker.start(job)

    def _show(self, hand: HandState, film: Any, given: dict[str, Any], add: bool = True) -> None:
        info = self.session.info
        with self.session.lock:
            self.hand = hand
            if add and hand.answered:
                narrowed = (
                    ""
                    if given["narrowing"] == OWN
                    else f", {given['joint']} space grade {given['narrowing']}"
                )
                words = (
                    f"patient {given['index']}, severity {given['severity']:.2f},"
                    f" {given['duration']:.1f} years, {given['site']} erosion"
                    f" {given['grade']}{narrowed}, {given['dose']:.1f} µGy"
                )
                self.steps = [WhatIfStep(words, hand.result.probability), *self.steps][:MOST_STEPS]
            with self.viewer.hold_sync():
                for name, value in view.film_traits(hand, info).items():
                    setattr(self.viewer, name, value)
            show_or_hide(self.viewer, True)
            self.answer.value = view.view_answer_short(hand, info)
            self.drawn.value = view_knobs(film, given["joint"])
            self.history.value = view_steps(
                self.steps, view.positive_name(info), info["operating_point"]["probability"]
            )
