"""The whole panel: a banner, tabs, and one part under each tab."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from rahelpers.core.store import Run
from rahelpers.display.pages import BANNER
from rahelpers.panel import view
from rahelpers.panel.controls import Root, Tabs, boxed, show_or_hide
from rahelpers.panel.diagnosis import Diagnosis
from rahelpers.panel.reader import Reader
from rahelpers.panel.session import Session
from rahelpers.panel.whatif import WhatIf


class Panel:
    """One user's panel; `box` is what is displayed.

    Parameters
    ----------
    run : Run
        Curated and trained.

    Raises
    ------
    MissingArtefactError
        If the run has no cohort or bundle.

    Examples
    --------
    >>> from rahelpers.panel import Panel
    >>> panel = Panel(run)
    >>> panel.tabs.names
    ['Read films', 'What if', 'Reader study', 'The model']
    >>> panel.session.worker.wait(60)  # until cohort and network are loaded
    True
    >>> panel.diagnosis.state.doing
    'Ready. Choose a film.'
    """

    def __init__(self, run: Run) -> None:
        # both files are asked for first: the error says at once which step is missing
        for step, name in (("train", "bundle/bundle.json"), ("curate", "manifest.csv")):
            run.file(step, name)
        self.message = widgets.HTML()
        self.session = Session(run, self._tell)
        self.diagnosis = Diagnosis(self.session)
        self.whatif, self.reader = WhatIf(self.session), Reader(self.session)
        self.model = widgets.HTML("<p>The network is loading …</p>")
        parts = {
            "Read films": self.diagnosis.box,
            "What if": self.whatif.box,
            "Reader study": self.reader.box,
            "The model": boxed(self.model, name="ra-part"),
        }
        self.tabs = Tabs(names=list(parts), label="Parts of the panel")
        self.parts = list(parts.values())
        self.tabs.observe(lambda _: self._choose(), "selected")
        title = f"Diagnosis panel <span>{escape(run.config.title)}</span>"
        self.box = boxed(
            Root(banner=BANNER, title=f"Diagnosis panel: {run.config.title}"),
            widgets.HTML(f"<h1 class='ra-title'>{title}</h1>"),
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
        self.model.value = view.view_model(self.session.info, self.session.loaded.performance)
        for part in (self.diagnosis, self.whatif, self.reader):
            part.ready()


def build_panel(run: Run) -> widgets.Widget:
    """Build the panel of a run. Each call has its own state and thread; films stay in memory.

    Raises
    ------
    MissingArtefactError
        If the run has no cohort or bundle.

    Examples
    --------
    >>> from rahelpers import panel
    >>> box = panel.build_panel(run)  # as the last line of a cell it is displayed
    >>> box.children[0].banner == panel.BANNER
    True
    """
    return Panel(run).box
