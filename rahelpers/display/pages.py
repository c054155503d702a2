"""HTML pages and Markdown texts from the templates of this package."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

BANNER = "Education and research only. Not for diagnosis or treatment."  # every page has it

# What has a meaning inside a line of Markdown, or ends a cell of a table.
MEANING = re.compile(r"[\\`*\[|$]|~~|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")


def as_plain_text(value: object) -> str:
    """Escape a name from outside for Markdown: it stays one line, and shows as it was written.

    Examples
    --------
    >>> from rahelpers.display.pages import as_plain_text
    >>> print(as_plain_text("erosive >= 1 | <b>RA</b>"))
    erosive >= 1 \\| \\<b>RA\\</b>
    """
    return MEANING.sub(r"\\\g<0>", " ".join(str(value).split()))


def as_code(value: object) -> str:
    """A name from outside as code in Markdown, between more backticks than it has in a row.

    Examples
    --------
    >>> from rahelpers.display.pages import as_code
    >>> print(as_code("grade"), as_code("a`b"))
    `grade` `` a`b ``
    """
    text = " ".join(str(value).split())
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (max(map(len, re.findall("`+", text))) + 1)
    return f"{fence} {text} {fence}"


# autoescape=True, not select_autoescape(): that looks at the last suffix, and leaves .html.j2
# unescaped
PAGES = Environment(
    loader=PackageLoader("rahelpers.display"), autoescape=True, undefined=StrictUndefined
)
PAGES.globals["BANNER"] = BANNER
PAGES.filters["plain"] = as_plain_text
TEXTS = PAGES.overlay(
    autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
)


def render_page(template: str, **values: Any) -> str:
    """Render an HTML page: every value is escaped unless it is `Markup`.

    A value that the template needs but is not given raises an error.

    Parameters
    ----------
    template : str
        File name in `rahelpers/display/templates/`.
    **values
        What the template's names stand for.

    Returns
    -------
    str

    Raises
    ------
    jinja2.UndefinedError
        If the template needs a value that is not given.

    Examples
    --------
    >>> from rahelpers.display import render_page
    >>> render_page("film.html.j2", name="<a.png>")
    Traceback (most recent call last):
    jinja2.exceptions.UndefinedError: 'title' is undefined
    """
    return PAGES.get_template(template).render(**values)


def render_text(template: str, **values: Any) -> str:
    """Render a Markdown text. Nothing is escaped but names from outside, by the filter `plain`.

    A line that holds only a tag such as `{% for … %}` leaves no empty line behind. A value that the
    template needs but is not given raises an error.

    Parameters
    ----------
    template : str
        File name in `rahelpers/display/templates/`.
    **values
        What the template's names stand for.

    Returns
    -------
    str

    Raises
    ------
    jinja2.UndefinedError
        If the template needs a value that is not given.

    Examples
    --------
    >>> from rahelpers.display import render_text
    >>> render_text("datasheet.md.j2")
    Traceback (most recent call last):
    jinja2.exceptions.UndefinedError: ... is undefined
    """
    return TEXTS.get_template(template).render(**values)
