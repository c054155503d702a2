"""The part of the panel that reads films: thin callbacks between controls, worker and views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from rahelpers.panel import view
from rahelpers.panel.controls import Downloads, DropZone, FilmViewer, Slider, boxed, show_or_hide
from rahelpers.panel.session import Session
from rahelpers.panel.state import METHOD_NAMES, HandState, StudyState
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
        self.drop = DropZone(self._on_files)
        wide = {"description_width": "initial"}
        self.sample = widgets.Dropdown(
            options=[(LOADING, -1)],
            value=-1,
            description="Or a patient of the test split",
            style=wide,
            disabled=True,
        )
        sides = [("as the file says", ""), ("left", "L"), ("right", "R")]
        self.side = widgets.Dropdown(
            options=sides, value="", description="Side of the films you bring", style=wide
        )
        self.hand = widgets.Dropdown(
            options=[("", 0)], value=0, description="Hand shown", style=wide
        )
        self.viewer = FilmViewer(methods=[list(item) for item in METHOD_NAMES.items()])
        self.prevalence = Slider(
            label="Share of people who have the disease", unit="%", value=10, low=1, high=60, step=1
        )
        self.truth = widgets.Button(
            description="Show the truth", tooltip="The label of these test films"
        )
        self.cancel = widgets.Button(
            description="Cancel", tooltip="Stop the explanations; the answer stays"
        )
        self.downloads = Downloads(EXPORTS, self._on_download)
        names = ("progress", "refused", "answer", "reveal", "facts", "hands", "regions", "similar")
        self.html = {name: widgets.HTML() for name in names}
        self.sample.observe(self._on_sample, "value")
        self.side.observe(lambda _: self._files and self._on_files(self._files), "value")
        self.hand.observe(lambda change: self.update(current=change["new"]), "value")
        self.prevalence.observe(
            lambda change: self.update(prevalence=min(max(change["new"] / 100, 0.001), 0.999)),
            "value",
        )
        self.viewer.observe(self._on_map, ["method", "layer"])
        self.truth.on_click(lambda _: self.update(revealed=not self.state.revealed))
        self.cancel.on_click(lambda _: self._on_cancel())
        h = self.html
        self.box = boxed(
            boxed(self.drop, boxed(self.sample, self.side, name="ra-stack"), name="ra-intake"),
            boxed(h["progress"], self.cancel, name="ra-line"),
            h["refused"],
            boxed(
                boxed(self.viewer, name="ra-film"),
                boxed(
                    self.hand,
                    h["answer"],
                    self.prevalence,
                    boxed(self.truth, name="ra-line"),
                    h["reveal"],
                    self.downloads,
                    name="ra-side",
                ),
                name="ra-main",
            ),
            h["hands"],
            h["regions"],
            h["similar"],
            h["facts"],
            name="ra-part",
        )
        self.render()

    def ready(self) -> None:
        """The cohort and the network are there."""
        from rahelpers.panel.session import list_patients

        patients = list_patients(self.session.cohort)
        options = [("choose a patient", -1)] + [
            (f"patient {i + 1} of {len(patients)} ({len(rows)} films)", i)
            for i, (_, rows) in enumerate(patients)
        ]
        self._patients = patients
        self.sample.options, self.sample.disabled = options, False
        self.update(progress=None, doing="Ready. Choose a film.")

    # --- state ---

    def update(self, **changes: Any) -> None:
        """Replace some of the state, and show it."""
        with self.session.lock:
            self.state = replace(self.state, **changes)
            self.render()

    def _change(self, index: int, **changes: Any) -> None:
        """Replace what is known of one hand."""
        with self.session.lock:
            hands = list(self.state.hands)
            hands[index] = replace(hands[index], **changes)
            self.update(hands=tuple(hands))

    def render(self) -> None:
        """Show the state. Only what differs goes to the page."""
        state, hand, h = self.state, self.state.hand, self.html
        h["progress"].value = view.view_progress(state)
        show_or_hide(self.cancel, state.progress is not None and bool(state.hands))
        h["refused"].value = view.view_refused(state.refused)
        has_answer = hand is not None and hand.answered
        for widget in (self.viewer, h["facts"], h["answer"]):
            show_or_hide(widget, hand is not None)
        show_or_hide(self.hand, len(state.hands) > 1)
        show_or_hide(self.prevalence, has_answer and not hand.unlike)
        show_or_hide(self.downloads, has_answer)
        known = any(one.picture.truth is not None for one in state.hands)
        show_or_hide(self.truth, known)
        self.truth.description = "Hide the truth" if state.revealed else "Show the truth"
        self.downloads.disabled = not has_answer or hand.heat is None
        if hand is None:
            for name in ("answer", "reveal", "facts", "hands", "regions", "similar"):
                h[name].value = ""
            return
        info = self.session.info
        with self.viewer.hold_sync():
            for name, value in view.film_traits(hand, info).items():
                setattr(self.viewer, name, value)
        h["answer"].value = view.view_answer(hand, info, self.session.performance, state.prevalence)
        h["reveal"].value = view.view_truth(state, info)
        h["facts"].value = view.view_facts(hand.picture, info)
        h["hands"].value = view.view_hands(state, info)
        h["regions"].value = view.view_regions(hand, info)
        h["similar"].value = view.view_similar(hand, info)

    # --- jobs ---

    def _on_files(self, files: list[tuple[str, bytes]]) -> None:
        self._files = files
        self.sample.value = -1
        side = self.side.value

        def pictures() -> tuple[list, list]:
            from rahelpers.panel.intake import read_files

            return read_files(files, self.session.info, side)

        self._read(pictures)

    def _on_sample(self, change: dict[str, Any]) -> None:
        if change["new"] < 0:
            return
        self._files = []
        self.drop.forget()
        number, rows = change["new"], self._patients[change["new"]][1]

        def pictures() -> tuple[list, list]:
            from rahelpers.panel.intake import show_sample

            return [
                show_sample(self.session.cohort, row, f"test patient {number + 1}, film {i + 1}")
                for i, row in enumerate(rows)
            ], []

        self._read(pictures)

    def _read(self, pictures: Any) -> None:
        """Show films, then answers, then explanations, each as soon as it is there."""
        self.update(
            hands=(),
            refused=(),
            current=0,
            revealed=False,
            progress=0.0,
            doing="Reading the film" if self.session.bundle else LOADING,
        )

        def job(ticket: Ticket) -> None:
            found, refused = pictures()
            ticket.check()
            with self.session.lock:
                self.hand.options = [(p.name, i) for i, p in enumerate(found)] or [("", 0)]
                self.update(hands=tuple(HandState(p) for p in found), refused=tuple(refused))
            self._answer_all(ticket)
            self._explain_all(ticket)
            done = (
                "Done." if any(h.answered for h in self.state.hands) else "No film could be read."
            )
            self.update(progress=None, doing=done)

        self.session.worker.start(job)

    def _answer_all(self, ticket: Ticket) -> None:
        from rahelpers.prediction.film import answer_hand

        for index, hand in enumerate(self.state.hands):
            if not hand.picture.refusal:
                ticket.check()
                self._change(
                    index,
                    result=answer_hand(self.session.bundle, self.session.known, hand.picture.hand),
                )

    def _explain_all(self, ticket: Ticket) -> None:
        from rahelpers.panel import reading

        bundle, config = self.session.bundle, self.session.run.config
        asked = [i for i, h in enumerate(self.state.hands) if h.answered]
        for index in asked:
            self.update(doing="Drawing the heat map")
            ticket.check()
            self._heat(index)
        for place, index in enumerate(asked):
            self.update(doing="Hiding regions one after another")
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
        """Progress alone: the rest of the page stays as it is."""
        with self.session.lock:
            self.state = replace(self.state, progress=share)
            self.html["progress"].value = view.view_progress(self.state)

    def _heat(self, index: int) -> None:
        from rahelpers.panel import reading

        bundle = self.session.bundle
        if not self.viewer.layers:
            with self.viewer.hold_sync():
                self.viewer.layers = reading.layers_of(bundle)
                self.viewer.layer = self.viewer.layers[0]
        heat = reading.map_heat(
            bundle, self.state.hands[index].picture.image, self.viewer.layer, self.viewer.method
        )
        self._change(index, heat=heat)

    def _on_map(self, _: dict[str, Any]) -> None:
        """Another method or layer: every map that is there is drawn again, without waiting for what
        is going on.
        """

        def act() -> None:
            for index, hand in enumerate(self.state.hands):
                wanted = (self.viewer.method, self.viewer.layer)
                if hand.heat is not None and (hand.heat.method, hand.heat.layer) != wanted:
                    self._heat(index)

        self.session.worker.between(act)

    def _on_cancel(self) -> None:
        self.session.worker.stop()
        self.update(progress=None, doing="Stopped. What is there stays.")

    def _on_download(self, kind: str) -> None:
        def act() -> None:
            from rahelpers.prediction import exports

            if self.state.hand is None or self.state.hand.heat is None:
                self.downloads.fail("There is no answer to save yet.")
                return
            result = self.state.hand.shown_result
            make = {
                "html": exports.write_html,
                "pdf": exports.write_pdf,
                "dcm": exports.write_dicom,
                "json": exports.write_json,
            }[kind]
            self.downloads.deliver(f"{exports.file_stem(result)}.{kind}", MIME[kind], make(result))

        self.session.worker.between(act)
