"""Files under a folder.

Links are not followed out of the folder, and what cannot be read is reported instead of stopping
the search.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def find_files(root: Path, suffixes: tuple[str, ...] = ()) -> tuple[list[Path], dict[Path, str]]:
    """Find the files under a folder whose names end in one of `suffixes`.

    Linked folders are not entered, so a cycle of links cannot trap the search. A linked file counts
    if the file that it points to is under the folder too.

    Parameters
    ----------
    root : Path
    suffixes : tuple of str
        Lower case, with the dot; upper case in a name matches too. Empty: every file.

    Returns
    -------
    files : list of Path
        Sorted.
    unusable : dict
        What was left out -> why: folders that could not be listed, links out of the folder, links
        to nothing, and what is no ordinary file.
    """
    root = root.resolve()
    unusable: dict[Path, str] = {}

    def keep_error(error: OSError) -> None:
        unusable[Path(error.filename)] = str(error.strerror)

    files = []
    for folder, folders, names in os.walk(root, followlinks=False, onerror=keep_error):
        for name in names:
            path = Path(folder, name)
            if not suffixes or path.suffix.lower() in suffixes:
                if why := _fault(path, root):
                    unusable[path] = why
                else:
                    files.append(path)
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink() and (why := _fault(path, root)):
                unusable[path] = why
    return sorted(files), dict(sorted(unusable.items()))


def _fault(path: Path, root: Path) -> str:
    """Why a file or link that was found under `root` is not used; '' where it is.

    A link that leads out is not followed, whatever it points to: a folder of films from elsewhere
    must not be able to name any file of this machine.
    """
    try:
        if path.is_symlink():
            target = path.resolve()
            if not target.exists():
                return (
                    "a link to a file that is not there; with git-annex or DVC, fetch it (git annex"
                    " get, dvc pull)"
                )
            if not target.is_relative_to(root):
                return (
                    "a link out of the image folder, and such links are not followed; copy the"
                    " films into the folder, or name the folder that they are in"
                )
        return "" if path.is_file() or path.is_dir() else "not an ordinary file"
    except (OSError, RuntimeError, ValueError) as error:
        # a link to itself, a name that the system refuses
        return f"it cannot be opened ({getattr(error, 'strerror', None) or error})"


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
