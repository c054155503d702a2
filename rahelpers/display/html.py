"""Pictures in notebooks and pages, with alt text and a caption.

Every `plot_*` of the steps returns a Figure; `show` puts it into a notebook.
"""

from __future__ import annotations

import base64
import html
import io

from IPython.display import HTML, display
from matplotlib.figure import Figure

from rahelpers.display.style import plain_style


def picture_html(png: bytes, alt: str, caption: str, max_width: str = "100%") -> str:
    """Return a picture as HTML, with alt text and caption, that needs no other file.

    Parameters
    ----------
    png : bytes
    alt : str
        What the picture shows, for people who cannot see it. Must not be empty.
    caption : str
        What to look for.
    max_width : str
        CSS width.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If `alt` is empty.

    Examples
    --------
    >>> from rahelpers.display import picture_html
    >>> picture_html(b"not really a PNG", alt="Two films, side by side", caption="p < 0.05")
    '<figure ...alt="Two films, side by side" src="data:image/png;base64,...p &lt; 0.05...</figure>'
    """
    if not alt.strip():
        raise ValueError("alt is empty: expected a sentence that says what the picture shows")
    data = base64.b64encode(png).decode()
    return (
        f'<figure style="margin:0"><img style="max-width:min(100%, {max_width})"'
        f' alt="{html.escape(alt, quote=True)}" '
        f'src="data:image/png;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


@plain_style()
def figure_png(figure: Figure, dpi: int = 80) -> bytes:
    """Return a figure as PNG.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rahelpers.display import figure_png
    >>> figure_png(Figure())[:4]
    b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def show(figure: Figure, alt: str, caption: str = "") -> None:
    """Display a figure as a picture with alt text and a caption, as `picture_html` takes them.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rahelpers.display import show
    >>> show(Figure(), alt="An empty figure", caption="Nothing to see")
    <IPython.core.display.HTML object>
    """
    display(HTML(picture_html(figure_png(figure), alt, caption)))
