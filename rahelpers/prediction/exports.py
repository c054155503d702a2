"""A result to take away: HTML page, PDF pages, JSON, and a DICOM Secondary Capture of the overlay.

Each writer returns bytes. They hold nothing about a person except the film itself, and all say that
they are for education and research only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from rahelpers.prediction.dicom import write_dicom
from rahelpers.prediction.film import FilmResult
from rahelpers.prediction.html import write_html
from rahelpers.prediction.json import write_json
from rahelpers.prediction.pdf import write_pdf

# by the end of the file's name
WRITERS: dict[str, Callable[[FilmResult], bytes]] = {
    "html": write_html,
    "pdf": write_pdf,
    "json": write_json,
    "overlay.dcm": write_dicom,
}


def file_stem(result: FilmResult) -> str:
    """Make a name for a result's files: letters, digits, dot, dash and underscore.

    If that changes the film's own name, a hash of it is added, so that two films never share one.
    """
    name = f"{result.file}-{result.place}" if result.place else result.file
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")
    if plain and plain == name:
        return plain
    return f"{plain or 'film'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
