"""Files under a folder: links are not followed out of it, and what cannot be read is named, not
fatal.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def find_files(root: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Files under a folder whose names end in one of `suffixes` (lower case).

    Linked folders are not entered, so a cycle cannot hold us; a linked file counts where it lies
    under the folder too.

    Parameters
    ----------
    root : Path
    suffixes : tuple of str

    Returns
    -------
    files : list of Path
        In a fixed order.
    unreadable : list of str
        Folders that could not be listed, with the reason.
    """
    root = root.resolve()
    unreadable: list[str] = []
    files = []
    for folder, _, names in os.walk(
        root,
        followlinks=False,
        onerror=lambda error: unreadable.append(f"{error.filename} ({error.strerror})"),
    ):
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in suffixes and is_inside(path, root):
                files.append(path)
    return sorted(files), unreadable


def is_inside(path: Path, root: Path) -> bool:
    """True where `path` is a file that lies, all links resolved, under `root` (itself resolved)."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except (
        OSError,
        RuntimeError,
        ValueError,
    ):  # a link to itself, a name that the system refuses, a NUL byte
        return False


def text_of(path: Path, root: Path) -> str:
    """A path under `root` as text that every table can hold: bytes that are not UTF-8 are written
    as backslash escapes.
    """
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def listing_hash(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 of the names, sizes and times of files: a changed file changes it, without reading
    gigabytes.
    """
    listing = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        # NUL cannot stand in a name, a newline can
        listing.update(
            os.fsencode(path.relative_to(root)) + f"\0{stat.st_size} {stat.st_mtime_ns}\0".encode()
        )
    return listing.hexdigest()
