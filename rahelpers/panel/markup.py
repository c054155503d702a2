"""Small pieces of HTML that the panel's views are made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any


def percent(value: float) -> str:
    """0.8125 as '81 %'; below 10 % and above 90 % with a decimal, which matters there."""
    return f"{100 * value:.{0 if 0.1 <= value <= 0.9 else 1}f} %"


def percent_interval(found: dict[str, Any]) -> str:
    """A share {value, low, high} as '81 % (74 % to 87 %)'."""
    return f"{percent(found['value'])} ({percent(found['low'])} to {percent(found['high'])})"


def section(label: str, *content: str, css: str = "") -> str:
    """A section with its accessible name; `content` is HTML."""
    named = f" class='{css}'" if css else ""
    return f"<section{named} aria-label='{escape(label)}'>{''.join(content)}</section>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Pairs of term and description, both plain text."""
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows)
    return f"<dl class='ra-facts'>{listed}</dl>"


def row_head(text: str) -> str:
    """The cell that names a table's row; plain text."""
    return f"<th scope='row'>{escape(text)}</th>"


def number_cell(text: str) -> str:
    """A cell with a number; plain text."""
    return f"<td class='ra-num'>{escape(text)}</td>"


def bar_cell(share: float, side: str, words: str) -> str:
    """A cell with a bar, `share` of its width, for or against the positive class, and words."""
    bar = f"<span class='ra-bar ra-{side}' style='width:{100 * share:.0f}%'></span>"
    return f"<td class='ra-bars'>{bar}<span>{escape(words)}</span></td>"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str) -> str:
    """A table that scrolls sideways on a narrow page.

    Parameters
    ----------
    heads : iterable of str
        Plain text.
    rows : iterable of iterables of str
        HTML of each cell.
    caption : str
        Plain text: the accessible name.
    """
    head = "".join(f"<th scope='col'>{escape(h)}</th>" for h in heads)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f"<div class='ra-scroll' tabindex='0' role='region' aria-label='{escape(caption)}'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
