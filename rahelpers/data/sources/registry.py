"""Sources: each lists its films; a film is read later, one at a time.

A source is one module of this package, named after it (`ram-h1200` -> `ram_h1200.py`). All of them
have the same interface, `SourceAdapter`. The functions here pass on to the configured source, so
the rest of the package never names one.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.film import FilmFile, SourceItem
from rahelpers.data.sources.spelling import MOST_EXAMPLES


class SourceFilm(Protocol):
    """A film that a source lists, not yet read."""

    @property
    def row(self) -> dict:
        """Manifest fields that are known before the film is read; image_id at least."""

    def content_key(self) -> str:
        """What the film is made from: the same key means the same film; '' where there is none."""

    def read(self) -> SourceItem:
        """The film, or the fault that makes it unusable."""


class SourceAdapter(Protocol):
    """The interface of a source's module: these two functions."""

    def list_films(self, config: RunConfig) -> Sequence[SourceFilm]:
        """The source's films in a fixed order, none of them opened."""

    def fingerprint(self, config: RunConfig) -> dict[str, str]:
        """Hashes of what the source reads from disk: name of the part -> hash."""


@runtime_checkable
class DescribedSource(Protocol):
    """A source whose tables a person wrote: what was made of them has to be said."""

    def list_films(self, config: RunConfig) -> Sequence[FilmFile]:
        """The source's films in a fixed order, none of them opened."""

    def describe_table(self, config: RunConfig) -> list[str]:
        """One sentence per kind of cell: with a few examples, and the number of all."""


def _adapter(config: RunConfig) -> SourceAdapter:
    module: Any = import_module(f"rahelpers.data.sources.{config.source.replace('-', '_')}")
    return module


def list_films(config: RunConfig) -> Sequence[SourceFilm]:
    """List the films of the configured source in a fixed order, without reading them.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    sequence of SourceFilm

    Raises
    ------
    ValueError
        If the source's folder, table or columns are missing or not as expected.

    Examples
    --------
    >>> from rahelpers import list_films, make_config
    >>> films = list_films(make_config(n_patients=12))
    >>> len(films), films[0].row["image_id"], films[-1].row["image_id"]
    (24, 'P00000_L', 'P00011_R')
    >>> films[0].read().radiograph.image.shape
    (256, 256)
    """
    return _adapter(config).list_films(config)


def source_fingerprint(config: RunConfig) -> dict[str, str]:
    """Hash what a source reads from disk, so that a changed film or table reruns the curation."""
    return _adapter(config).fingerprint(config)


def describe_source(config: RunConfig) -> list[str]:
    """Say how a source's tables are read, before anything is made from them.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    list of str
        For your own films: how many rows are positive, negative or without a label, from which
        values; what was made of cells that are not used as they stand; how many films cannot be
        used. Empty for a source whose tables are not yours.

    Raises
    ------
    ValueError
        As of `list_films`.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.data import describe_source
    >>> describe_source(make_config(n_patients=12))
    []
    """
    adapter = _adapter(config)
    if not isinstance(adapter, DescribedSource):
        return []
    films = list_films(config)
    lost = [film for film in films if film.fault]
    if not lost:
        return adapter.describe_table(config)
    shown = "; ".join(f"{film.row['image_id']}: {film.fault}" for film in lost[:MOST_EXAMPLES])
    return [
        *adapter.describe_table(config),
        f"{len(lost)} of {len(films)} films are left out before they are read, such as {shown}",
    ]


def check_source(config: RunConfig) -> None:
    """Refuse, before anything runs, what can be refused without reading a film.

    These are missing folders and tables, unknown columns, rules that put every film into one class,
    and an unknown hospital.

    Raises
    ------
    ValueError
        Says what was received, what is expected and what to do.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.data import check_source
    >>> check_source(make_config(n_patients=12))
    >>> check_source(make_config(n_patients=12, external_centre="Oslo"))
    Traceback (most recent call last):
        ...
    ValueError: external_centre='Oslo' has no film; no film has a hospital; name its column with
    --centre-column
    """
    if config.source == "phantom" and not config.external_centre:
        return
    centres = {film.row.get("centre", "") for film in list_films(config)} - {""}
    if config.external_centre and config.external_centre not in centres:
        known = (
            f"hospitals of this source: {', '.join(sorted(centres))}"
            if centres
            else "no film has a hospital; name its column with --centre-column"
        )
        raise ValueError(f"external_centre={config.external_centre!r} has no film; {known}")
