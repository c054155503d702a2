"""HTML pages from the templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

# autoescape=True, not select_autoescape(): that goes by the file's last suffix, and leaves .html.j2
# unescaped
_TEMPLATES = Environment(
    loader=PackageLoader("rahelpers.display"), autoescape=True, undefined=StrictUndefined
)
_TEXT_TEMPLATES = _TEMPLATES.overlay(
    autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
)


def render_page(template: str, **values: Any) -> str:
    """A page; every value is escaped unless it is `Markup`, and a value that the template asks for
    and does not get is an error.
    """
    return _TEMPLATES.get_template(template).render(**values)


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
    """
    return _TEXT_TEMPLATES.get_template(template).render(**values)
