"""Boxes and what is shown of them."""

from __future__ import annotations

import ipywidgets as widgets


def boxed(*children: widgets.Widget, name: str) -> widgets.Box:
    """A box with a class of the style sheet."""
    box = widgets.Box(list(children))
    box.add_class(name)
    return box


def show_or_hide(widget: widgets.DOMWidget, visible: bool) -> None:
    """Show a widget or take it off the page, so that what means nothing cannot be reached by keyboard."""
    display = None if visible else "none"
    if widget.layout.display != display:
        widget.layout.display = display
