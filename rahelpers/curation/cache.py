"""Curated films on disk, by what they were made from; and arrays that grow on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rahelpers.core.store import code_hash, write_atomically
from rahelpers.curation.duplicates import Fingerprint, count_shared_details
from rahelpers.curation.film import CuratedHand, unpack_hands
from rahelpers.data.sources.registry import SourceFilm

# Modules whose code decides what a curated film looks like.
FILM_MODULES = ("phantom", "films", "data", "curation/film", "curation/duplicates")
FINGERPRINTS = 512  # held at once by a process


class FilmCache:
    """Curated films by content: the same film at the same size, curated by the same code, is not
    done twice.

    Parameters
    ----------
    folder : Path
        May be deleted at any time; nothing is lost but time.
    size : int
        Side of the network's square, pixels.
    with_fingerprint : bool
        See `curate_film`.
    """

    def __init__(self, folder: Path, size: int, with_fingerprint: bool = True) -> None:
        self.folder, self.size, self.with_fingerprint = folder, size, with_fingerprint
        self.code = code_hash(FILM_MODULES)

    def key(self, film: SourceFilm) -> str:
        """The film's name in the cache; empty where the film has no content."""
        content = film.content_key()
        return (
            hashlib.sha256(
                f"{content} {self.size} {self.with_fingerprint} {self.code}".encode()
            ).hexdigest()
            if content
            else ""
        )

    def path(self, key: str) -> Path:
        """Where it lies, or would."""
        return self.folder / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the film was curated before."""
        return self.path(key).exists()

    def get(self, key: str) -> list[CuratedHand]:
        """Its hands."""
        return unpack_hands(self.path(key).read_bytes())

    def put(self, key: str, packed: bytes) -> None:
        """Keep a film's hands."""
        write_atomically(self.path(key), lambda path: path.write_bytes(packed))


@dataclass(frozen=True)
class PairJob:
    """Two films of the cache, each by key and part; calling it counts the details that they share."""

    cache: FilmCache
    one: tuple[str, str]
    other: tuple[str, str]
    mirrored: bool

    def __call__(self) -> int:
        """Shared details."""
        return count_shared_details(
            _load_fingerprint(self.cache.path(self.one[0]), self.one[1]),
            _load_fingerprint(self.cache.path(self.other[0]), self.other[1]),
            self.mirrored,
        )


@lru_cache(FINGERPRINTS)
def _load_fingerprint(file: Path, part: str) -> Fingerprint:
    return next(
        hand.fingerprint for hand in unpack_hands(file.read_bytes()) if hand.row["part"] == part
    )


class ArrayFile:
    """A `.npy` file that arrays of one shape are appended to; memory holds one at a time. NumPy
    leaves room in the header for the number.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, open(path, "wb")  # noqa: SIM115 (closed by close)
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, array: np.ndarray) -> None:
        """Add one array."""
        if not self._count:
            self._shape, self._dtype = array.shape, array.dtype
            self._write_header()
        self._file.write(np.ascontiguousarray(array).tobytes())
        self._count += 1

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": self._dtype.str,
                "fortran_order": False,
                "shape": (self._count, *self._shape),
            },
        )

    def close(self) -> None:
        """Write the final number into the header."""
        if self._count:
            self._file.seek(0)
            self._write_header()
        self._file.close()
