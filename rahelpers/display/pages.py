"""HTML pages and Markdown texts from the templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

BANNER = "Education and research only. Not for diagnosis or treatment."  # every page has it

# autoescape=True, not select_autoescape(): that looks at the last suffix, and leaves .html.j2
# unescaped
PAGES = Environment(
    loader=PackageLoader("rahelpers.display"), autoescape=True, undefined=StrictUndefined
)
PAGES.globals["BANNER"] = BANNER
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
    """Render a text that is not HTML, such as Markdown: nothing is escaped.

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
