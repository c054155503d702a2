"""Controls that ipywidgets lacks: film viewer, drop zone, labelled slider, tabs, downloads.

They are small scripts that fetch nothing from outside. Also two helpers for layout.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import cv2
import ipywidgets as widgets
import numpy as np
import traitlets as t

from rahelpers.display.colours import AGAINST, FOR
from rahelpers.panel.state import MAX_BYTES, MAX_FILES

STATIC = Path(__file__).parent / "static"
STYLES = (STATIC / "panel.css").read_text(encoding="utf-8")
# the style sheet's bars have the colours of the figures
FOR_AND_AGAINST = (
    f":root {{ --ra-for: {' '.join(map(str, FOR))}; --ra-against: {' '.join(map(str, AGAINST))}; }}"
)
FILE_TYPES = ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.dcm,application/dicom"
HINT = "PNG, JPEG, TIFF, BMP or DICOM; one hand or both; several files are one study"


def heat_colours() -> bytes:
    """256 colours from cold to hot, 3 bytes each: cividis.

    Colour-blind people see the same order.
    """
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_CIVIDIS)
    return np.ascontiguousarray(ramp[:, 0, ::-1]).tobytes()


class Root(anywidget.AnyWidget):
    """The banner, the style sheet, and the page's language and title."""

    _esm = STATIC / "root.js"
    _css = STYLES + FOR_AND_AGAINST
    banner = t.Unicode().tag(sync=True)
    title = t.Unicode().tag(sync=True)


class FilmViewer(anywidget.AnyWidget):
    """A film with window and level, zoom, pan, inversion, and an explanation over it."""

    _esm = STATIC / "viewer.js"
    # the film: uint16 (height, width), 0 to 4095, little endian; spacing 0 means not known
    pixels = t.Bytes(b"").tag(sync=True)
    width = t.Int(0).tag(sync=True)
    height = t.Int(0).tag(sync=True)
    spacing_mm = t.Float(0.0).tag(sync=True)
    alt = t.Unicode("No film is open").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)
    # the network's square, on which heat and labels are given, uint8 (side, side), and its place
    # on the film: a matrix in the order of CSS and canvas
    side = t.Int(0).tag(sync=True)
    matrix = t.List(t.Float(), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).tag(sync=True)
    heat = t.Bytes(b"").tag(sync=True)
    colours = t.Bytes(heat_colours()).tag(sync=True)
    labels = t.Bytes(b"").tag(sync=True)
    # for each label red, green, blue, opacity, or nothing; and words, x, y on the square
    region_colours = t.List(t.List()).tag(sync=True)
    region_marks = t.List(t.List()).tag(sync=True)
    # what the person chose
    overlay = t.Enum(("none", "heat", "regions"), "none").tag(sync=True)
    opacity = t.Float(0.6).tag(sync=True)
    threshold = t.Float(0.2).tag(sync=True)
    methods = t.List(t.List()).tag(sync=True)
    method = t.Unicode("gradcam").tag(sync=True)
    layers = t.List(t.Unicode()).tag(sync=True)
    layer = t.Unicode("").tag(sync=True)


class DropZone(anywidget.AnyWidget):
    """Choose or drop files; they arrive in pieces and stay in memory.

    Parameters
    ----------
    done : callable
        Gets the list of (name, content) once all files have arrived.
    """

    _esm = STATIC / "dropzone.js"
    accept = t.Unicode(FILE_TYPES).tag(sync=True)
    hint = t.Unicode(HINT).tag(sync=True)
    most_bytes = t.Int(MAX_BYTES).tag(sync=True)
    most_files = t.Int(MAX_FILES).tag(sync=True)

    def __init__(self, done: Callable[[list[tuple[str, bytes]]], None], **given: Any) -> None:
        super().__init__(**given)
        self._done, self._batch = done, -1
        self._files: list[tuple[str, bytearray]] = []
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        """Take a piece of a file. The limits are checked here again: pages can be tampered with."""
        if message.get("kind") != "piece" or not buffers:
            return
        if message["batch"] != self._batch:
            self._batch, self._files = message["batch"], []
        if message["at"] == 0:
            self._files.append((str(message["name"])[:300], bytearray()))
        # a piece out of order or over a limit drops the whole batch
        if len(self._files) > self.most_files or len(self._files) != message["index"] + 1:
            self._files = []
            return
        content = self._files[-1][1]
        if len(content) + len(buffers[0]) > self.most_bytes or message["at"] != len(content):
            self._files = []
            return
        content += buffers[0]
        self.send({"kind": "got", "batch": self._batch})
        if len(content) >= message["size"] and len(self._files) == message["files"]:
            files, self._files = [(name, bytes(c)) for name, c in self._files], []
            self._done(files)

    def forget(self) -> None:
        """Something else was chosen: the page no longer says which files were read."""
        self.send({"kind": "forget"})


class Slider(anywidget.AnyWidget):
    """A labelled slider with its value and unit."""

    _esm = STATIC / "slider.js"
    label = t.Unicode().tag(sync=True)
    unit = t.Unicode("").tag(sync=True)
    value = t.Float(0.0).tag(sync=True)
    low = t.Float(0.0).tag(sync=True)
    high = t.Float(1.0).tag(sync=True)
    step = t.Float(0.1).tag(sync=True)
    digits = t.Int(0).tag(sync=True)
    delay_ms = t.Int(120).tag(sync=True)
    disabled = t.Bool(False).tag(sync=True)


class Tabs(anywidget.AnyWidget):
    """Which of several parts is shown."""

    _esm = STATIC / "tabs.js"
    names = t.List(t.Unicode()).tag(sync=True)
    label = t.Unicode().tag(sync=True)
    selected = t.Int(0).tag(sync=True)


class Downloads(anywidget.AnyWidget):
    """Buttons that make a file in the kernel's memory and hand it to the browser.

    Parameters
    ----------
    offers : list of (kind, words, hint)
    make : callable
        Gets the kind; it then calls `deliver` or, if it cannot make the file, `fail`.
    """

    _esm = STATIC / "downloads.js"
    offers = t.List(t.List()).tag(sync=True)
    disabled = t.Bool(True).tag(sync=True)

    def __init__(
        self, offers: list[tuple[str, str, str]], make: Callable[[str], None], **given: Any
    ) -> None:
        super().__init__(offers=[list(offer) for offer in offers], **given)
        self._make = make
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, message: dict[str, Any], __: list[Any]) -> None:
        for kind, _words, _hint in self.offers:
            if message.get("kind") == "make" and message.get("what") == kind:
                self._make(kind)

    def deliver(self, name: str, mime: str, content: bytes) -> None:
        """Hand a file to the browser."""
        self.send({"kind": "file", "name": name, "type": mime}, [content])

    def fail(self, words: str) -> None:
        """Say why there is no file."""
        self.send({"kind": "failed", "words": words})


def boxed(*children: widgets.Widget, name: str) -> widgets.Box:
    """A box with a class of the style sheet."""
    box = widgets.Box(list(children))
    box.add_class(name)
    return box


def dropdown(
    description: str, options: list[Any], value: Any, disabled: bool = False
) -> widgets.Dropdown:
    """A dropdown whose description is never cut off."""
    return widgets.Dropdown(
        options=options,
        value=value,
        description=description,
        disabled=disabled,
        style={"description_width": "initial"},
    )


def show_or_hide(widget: widgets.DOMWidget, visible: bool) -> None:
    """Show a widget, or take it off the page so that the keyboard cannot reach it either."""
    display = None if visible else "none"
    if widget.layout.display != display:
        widget.layout.display = display
