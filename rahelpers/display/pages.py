"""HTML pages from the templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

# autoescape=True, not select_autoescape(): that goes by the file's last suffix, and leaves .html.j2
# unescaped
_TEMPLATES = Environment(
    loader=PackageLoader("rahelpers.display"), autoescape=True, undefined=StrictUndefined
)


def render_page(template: str, **values: Any) -> str:
    """A page; every value is escaped unless it is `Markup`, and a value that the template asks for
    and does not get is an error.
    """
    return _TEMPLATES.get_template(template).render(**values)
