"""The part of the panel that reads films: thin callbacks between controls, worker and views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from rahelpers.films.gate import Refusal
from rahelpers.panel import view
from rahelpers.panel.controls import (
    Downloads,
    DropZone,
    FilmViewer,
    Slider,
    boxed,
    dropdown,
    show_or_hide,
)
from rahelpers.panel.session import Session, list_patients
from rahelpers.panel.state import METHOD_NAMES, HandState, Picture, StudyState
from rahelpers.panel.work import Ticket

EXPORTS = [
    ("html", "Report (HTML)", "One page that needs no other file"),
    ("pdf", "Report (PDF)", "One page to print"),
    ("dcm", "Overlay (DICOM)", "A Secondary Capture, marked as not for clinical use"),
    ("json", "Numbers (JSON)", "For researchers"),
]
MIME = {
    "html": "text/html",
    "pdf": "application/pdf",
    "dcm": "application/dicom",
    "json": "application/json",
}
LOADING = "The network is loading"


class Diagnosis:
    """Choose a film, read the answer, look at its explanations."""

    def __init__(self, session: Session) -> None:
        self.session, self.state = session, StudyState(progress=0.0, doing=LOADING)
        self._files: list[tuple[str, bytes]] = []
        self._patients: list[tuple[str, tuple[int, ...]]] = []
        self._make_controls()
        self._connect()
        self.box = self._lay_out()
        self.render()

    def _make_controls(self) -> None:
        self.drop = DropZone(self._on_files)
        self.sample = dropdown("Or a patient of the test split", [(LOADING, -1)], -1, disabled=True)
        sides = [("as the file says", ""), ("left", "L"), ("right", "R")]
        self.side = dropdown("Side of the films you bring", sides, "")
        self.hand = dropdown("Hand shown", [("", 0)], 0)
        self.viewer = FilmViewer(methods=[list(item) for item in METHOD_NAMES.items()])
        self.prevalence = Slider(
            label="Share of people who have the disease", unit="%", value=10, low=1, high=60, step=1
        )
        self.truth = widgets.Button(
            description="Show the truth", tooltip="The labels of these test films"
        )
        self.cancel = widgets.Button(
            description="Cancel", tooltip="Stop the explanations; the answer stays"
        )
        self.downloads = Downloads(EXPORTS, self._on_download)
        names = ("progress", "refused", "answer", "reveal", "facts", "hands", "regions", "similar")
        self.html = {name: widgets.HTML() for name in names}

    def _connect(self) -> None:
        self.sample.observe(self._on_sample, "value")
        self.side.observe(lambda _: self._on_side(), "value")
        self.hand.observe(lambda change: self.update(current=change["new"]), "value")
        self.prevalence.observe(self._on_prevalence, "value")
        self.viewer.observe(lambda _: self._on_map(), ["method", "layer"])
        self.truth.on_click(lambda _: self.update(revealed=not self.state.revealed))
        self.cancel.on_click(lambda _: self._on_cancel())

    def _lay_out(self) -> widgets.Box:
        h = self.html
        choices = boxed(self.sample, self.side, name="ra-stack")
        answer = boxed(
            self.hand,
            h["answer"],
            self.prevalence,
            boxed(self.truth, name="ra-line"),
            h["reveal"],
            self.downloads,
            name="ra-side",
        )
        return boxed(
            boxed(self.drop, choices, name="ra-intake"),
            boxed(h["progress"], self.cancel, name="ra-line"),
            h["refused"],
            boxed(boxed(self.viewer, name="ra-film"), answer, name="ra-main"),
            h["hands"],
            h["regions"],
            h["similar"],
            h["facts"],
            name="ra-part",
        )

    def ready(self) -> None:
        """Cohort and network are loaded: offer the patients of the test split."""
        self._patients = list_patients(self.session.loaded.cohort)
        self.sample.options = [("choose a patient", -1)] + [
            (f"patient {i + 1} of {len(self._patients)} ({len(rows)} films)", i)
            for i, (_, rows) in enumerate(self._patients)
        ]
        self.sample.disabled = False
        self.update(progress=None, doing="Ready. Choose a film.")

    # --- state ---

    def update(self, **changes: Any) -> None:
        """Replace some of the state, and show it."""
        with self.session.lock:
            self.state = replace(self.state, **changes)
            self.render()

    def _change(self, index: int, **changes: Any) -> None:
        """Replace some of what is known about one hand."""
        with self.session.lock:
            hands = list(self.state.hands)
            hands[index] = replace(hands[index], **changes)
            self.update(hands=tuple(hands))

    def render(self) -> None:
        """Show the state. Only what has changed goes to the page."""
        state, hand, h = self.state, self.state.hand, self.html
        h["progress"].value = view.view_progress(state)
        h["refused"].value = view.view_refused(state.refused)

        # what means nothing yet is off the page
        has_answer = hand is not None and hand.answered
        for widget in (self.viewer, h["facts"], h["answer"]):
            show_or_hide(widget, hand is not None)
        show_or_hide(self.cancel, state.progress is not None and bool(state.hands))
        show_or_hide(self.hand, len(state.hands) > 1)
        show_or_hide(self.prevalence, hand is not None and has_answer and not hand.unlike)
        show_or_hide(self.downloads, has_answer)
        show_or_hide(self.truth, any(one.picture.truth is not None for one in state.hands))
        self.truth.description = "Hide the truth" if state.revealed else "Show the truth"
        self.downloads.disabled = hand is None or not has_answer or hand.heat is None
        if hand is None:
            for name in ("answer", "reveal", "facts", "hands", "regions", "similar"):
                h[name].value = ""
            return

        info, performance = self.session.info, self.session.loaded.performance
        with self.viewer.hold_sync():
            for name, value in view.film_traits(hand, info).items():
                setattr(self.viewer, name, value)
        h["answer"].value = view.view_answer(hand, info, performance, state.prevalence)
        h["reveal"].value = view.view_truth(state, info)
        h["facts"].value = view.view_facts(hand.picture, info)
        h["hands"].value = view.view_hands(state, info)
        h["regions"].value = view.view_regions(hand, info)
        h["similar"].value = view.view_similar(hand, info)

    # --- callbacks of the controls ---

    def _on_files(self, files: list[tuple[str, bytes]]) -> None:
        self._files = files
        self.sample.value = -1
        side = self.side.value

        def pictures() -> tuple[list[Picture], list[Refusal]]:
            from rahelpers.panel.intake import read_files

            return read_files(files, self.session.info, side)

        self._read(pictures)

    def _on_side(self) -> None:
        if self._files:
            self._on_files(self._files)

    def _on_sample(self, change: dict[str, Any]) -> None:
        if change["new"] < 0:
            return
        self._files = []
        self.drop.forget()
        number, rows = change["new"], self._patients[change["new"]][1]

        def pictures() -> tuple[list[Picture], list[Refusal]]:
            from rahelpers.panel.intake import show_sample

            cohort = self.session.loaded.cohort
            name = f"test patient {number + 1}, film"
            return [show_sample(cohort, row, f"{name} {i + 1}") for i, row in enumerate(rows)], []

        self._read(pictures)

    def _on_prevalence(self, change: dict[str, Any]) -> None:
        self.update(prevalence=min(max(change["new"] / 100, 0.001), 0.999))

    def _on_map(self) -> None:
        """Another method or layer: redraw every map now, not after the current job."""

        def act() -> None:
            for index, hand in enumerate(self.state.hands):
                wanted = (self.viewer.method, self.viewer.layer)
                if hand.heat is not None and (hand.heat.method, hand.heat.layer) != wanted:
                    self._heat(index)

        self.session.worker.between(act)

    def _on_cancel(self) -> None:
        self.session.worker.stop()
        self.update(progress=None, doing="Stopped. The results so far stay.")

    def _on_download(self, kind: str) -> None:
        def act() -> None:
            from rahelpers.prediction import exports

            hand = self.state.hand
            result = hand.shown_result if hand is not None else None
            if hand is None or hand.heat is None or result is None:
                self.downloads.fail("There is no answer to save yet.")
                return
            make = {
                "html": exports.write_html,
                "pdf": exports.write_pdf,
                "dcm": exports.write_dicom,
                "json": exports.write_json,
            }[kind]
            self.downloads.deliver(f"{exports.file_stem(result)}.{kind}", MIME[kind], make(result))

        self.session.worker.between(act)

    # --- jobs of the worker ---

    def _read(self, pictures: Callable[[], tuple[list[Picture], list[Refusal]]]) -> None:
        """Show films, then answers, then explanations, each as soon as it is there."""
        doing = "Reading the film" if self.session.is_loaded else LOADING
        self.update(hands=(), refused=(), current=0, revealed=False, progress=0.0, doing=doing)

        def job(ticket: Ticket) -> None:
            found, refused = pictures()
            ticket.check()
            with self.session.lock:
                self.hand.options = [(p.name, i) for i, p in enumerate(found)] or [("", 0)]
                self.update(hands=tuple(HandState(p) for p in found), refused=tuple(refused))
            self._answer_all(ticket)
            self._explain_all(ticket)
            any_answer = any(hand.answered for hand in self.state.hands)
            self.update(progress=None, doing="Done." if any_answer else "No film could be read.")

        self.session.worker.start(job)

    def _answer_all(self, ticket: Ticket) -> None:
        from rahelpers.prediction.film import answer_hand

        have = self.session.loaded
        for index, hand in enumerate(self.state.hands):
            if not hand.picture.refusal:
                ticket.check()
                result = answer_hand(have.bundle, have.known, hand.picture.hand)
                self._change(index, result=result)

    def _explain_all(self, ticket: Ticket) -> None:
        from rahelpers.panel import reading

        bundle, config = self.session.loaded.bundle, self.session.run.config
        asked = [i for i, h in enumerate(self.state.hands) if h.answered]

        # heat maps of all hands first: they are fast
        for index in asked:
            self.update(doing="Drawing the heat map")
            ticket.check()
            self._heat(index)

        # then the regions, which take many passes through the network
        for place, index in enumerate(asked):
            self.update(doing="Hiding regions in turn")
            picture = self.state.hands[index].picture

            def progress(share: float, place: int = place) -> None:
                ticket.check()
                self._progress((place + share) / len(asked))

            regions, shap = reading.weigh_regions(
                bundle, picture, config.shap_baseline, config.shap_evaluations, progress
            )
            ticket.check()
            self._change(index, regions=regions, shap=shap)

    def _progress(self, share: float) -> None:
        """Show only the progress: the rest of the page stays as it is."""
        with self.session.lock:
            self.state = replace(self.state, progress=share)
            self.html["progress"].value = view.view_progress(self.state)

    def _heat(self, index: int) -> None:
        from rahelpers.panel import reading

        bundle, viewer = self.session.loaded.bundle, self.viewer
        if not viewer.layers:
            with viewer.hold_sync():
                viewer.layers = reading.layers_of(bundle)
                viewer.layer = viewer.layers[0]
        image = self.state.hands[index].picture.image
        self._change(index, heat=reading.map_heat(bundle, image, viewer.layer, viewer.method))
