"""Figures. Every `plot_*` returns a Figure; `show` puts it into a notebook with alt text and a
caption.
"""

from __future__ import annotations

import base64
import html
import io

from IPython.display import HTML, display
from matplotlib.figure import Figure


def picture_html(png: bytes, alt: str, caption: str, max_width: str = "100%") -> str:
    """An image with alt text and caption, with no outside address.

    Parameters
    ----------
    png : bytes
    alt : str
        What the picture shows, for somebody who cannot see it. Must not be empty.
    caption : str
        What to look for.
    max_width : str
        CSS width.
    """
    if not alt.strip():
        raise ValueError("alt is empty: expected a sentence that says what the picture shows")
    data = base64.b64encode(png).decode()
    return (
        f'<figure style="margin:0"><img style="max-width:min(100%, {max_width})"'
        f' alt="{html.escape(alt, quote=True)}" '
        f'src="data:image/png;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def figure_png(figure: Figure, dpi: int = 80) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def show(figure: Figure, alt: str, caption: str = "") -> None:
    """Display a figure as an image with alt text and a caption, as `picture_html` takes them."""
    display(HTML(picture_html(figure_png(figure), alt, caption)))
