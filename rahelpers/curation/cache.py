"""Curated films on disk, keyed by what they were made from; and arrays that grow on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rahelpers.core.store import DamagedArtefactError, code_hash, write_atomically
from rahelpers.curation.duplicates import Fingerprint, count_shared_details
from rahelpers.curation.film import CuratedHand, unpack_hands
from rahelpers.data.sources.registry import SourceFilm

# Modules whose code decides what a curated film looks like.
FILM_MODULES = ("phantom", "films", "data", "curation/film", "curation/duplicates")
SEAL = hashlib.sha256().digest_size  # bytes before the content of a file of the cache
FINGERPRINTS = 512  # that a process holds in memory


class FilmCache:
    """Curated films by content.

    The same film at the same size is curated once, until the code that does it changes.

    Parameters
    ----------
    folder : Path
        May be deleted at any time: only time is lost.
    size : int
        Side of the network's square, pixels.
    with_fingerprint : bool
        See `curate_film`.
    """

    def __init__(self, folder: Path, size: int, with_fingerprint: bool = True) -> None:
        self.folder, self.size, self.with_fingerprint = folder, size, with_fingerprint
        self.code = code_hash(FILM_MODULES)

    def key(self, film: SourceFilm) -> str:
        """The film's key in the cache; '' where the film has no content."""
        content = film.content_key()
        if not content:
            return ""
        made_from = f"{content} {self.size} {self.with_fingerprint} {self.code}"
        return hashlib.sha256(made_from.encode()).hexdigest()

    def path(self, key: str) -> Path:
        """The file of a key, whether it exists or not."""
        return self.folder / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the film was curated before, and its file is intact; a damaged one is removed."""
        return read_sealed(self.path(key)) is not None

    def get(self, key: str) -> list[CuratedHand]:
        """The hands of a film that was curated before."""
        return unpack_hands(_open_sealed(self.path(key)))

    def put(self, key: str, packed: bytes) -> None:
        """Keep the packed hands of a film."""
        write_sealed(self.path(key), packed)


def write_sealed(file: Path, content: bytes) -> None:
    """Write a file of the cache: the SHA-256 of its content, then the content."""
    sealed = hashlib.sha256(content).digest() + content
    write_atomically(file, lambda path: path.write_bytes(sealed))


def read_sealed(file: Path) -> bytes | None:
    """The content of a file of the cache; None where there is none.

    A file that is empty, cut or changed is named and removed, so that it is made again. After a
    loss of power a file may have its name and not yet its content.
    """
    try:
        sealed = file.read_bytes()
    except FileNotFoundError:
        return None
    content = sealed[SEAL:]
    if hashlib.sha256(content).digest() == sealed[:SEAL]:
        return content
    print(f"{file} is damaged (its SHA-256 is not the recorded one); it is made again")
    file.unlink()
    return None


def _open_sealed(file: Path) -> bytes:
    content = read_sealed(file)
    if content is None:
        raise DamagedArtefactError(f"{file} was damaged or removed a moment ago: run again")
    return content


@dataclass(frozen=True)
class PairJob:
    """Two hands of the cache, each by key and part. Calling the job counts their shared details.

    It can be sent to another process.
    """

    cache: FilmCache
    one: tuple[str, str]
    other: tuple[str, str]
    mirrored: bool

    def __call__(self) -> int:
        """Count the shared details."""
        one, other = (
            _load_fingerprint(self.cache.path(key), part) for key, part in (self.one, self.other)
        )
        return count_shared_details(one, other, self.mirrored)


@lru_cache(FINGERPRINTS)
def _load_fingerprint(file: Path, part: str) -> Fingerprint:
    hands = unpack_hands(_open_sealed(file))
    return next(h.fingerprint for h in hands if h.fingerprint and h.row["part"] == part)


class ArrayFile:
    """A `.npy` file to which arrays of one shape are appended, so that memory holds one at a time.

    NumPy leaves room in the header for the number of arrays, which is known only at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, open(path, "wb")  # noqa: SIM115 (closed by close)
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, array: np.ndarray) -> None:
        """Append one array."""
        if not self._count:
            self._shape, self._dtype = array.shape, array.dtype
            self._write_header()
        self._file.write(np.ascontiguousarray(array).tobytes())
        self._count += 1

    def _write_header(self) -> None:
        shape = (self._count, *self._shape)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def close(self) -> None:
        """Write the final number of arrays into the header, and close the file."""
        if self._count:
            self._file.seek(0)
            self._write_header()
        self._file.close()
