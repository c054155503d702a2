"""The whole panel: a banner, tabs, and under each tab one part."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from rahelpers.core.store import Run
from rahelpers.panel import view
from rahelpers.panel.controls import Root, Tabs, boxed, show_or_hide
from rahelpers.panel.diagnosis import Diagnosis
from rahelpers.panel.reader import Reader
from rahelpers.panel.session import Session
from rahelpers.panel.state import BANNER
from rahelpers.panel.whatif import WhatIf


class Panel:
    """A user's panel; `box` is what is displayed."""

    def __init__(self, run: Run) -> None:
        (
            run.file("train", "bundle/bundle.json"),
            run.file("curate", "manifest.csv"),
        )  # says at once what is missing
        self.message = widgets.HTML()
        self.session = Session(run, self._tell)
        self.diagnosis = Diagnosis(self.session)
        self.model = widgets.HTML("<p>The network is loading …</p>")
        self.whatif, self.reader = WhatIf(self.session), Reader(self.session)
        parts = {
            "Read films": self.diagnosis.box,
            "What if": self.whatif.box,
            "Reader study": self.reader.box,
            "The model": boxed(self.model, name="ra-part"),
        }
        self.tabs = Tabs(names=list(parts), label="Parts of the panel")
        self.parts = list(parts.values())
        self.tabs.observe(lambda _: self._choose(), "selected")
        title = widgets.HTML(
            f"<h1 class='ra-title'>Diagnosis panel <span>{escape(run.config.title)}</span></h1>"
        )
        self.box = boxed(
            Root(banner=BANNER, title=f"Diagnosis panel: {run.config.title}"),
            title,
            self.message,
            self.tabs,
            *self.parts,
            name="ra-panel",
        )
        self._choose()
        self.session.load(self._ready)

    def _choose(self) -> None:
        for index, part in enumerate(self.parts):
            show_or_hide(part, index == self.tabs.selected)

    def _tell(self, words: str) -> None:
        with self.session.lock:
            self.message.value = (
                f"<p class='ra-fault' role='alert'><b>Something went wrong.</b> {escape(words)}</p>"
            )

    def _ready(self) -> None:
        self.model.value = view.view_model(self.session.info, self.session.performance)
        for part in (self.diagnosis, self.whatif, self.reader):
            part.ready()


def build_panel(run: Run) -> widgets.Widget:
    """The panel of a run. Each call has its own state and thread; films stay in memory.

    Raises
    ------
    MissingArtefactError
        If the run has no cohort or bundle.
    """
    return Panel(run).box
