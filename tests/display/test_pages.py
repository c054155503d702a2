"""Pages escape what they are given, texts do not, and neither leaves a gap."""

import json

import jinja2
import pytest
from markupsafe import Markup

from rahelpers.display import pages, render_page, render_text

TEMPLATES = {
    "page.html.j2": "<p>{{ words }}</p>",
    "text.md.j2": "# {{ words }}\n{% for x in rows %}\n- {{ x }}\n{% endfor %}\nend\n",
}


@pytest.fixture
def templates(monkeypatch):
    """Two small templates in place of those of the package."""
    for environment in (pages.PAGES, pages.TEXTS):
        monkeypatch.setattr(environment, "loader", jinja2.DictLoader(TEMPLATES))


def test_a_page_escapes_every_value_that_is_not_html_already(templates):
    assert render_page("page.html.j2", words="<b> & 'c'") == "<p>&lt;b&gt; &amp; &#39;c&#39;</p>"
    assert render_page("page.html.j2", words=Markup("<b>")) == "<p><b></p>"


def test_markdown_is_not_escaped_and_its_tags_leave_no_empty_lines(templates):
    text = render_text("text.md.j2", words="p < 0.05 & 'c'", rows=["a", "b"])
    assert text == "# p < 0.05 & 'c'\n- a\n- b\nend\n"


@pytest.mark.parametrize(
    ("render", "template"), [(render_page, "page.html.j2"), (render_text, "text.md.j2")]
)
def test_an_undefined_value_is_an_error_not_a_gap(templates, render, template):
    with pytest.raises(jinja2.UndefinedError, match="'words' is undefined"):
        render(template, rows=[])


def test_every_template_of_the_package_is_well_formed():
    names = pages.PAGES.list_templates()
    assert {name.rsplit(".", 2)[1] for name in names} <= {"html", "md"} and len(names) >= 3
    for name in names:
        (pages.PAGES if ".html." in name else pages.TEXTS).get_template(name)


def test_a_film_name_cannot_inject_html_into_its_page():
    name = "<img src=x onerror=alert(1)>"
    page = render_page(
        "film.html.j2",
        name=name,
        title="RA",
        banner="Education only",
        answer="no RA",
        pictures=[],
        facts=[(name, json.dumps(name))],
        regions=[],
        region_words="",
        similar=[],
        model_facts=[],
    )
    assert "<img" not in page and page.count("&lt;img src=x") >= 3


NAMES = (
    "<b>RA</b>",
    "<img src=x onerror=alert(1)>",
    "a | b || c",
    "a\nb\r\n\n# c",
    "*a* __b__ _c_ `d` ~~e~~",
    "$x^2$ {{ y }} {% z %}",
    r"C:\films\new|",
    "[a](http://b) ![c](d)",
    "&lt;i&gt; &amp; & \"q\" 'q'",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_markdown_shows_as_it_was_written(name):
    """In a heading, in an item and in a cell of a table, and nothing else moves."""
    from html import unescape

    from markdown_it import MarkdownIt

    told = pages.as_plain_text(name)
    text = f"# Card: {told}\n\n- item: {told}\n\n| a | b |\n|---|---|\n| {told} | 7 |\n"
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    shown = " ".join(name.split())
    for start, end in (("<h1>Card: ", "</h1>"), ("<li>item: ", "</li>"), ("<td>", "</td>")):
        assert unescape(html.split(start)[1].split(end)[0]) == shown
    assert html.count("<td>") == 2 and "<td>7</td>" in html


@pytest.mark.parametrize("name", [*NAMES, "`", "``a`", "a`"])
def test_a_name_as_code_stays_in_its_backticks(name):
    from html import unescape

    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark").render(f"rule {pages.as_code(name)} end")
    start, rest = html.split("<code>")
    code, end = rest.split("</code>")
    assert (start, end) == ("<p>rule ", " end</p>\n")
    assert unescape(code) == " ".join(name.split())
