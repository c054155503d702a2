"""Files under a folder.

Links are not followed out of the folder, and what cannot be read is reported instead of stopping
the search.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def find_files(root: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Find the files under a folder whose names end in one of `suffixes`.

    Linked folders are not entered, so a cycle of links cannot trap the search. A linked file counts
    if the file that it points to is under the folder too.

    Parameters
    ----------
    root : Path
    suffixes : tuple of str
        Lower case, with the dot; upper case in a name matches too.

    Returns
    -------
    files : list of Path
        Sorted.
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
    """Whether `path`, with all links resolved, is a file under `root` (itself resolved)."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):
        # a link to itself, a name that the system refuses, a NUL byte
        return False


def text_of(path: Path, root: Path) -> str:
    """A path under `root` as text that every table can hold.

    Bytes that are not UTF-8 are written as backslash escapes.
    """
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def listing_hash(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 of the names, sizes and times of files.

    It changes when a file changes, and takes no reading of gigabytes.
    """
    listing = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        # separated by NUL, because a name can hold a newline but never a NUL
        listing.update(
            os.fsencode(path.relative_to(root)) + f"\0{stat.st_size} {stat.st_mtime_ns}\0".encode()
        )
    return listing.hexdigest()
