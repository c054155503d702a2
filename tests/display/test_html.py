"""Pictures carry alt text and a caption, escaped, and need no other file."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rahelpers.display import figure_png, picture_html, show


@pytest.mark.parametrize("alt", ["", "  ", "\n"])
def test_a_picture_without_alt_text_is_refused(alt):
    with pytest.raises(ValueError, match="alt is empty: expected a sentence"):
        picture_html(b"png", alt, "caption")
    with pytest.raises(ValueError, match="alt is empty"):
        show(Figure(), alt)


def test_alt_text_and_caption_cannot_break_out_of_the_page():
    text = picture_html(b"png", 'a "quoted" <b>word</b> & more', "p < 0.05 <script>")
    assert 'alt="a &quot;quoted&quot; &lt;b&gt;word&lt;/b&gt; &amp; more"' in text
    assert "<figcaption>p &lt; 0.05 &lt;script&gt;</figcaption>" in text
    assert re.findall(r"<(\w+)", text) == ["figure", "img", "figcaption"]


def test_the_picture_is_in_the_page_itself():
    text = picture_html(b"\x00\xffpng", "bytes", "")
    (source,) = re.findall(r'src="([^"]*)"', text)
    kind, data = source.split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == b"\x00\xffpng"
    assert "http" not in text


def test_a_picture_is_never_wider_than_its_page():
    assert "max-width:min(100%, 300px)" in picture_html(b"png", "a film", "", max_width="300px")


def test_a_figure_becomes_a_png_whose_size_follows_the_resolution():
    figure = Figure(figsize=(3, 2))
    figure.subplots().imshow(np.eye(4))
    small, large = (Image.open(io.BytesIO(figure_png(figure, dpi))) for dpi in (50, 100))
    assert small.format == "PNG" and large.width == pytest.approx(2 * small.width, abs=4)


def test_show_displays_the_picture(monkeypatch):
    shown = []
    monkeypatch.setattr("rahelpers.display.html.display", shown.append)
    show(Figure(), "an empty figure", "nothing")
    (output,) = shown
    assert 'alt="an empty figure"' in output.data and "nothing</figcaption>" in output.data
